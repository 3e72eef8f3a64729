"""Methods that look at the loss or change it: relative gradients and the penalty, against finite differences."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from headway.adapt import l2sp, surgical
from headway.adapt._blocks import blocks
from headway.errors import DataError, ModelError

_spec = importlib.util.spec_from_file_location("tunables", Path(__file__).with_name("tunables.py"))
tunables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tunables)
LOSS = nn.functional.cross_entropy


def _tune(tune, model, network, seed=0):
    return tune(model, sample=tunables.sampler(network), loss=LOSS, seed=seed)


def _by_name(groups, what):
    return {name: getattr(group, what) for group in groups for name in group.names}


# --- surgical ------------------------------------------------------------------------------------


def test_relative_gradients_are_those_of_finite_differences():
    model = tunables.build("plain").double()
    batches = [(x.double(), y) for x, y in tunables.sampler("plain")()]
    found = surgical.relative_gradients(model, sample=lambda: batches, loss=LOSS)
    bias = model.body[3][3]
    for parameter in (bias.weight, bias.bias):
        parameter.requires_grad_(False)

    def mean_loss():
        return float(sum(LOSS(model(x), y).detach() for x, y in batches)) / len(batches)

    squares = norms = 0.0
    for parameter in (bias.weight, bias.bias):
        for i in range(parameter.numel()):
            flat, step = parameter.data.view(-1), 1e-5
            flat[i] += step
            above = mean_loss()
            flat[i] -= 2 * step
            below = mean_loss()
            flat[i] += step
            squares += ((above - below) / (2 * step)) ** 2
        norms += float(parameter.detach().square().sum())
    assert found["body.3"] == pytest.approx((squares / norms) ** 0.5, rel=1e-5)


def test_batches_count_by_their_items():
    model = tunables.build("plain")
    (x, y), (more, labels) = tunables.sampler("plain")()
    whole = [(torch.cat([x, more[:2]]), torch.cat([y, labels[:2]]))]
    parts = [(x, y), (more[:2], labels[:2])]
    one, two = (surgical.relative_gradients(model, sample=lambda s=s: s, loss=LOSS) for s in (whole, parts))
    assert one == pytest.approx(two, rel=1e-4)


def test_rates_follow_the_relative_gradients():
    model = tunables.build("plain")
    ratios = surgical.relative_gradients(model, sample=tunables.sampler("plain"), loss=LOSS)
    tuning = _tune(surgical.tune, model, "plain")
    scales = _by_name(tuning.groups, "lr_scale")
    for block, names in blocks(model).items():
        assert [scales[n] for n in names] == pytest.approx([ratios[block] / max(ratios.values())] * len(names))
    assert scales["head.weight"] == 1.0
    assert ratios[tuning.params["most"]] == max(ratios.values())


def test_the_block_that_was_moved_is_the_one_chosen():
    """Weights of one block spoilt after the head was fitted: the gradient there, over its norm, is the largest."""
    model = tunables.build("vit")
    with torch.no_grad():
        for parameter in model.body.blocks[2].parameters():
            parameter.mul_(1e-3)  # so small that what it is asked to change is many times what it is
    tuning = _tune(surgical.tune_block, model, "vit")
    assert tuning.params["block"] == "body.blocks.2"
    learns = {name for group in tuning.groups for name in group.names}
    assert learns == {*blocks(model)["body.blocks.2"], "head.weight", "head.bias"}


def test_measuring_leaves_the_model_as_it_was():
    model = tunables.build("plain").train()
    model.body[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    surgical.relative_gradients(model, sample=tunables.sampler("plain"), loss=LOSS)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and not any(p.requires_grad for p in model.body[0].parameters())
    assert all(p.requires_grad for p in model.body[1].parameters())
    assert all(p.grad is None for p in model.parameters())


def test_no_batch_and_no_finite_gradient_are_said():
    model = tunables.build("plain")
    with pytest.raises(DataError, match="needs a batch"):
        surgical.tune(model, sample=list, loss=LOSS, seed=0)
    with pytest.raises(ModelError, match="no finite gradient"):
        surgical.tune(model, sample=tunables.sampler("plain"), loss=lambda s, y: s.sum() * float("nan"), seed=0)


def test_where_nothing_is_asked_to_change_every_rate_is_the_same():
    tuning = surgical.tune(
        tunables.build("plain"), sample=tunables.sampler("plain"), loss=lambda s, y: 0 * s.sum(), seed=0
    )
    assert set(_by_name(tuning.groups, "lr_scale").values()) == {1.0}


# --- L2-SP ---------------------------------------------------------------------------------------


def test_the_penalty_is_the_papers_and_its_gradient_that_of_finite_differences():
    model = tunables.build("plain").double()
    tuning = _tune(l2sp.tune, model, "plain")
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    head = model.head.weight.detach()
    assert float(tuning.penalty().detach()) == pytest.approx(0.01 / 2 * float(head.square().sum()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).double())
    moved = sum(
        float((p.detach() - start[n]).square().sum()) for n, p in model.named_parameters() if n.startswith("body.")
    )
    value = tuning.penalty()
    assert float(value.detach()) == pytest.approx(
        0.1 / 2 * moved + 0.01 / 2 * float(model.head.weight.detach().square().sum())
    )
    value.backward()
    for parameter in (model.body[0][0].weight, model.body[1][1].bias, model.head.weight, model.head.bias):
        slope, flat = 0.0, parameter.data.view(-1)
        for step in (1e-4, -1e-4):
            flat[1] += step
            slope += float(tuning.penalty().detach()) / (2 * step)
            flat[1] -= step
        gradient = 0.0 if parameter.grad is None else float(parameter.grad.view(-1)[1])
        assert gradient == pytest.approx(slope, abs=1e-7)


def test_weight_decay_does_not_work_against_the_penalty_and_a_strong_one_holds_the_body(monkeypatch):
    moved = []
    for alpha in (0.0, 30.0):
        monkeypatch.setattr(l2sp, "ALPHA", alpha)
        model = tunables.build("plain")
        start = model.body[3][3].weight.detach().clone()
        tuning = _tune(l2sp.tune, model, "plain")
        assert not any(group.decay for group in tuning.groups)
        tunables.by_hand(tuning, tunables.sampler("plain")(), epochs=10, lr=1e-2)
        moved.append(float((model.body[3][3].weight.detach() - start).norm()))
    assert moved[1] < 0.3 * moved[0]
