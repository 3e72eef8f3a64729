"""What holds for every fine-tuning method, on every kind of network. A new file under adapt/ is tested here without an
edit but its count and the number of parameters that it claims to train."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from headway import plugins
from headway.types import TuningMethod

_spec = importlib.util.spec_from_file_location("tunables", Path(__file__).parents[1] / "adapt" / "tunables.py")
tunables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tunables)

TUNING = tuple(n for n in plugins.names("adapt") if plugins.load("adapt", n).METHOD.works_on == "model")
REFIT = ("contrastive",)  # trains the body alone, on a loss of its own: tests/adapt/test_contrastive.py
METHODS = tuple(name for name in TUNING if name not in REFIT)
ADAPTERS = ("dora", "ia3", "lora")
FRESH = ("partial", "scratch")  # the head is drawn anew; the others start from the probe's answers
EVERY = pytest.mark.parametrize("name", METHODS)
EVERYWHERE = pytest.mark.parametrize("network", ["plain", "resnet", "vit", "bert", "hf_vit"])


def _method(name) -> TuningMethod:
    return plugins.load("adapt", name).METHOD


def _tune(name, network, *, seed=1):
    """A model, what it was, and how the method would tune it."""
    model = tunables.build(network)
    before = copy.deepcopy(model)
    loss = nn.functional.cross_entropy
    return model, before, _method(name).tune(model, sample=tunables.sampler(network), loss=loss, seed=seed)


def _learns(tuning, epochs):
    """Names in any epoch's groups."""
    rounds = [tuning.groups if tuning.regroup is None else tuning.regroup(epoch, epochs) for epoch in range(epochs)]
    return {name for groups in (tuning.groups, *rounds) for group in groups for name in group.names}


def _same(first, second):
    return {name: torch.equal(tensor, second[name]) for name, tensor in first.items()}


def _scores(model, network):
    with torch.no_grad():
        return model.eval()(tunables.inputs(network, seed=9)[0])


def test_these_are_the_methods_we_know():
    assert TUNING == (
        "bitfit",
        "contrastive",
        "dora",
        "full",
        "gradual",
        "ia3",
        "l2sp",
        "lora",
        "lp_ft",
        "partial",
        "scratch",
        "surgical",
    )


@pytest.mark.parametrize("name", TUNING)
def test_it_says_what_it_is(name):
    method = _method(name)
    assert (method.name, method.works_on) == (name, "model")
    assert len(method.reference) > 20
    assert method.head == ("fresh" if name in FRESH else "refit" if name in REFIT else "probe")


def test_listing_them_needs_no_torch():
    code = "import sys; from headway import plugins; [plugins.load('adapt', n).METHOD for n in plugins.names('adapt')]"
    heavy = "{'torch', 'peft', 'timm', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{code}; print({heavy})"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@EVERY
@EVERYWHERE
def test_asking_changes_nothing_but_a_fresh_head(name, network):
    state = torch.random.get_rng_state()
    model, before, _ = _tune(name, network)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    head = _same(before.head.state_dict(), model.head.state_dict())
    assert head["weight"] == (name not in FRESH)
    if name in ADAPTERS:
        assert torch.allclose(_scores(model, network), _scores(before, network), atol=1e-6)
    else:
        assert all(_same(before.body.state_dict(), model.body.state_dict()).values())


@EVERY
@EVERYWHERE
def test_groups_name_parameters_once(name, network):
    _, _, tuning = _tune(name, network)
    known = dict(tuning.model.named_parameters())
    rounds = [tuning.groups] + [tuning.regroup(epoch, 3) for epoch in range(3) if tuning.regroup is not None]
    for groups in rounds:
        named = [name for group in groups for name in group.names]
        assert named
        assert len(set(named)) == len(named)
        assert set(named) <= known.keys()
        assert all(group.names and 0 <= group.lr_scale < 100 for group in groups)
        decayed = {name for group in groups for name in group.names if group.decay}
        assert not {name for name in decayed if known[name].ndim < 2 or name.endswith("bias")}


@EVERY
@EVERYWHERE
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(name, network):
    _, _, tuning = _tune(name, network)
    before = copy.deepcopy(tuning.model.state_dict())
    tunables.by_hand(tuning, tunables.sampler(network)(), decay=0.1)
    same = _same(before, tuning.model.state_dict())
    learns = _learns(tuning, 3)
    parameters = {name for name, _ in tuning.model.named_parameters()}
    assert all(same[name] for name in parameters - learns)
    if tuning.norm_statistics == "frozen":
        assert all(same[name] for name in same.keys() - parameters)
    # Without a gradient: a key's bias, which softmax does not see, and a shift before a norm that takes it out
    blind = (".key.bias", "k_proj.bias", *(["bias"] if tuning.norm_statistics == "trained" else []))
    assert all(name.endswith(blind) for name in learns if same[name])


@EVERY
@EVERYWHERE
def test_it_trains_as_many_numbers_as_it_claims(name, network):
    _, before, tuning = _tune(name, network)
    sizes = {name: parameter.numel() for name, parameter in tuning.model.named_parameters()}
    counted = sum(sizes[name] for name in _learns(tuning, 50))
    assert tuning.params["trainable"] == counted == _claimed(name, before)


def _claimed(name, model):
    everything = sum(p.numel() for p in model.parameters())
    head = sum(p.numel() for p in model.head.parameters())
    layers = [m for m in model.body.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    dense = [m for m in layers if getattr(m, "groups", 1) == 1 and getattr(m, "dilation", (1, 1)) == (1, 1)]
    rows = sum(m.weight.shape[0] for m in dense)
    low_rank = 0
    for m in dense:
        out, into = m.weight.shape[:2]
        low_rank += max(1, min(8, min(out, into) // 4)) * (out + m.weight[0].numel())
    return {
        "bitfit": head + sum(p.numel() for n, p in model.body.named_parameters() if n.endswith("bias")),
        "lora": head + low_rank,
        "dora": head + low_rank + rows,
        "ia3": head + sum(m.weight.shape[0] for m in layers),
    }.get(name, everything)


@EVERY
@EVERYWHERE
def test_merged_is_the_network_that_was_given_with_the_tuned_answers(name, network):
    model, before, tuning = _tune(name, network)
    tunables.by_hand(tuning, tunables.sampler(network)(), lr=1e-2)
    tuned = _scores(tuning.model, network)
    assert (tuned - _scores(before, network)).abs().max() > 1e-4
    assert (tuning.merge is not None) == (name in ADAPTERS)
    if tuning.merge is not None:
        tuning.merge()
    assert list(model.state_dict()) == list(before.state_dict())
    assert [type(m) for m in model.modules()] == [type(m) for m in before.modules()]
    torch.testing.assert_close(_scores(model, network), tuned, atol=1e-5, rtol=1e-5)


@EVERY
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not_change_the_probe(name):
    states = []
    for seed in (3, 3, 4):
        torch.rand(seed)  # the global generator has no say
        _, _, tuning = _tune(name, "vit", seed=seed)
        start = tuning.model.state_dict()["head.weight"].clone()
        tunables.by_hand(tuning, tunables.sampler("vit")(), epochs=1)
        states.append((start, copy.deepcopy(tuning.model.state_dict())))
    assert all(_same(states[0][1], states[1][1]).values())
    assert torch.equal(states[0][0], states[2][0]) == (name not in FRESH)


@EVERY
@pytest.mark.parametrize("network", ["plain", "vit", "bert"])
def test_the_loss_goes_down(name, network):
    _, _, tuning = _tune(name, network)
    batches = tunables.sampler(network)()
    at_first = _loss(tuning.model, batches)
    tunables.by_hand(tuning, batches, epochs=15, lr=3e-3, optimiser=torch.optim.Adam)
    assert _loss(tuning.model, batches) < 0.93 * at_first


def _loss(model, batches):
    with torch.no_grad():
        return sum(float(nn.functional.cross_entropy(model.eval()(x), y)) for x, y in batches)


@EVERY
def test_only_from_scratch_are_norm_statistics_trained(name):
    _, _, tuning = _tune(name, "plain")
    assert tuning.norm_statistics == ("trained" if name == "scratch" else "frozen")


@EVERY
def test_a_parameter_that_is_in_no_block_is_refused_or_frozen(name):
    """A block forgotten must not go by unseen: it would be frozen under ``full``."""
    model = tunables.build("plain")
    model.blocks = model.blocks[1:]
    tune = _method(name).tune
    if name in ADAPTERS:
        return  # they count by layers, not by blocks
    with pytest.raises(Exception, match=r"blocks leave parameters out. Given: body\.0\.0\.weight"):
        tune(model, sample=tunables.sampler("plain"), loss=nn.functional.cross_entropy, seed=0)
