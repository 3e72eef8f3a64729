"""Who learns, at which rate and with which decay: against timm and the papers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from headway.adapt import bitfit, full, gradual, lp_ft, partial, scratch
from headway.adapt._blocks import blocks, evaluating, groups
from headway.backbones._torchvision import prepare
from headway.errors import ModelError

_spec = importlib.util.spec_from_file_location("tunables", Path(__file__).with_name("tunables.py"))
tunables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tunables)
LOSS = nn.functional.cross_entropy


def _tune(tune, model, network, seed=0):
    return tune(model, sample=tunables.sampler(network), loss=LOSS, seed=seed)


def _by_name(groups, what):
    return {name: getattr(group, what) for group in groups for name in group.names}


# --- blocks --------------------------------------------------------------------------------------


def test_the_innermost_block_owns_a_parameter():
    held = blocks(tunables.build("vit"))
    assert list(held) == ["body", *(f"body.blocks.{i}" for i in range(6))]
    assert {"body.cls_token", "body.pos_embed", "body.norm.weight"} <= set(held["body"])
    assert all(name.startswith("body.blocks.3.") for name in held["body.blocks.3"])
    model = tunables.build("vit")
    named = [name for names in held.values() for name in names]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters() if name.startswith("body."))


def test_names_that_begin_alike_are_different_blocks():
    layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(11)))
    model = tunables.Whole(layers, 4, tuple(f"body.{i}" for i in range(11)))
    assert blocks(model)["body.1"] == ("body.1.weight", "body.1.bias")


def test_unknown_and_missing_blocks_are_named():
    model = tunables.build("plain")
    model.blocks = ("body.0", "body.9")
    with pytest.raises(ModelError, match=r"not a module of the network. Given: body\.9"):
        blocks(model)
    model.blocks = ("body.1", "body.2", "body.3")
    with pytest.raises(ModelError, match=r"leave parameters out. Given: body\.0\.0\.weight"):
        blocks(model)


@pytest.mark.parametrize("network", ["resnet", "efficientnet", "vit"])
def test_weight_decay_is_spared_as_by_timm(network):
    prepare()
    from timm.optim import param_groups_weight_decay

    model = tunables.build(network)
    spared = getattr(model.body, "no_weight_decay", set)()
    theirs = param_groups_weight_decay(model.body, 0.1, no_weight_decay_list=spared)
    decays = {id(p): group["weight_decay"] > 0 for group in theirs for p in group["params"]}
    parameters = dict(model.named_parameters())
    ours = groups(model, [name for name in parameters if name.startswith("body.")])
    assert _by_name(ours, "decay") == {n: decays[id(p)] for n, p in parameters.items() if n.startswith("body.")}
    assert len(ours) == 2


def test_positions_have_no_decay_where_the_network_no_longer_says_so_and_tables_never():
    body = nn.Module()
    body.register_parameter("pos_embed", nn.Parameter(torch.ones(1, 4, 8)))
    body.words, body.linear = nn.Embedding(10, 8), nn.Linear(8, 8)
    model = tunables.Whole(body, 8, ("body",))
    found = _by_name(groups(model, [name for name, _ in model.named_parameters()]), "decay")
    assert {name for name, decay in found.items() if decay} == {"body.linear.weight", "head.weight"}


def test_evaluating_gives_every_module_its_own_mode_back():
    model = tunables.build("plain").train()
    model.body[1].eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model.body] == [True, False, True, True]


# --- one method each -----------------------------------------------------------------------------


class _Layers(nn.Module):
    """What timm's layer decay asks of a network: to which group each parameter belongs."""

    def __init__(self, count):
        super().__init__()
        self.body = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(count)))
        self.head = nn.Linear(4, 3)
        self.blocks = tuple(f"body.{i}" for i in range(count))

    def group_matcher(self, coarse=False):
        return {"stem": (), "blocks": [(r"^body\.(\d+)", None), (r"^head", (1000,))]}


@pytest.mark.parametrize(("count", "rate"), [(1, 0.75), (5, 0.75), (12, 0.75), (24, 0.75**0.5)])
def test_layer_wise_decay_is_timms(count, rate):
    prepare()
    from timm.optim import param_groups_layer_decay

    model = _Layers(count)
    theirs = param_groups_layer_decay(model, weight_decay=0.1, layer_decay=rate)
    expected = {id(p): (group["lr_scale"], group["weight_decay"] > 0) for group in theirs for p in group["params"]}
    found = full.tune(model, sample=list, loss=LOSS, seed=0).groups
    scales, decays = _by_name(found, "lr_scale"), _by_name(found, "decay")
    for name, parameter in model.named_parameters():
        assert (scales[name], decays[name]) == pytest.approx(expected[id(parameter)])


def test_the_lowest_block_of_a_deep_network_is_slowed_no_more_than_of_a_twelve_block_one():
    lowest = [full.tune(_Layers(count), sample=list, loss=LOSS, seed=0).groups[0].lr_scale for count in (12, 50)]
    assert lowest[0] == pytest.approx(lowest[1]) == pytest.approx(0.75**12)


@pytest.mark.parametrize(
    ("epochs", "open_blocks"), [(7, [0, 1, 2, 3, 4, 4, 4]), (5, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (2, [0, 4]), (1, [0])]
)
def test_gradual_unfreezing_goes_from_the_head_down(epochs, open_blocks):
    tuning = _tune(gradual.tune, tunables.build("plain"), "plain")
    for epoch, count in enumerate(open_blocks):
        learns = {name.rpartition(".")[0] for group in tuning.regroup(epoch, epochs) for name in group.names}
        learns = {".".join(name.split(".")[:2]) for name in learns}
        assert learns == {"head", *(f"body.{i}" for i in range(4 - count, 4) if i < 4)}
    assert {name for group in tuning.groups for name in group.names} == {"head.weight", "head.bias"}


def test_a_fresh_head_is_another_for_another_seed_and_learns_as_fast_as_the_blocks():
    heads = []
    for seed in (0, 0, 1):
        model = tunables.build("plain")
        tuning = _tune(partial.tune, model, "plain", seed)
        heads.append(model.head.weight.detach())
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    scales = _by_name(tuning.groups, "lr_scale")
    assert {"head.weight", "head.bias", "body.0.0.weight"} <= set(scales)
    assert set(scales.values()) == {1.0}


def test_lp_ft_trains_everything_at_one_rate_from_the_probe():
    model = tunables.build("plain")
    before = model.head.weight.detach().clone()
    tuning = _tune(lp_ft.tune, model, "plain")
    assert torch.equal(model.head.weight, before)
    assert set(_by_name(tuning.groups, "lr_scale").values()) == {1.0}


def test_scratch_trains_batch_norm_statistics():
    model = tunables.build("plain")
    before = model.body[0][1].running_mean.clone()
    tuning = _tune(scratch.tune, model, "plain")
    tunables.by_hand(tuning, tunables.sampler("plain")(), epochs=1)
    assert not torch.equal(model.body[0][1].running_mean, before)


def test_bitfit_names_biases_and_shifts_and_the_head():
    tuning = _tune(bitfit.tune, tunables.build("plain"), "plain")
    expected = {"0.1", "1.0", "1.1", "1.3", "2.0", "2.1", "3.3"}
    learns = set(_by_name(tuning.groups, "decay"))
    assert learns == {f"body.{name}.bias" for name in expected} | {"head.weight", "head.bias"}
    bare = tunables.Whole(nn.Linear(3, 4, bias=False), 4, ("body",))
    with pytest.raises(ModelError, match="this network has none"):
        _tune(bitfit.tune, bare, "plain")
