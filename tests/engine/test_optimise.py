"""Frozen state, grouped rates, schedule and moving average, each against its formula or torch by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from headway.engine.optimise import (
    Schedule,
    advanced,
    average,
    freeze,
    load_optimiser_state,
    moving,
    optimiser_for,
    optimiser_state,
    plan_epochs,
    rate_share,
    set_rate,
    validate,
)
from headway.errors import OptionError
from headway.types import ParamGroup


def _block(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)))


def _net() -> nn.Sequential:
    return nn.Sequential(_block(), _block(), nn.BatchNorm2d(3, affine=False), nn.Dropout(0.5))


def _group(*names: str, **options) -> ParamGroup:
    return ParamGroup(names=names, **options)


# --- frozen -------------------------------------------------------------------------------------


def _training(model):
    return {name for name, module in model.named_modules() if module.training and name}


def test_modules_without_trained_parameters_are_in_eval_mode():
    model = _net().train()
    freeze(model, [_group("1.0.weight")], norm_statistics="trained")
    assert _training(model) == {"1", "1.0", "1.2", "1.2.0", "1.2.1", "2", "3"}  # not 1.1: its own are frozen
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"1.0.weight"}


def test_frozen_statistics_stay_in_eval_mode_while_their_affine_parameters_train():
    model = _net()
    freeze(model, [_group("1.1.weight", "1.1.bias")], norm_statistics="frozen")
    assert not model[1][1].training and not model[2].training and model[1][2][1].training
    freeze(model, [_group("1.1.weight", "1.1.bias")], norm_statistics="trained")
    assert model[1][1].training and model[2].training and not model[0][1].training


def test_what_moves_is_what_a_step_can_change():
    model = _net()
    freeze(model, [_group("1.0.weight", "1.1.weight")], norm_statistics="trained")
    found = set(moving(model))
    assert found == {"1.0.weight", "1.1.weight"} | {
        f"{norm}.{name}" for norm in ("1.1", "2") for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert set(moving(model, everything=True)) == set(model.state_dict())


@pytest.mark.parametrize("names", [[], [("9.weight",)], [("1.0.weight",), ("1.0.weight",)]])
def test_groups_that_make_no_sense_are_refused(names):
    with pytest.raises(OptionError):
        freeze(_net(), [_group(*group) for group in names], norm_statistics="frozen")


def test_an_unknown_parameter_is_told_the_nearest():
    with pytest.raises(OptionError, match=r"Did you mean .*1\.0\.weight"):
        freeze(_net(), [_group("1.0.weigth")], norm_statistics="frozen")


# --- optimiser ----------------------------------------------------------------------------------


def _descend(model, optimiser, steps=5, seed=0):
    inputs = torch.from_numpy(np.random.default_rng(seed).normal(size=(steps, 4, 3, 6, 6))).float()
    for x in inputs:
        optimiser.zero_grad()
        model(x.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_grouped_rates_are_what_torch_does_by_hand(kind, layout):
    schedule = Schedule(optimiser=kind, lr=0.01, weight_decay=0.3)
    torch.manual_seed(0)
    ours, theirs = _block().eval().to(memory_format=layout), _block().eval()
    theirs.load_state_dict(ours.state_dict())
    groups = [_group("0.weight", lr_scale=0.5), _group("0.bias", "1.bias", decay=False)]
    freeze(ours, groups, norm_statistics="frozen")
    optimiser = optimiser_for(ours, groups, schedule)
    set_rate(optimiser, 0.02)
    ours.eval()
    by_hand = [
        {"params": [theirs[0].weight], "lr": 0.01, "weight_decay": 0.3},
        {"params": [theirs[0].bias, theirs[1].bias], "lr": 0.02, "weight_decay": 0.0},
    ]
    torchs = (
        torch.optim.AdamW(by_hand, fused=False)
        if kind == "adamw"
        else torch.optim.SGD(by_hand, momentum=0.9, nesterov=True, fused=False)
    )
    before = ours[1].weight.clone()
    _descend(ours, optimiser)
    _descend(theirs, torchs)
    for a, b in ((ours[0].weight, theirs[0].weight), (ours[0].bias, theirs[0].bias), (ours[1].bias, theirs[1].bias)):
        torch.testing.assert_close(a.contiguous(), b, rtol=1e-4, atol=1e-6)
    assert torch.equal(ours[1].weight, before) and ours[1].weight.grad is None


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_optimiser_state_goes_out_and_in_and_the_next_steps_are_the_same(kind):
    schedule = Schedule(optimiser=kind, lr=0.01)
    torch.manual_seed(0)
    groups = [_group("0.weight", "0.bias")]
    models = [_block().eval().to(memory_format=torch.channels_last) for _ in range(2)]
    optimisers = [optimiser_for(model, groups, schedule) for model in models]
    _descend(models[0], optimisers[0])
    models[1].load_state_dict(models[0].state_dict())
    saved = {name: value.contiguous() for name, value in optimiser_state(models[0], optimisers[0]).items()}
    load_optimiser_state(models[1], optimisers[1], saved)
    for model, optimiser in zip(models, optimisers, strict=True):
        _descend(model, optimiser, seed=1)
    assert torch.equal(models[0][0].weight, models[1][0].weight)


@pytest.mark.parametrize(("kind", "moment"), [("adamw", "exp_avg"), ("sgd", "momentum_buffer")])
def test_new_groups_keep_the_state_of_those_that_stay(kind, moment):
    model, schedule = _net().eval(), Schedule(optimiser=kind)
    optimiser = optimiser_for(model, [_group("1.0.weight", "1.0.bias")], schedule)
    _descend(model, optimiser)
    kept = optimiser.state[model[1][0].weight][moment].clone()
    later = optimiser_for(model, [_group("0.0.weight", "1.0.weight")], schedule, before=optimiser)
    assert torch.equal(later.state[model[1][0].weight][moment], kept)
    assert model[1][0].bias not in later.state and not later.state[model[0][0].weight].get(moment, kept * 0).any()
    before = model[0][0].weight.detach().clone()
    _descend(model, later)
    assert not torch.equal(model[0][0].weight, before)


# --- schedule -----------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.3, 1.0])
def test_warm_up_and_cosine_are_the_closed_form(warmup):
    steps, done, ours = 40, 0.0, []
    for s in range(steps):
        after = advanced(done, steps - s)
        ours.append(rate_share(done, after, warmup=warmup))
        done = after
    w = warmup * steps
    closed = [
        min(1.0, (s + 1) / w) if s < w - 1e-9 else 0.5 * (1 + math.cos(math.pi * (s - w) / (steps - w)))
        for s in range(steps)
    ]
    np.testing.assert_allclose(ours, closed, atol=1e-9)
    assert done == 1.0
    assert rate_share(1.0, 1.0, warmup=warmup) == 0.0


def test_the_cosine_is_torchs_without_warm_up():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10)
    for s in range(10):
        assert rate_share(s / 10, (s + 1) / 10, warmup=0.0) == pytest.approx(torchs.get_last_lr()[0])
        optimiser.step()
        torchs.step()


def test_a_schedule_whose_end_moves_still_ends_at_one_and_never_goes_back():
    done, passed = 0.0, []
    for left in (10, 9, 8, 3, 2, 1):
        done = advanced(done, left)
        passed.append(done)
    assert passed == sorted(passed) and passed[-1] == 1.0


def test_epochs_are_planned_within_the_time():
    plan = {"batches": 10, "batch_seconds": 0.1, "check_seconds": 0.5}
    assert plan_epochs(100, **plan, remaining=16.0) == 10
    assert plan_epochs(4, **plan, remaining=16.0) == 4
    assert plan_epochs(4, **plan, remaining=1.4) == 0
    assert plan_epochs(4, **plan, remaining=-1.0) == 0


def test_the_moving_average_is_its_formula():
    values = [torch.tensor([float(v)]) for v in (3, -1, 4, 1, 5)]
    kept = {"w": torch.tensor([2.0]), "n": torch.tensor(0)}
    expected = 2.0
    for t, value in enumerate(values):
        average(kept, {"w": value, "n": torch.tensor(t)}, decay=0.3, updates=t)
        d = min(0.3, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * value.item()
        assert kept["w"].item() == pytest.approx(expected, rel=1e-6)
    assert kept["n"].item() == 4


@pytest.mark.parametrize(
    "change",
    [
        {"optimiser": "adam"},
        {"lr": 0.0},
        {"lr": math.nan},
        {"weight_decay": -1.0},
        {"epochs": 0},
        {"warmup": 1.1},
        {"clip": 0.0},
        {"mixup": -0.1},
        {"ema": 1.0},
        {"patience": 0},
        {"precision": "f16"},
    ],
)
def test_a_schedule_out_of_range_is_refused_by_name(change):
    with pytest.raises(OptionError, match=next(iter(change))):
        validate(replace(Schedule(), **change))
