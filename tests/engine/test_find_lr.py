"""The learning-rate range test, on a problem whose largest stable rate is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from headway.engine.find_lr import find_lr
from headway.engine.losses import loss_for
from headway.engine.optimise import Schedule
from headway.errors import OptionError
from headway.types import ParamGroup, Tuning

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
Y = X @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 1.0
SCHEDULE = Schedule(optimiser="sgd", weight_decay=0.0, clip=None)


class Whole:
    def __len__(self):
        return 1

    def epoch(self, number):
        yield X, Y


def _asked():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.0))
    return Tuning(model=model, groups=(ParamGroup(names=("0.weight", "0.bias")),))


def _find(tuning, **options):
    return find_lr(
        tuning, **{"batches": Whole(), "loss": loss_for("identity"), "schedule": SCHEDULE, "seed": 0, **options}
    )


def test_the_rate_found_is_below_the_stable_limit_and_not_far_below():
    """Gradient descent on a quadratic of curvature L is stable below 2/L; Nesterov momentum does not widen that."""
    design = torch.cat([X, torch.ones(64, 1)], 1)
    curvature = torch.linalg.eigvalsh(2 * design.T @ design / 64).max().item()
    found = _find(_asked(), high=100.0, steps=100)
    assert 2 / curvature / 1000 < found.lr < 2 / curvature
    assert len(found.rates) == len(found.losses) < 100  # it ended where the loss climbed
    assert found.losses[-1] > min(found.losses)
    ratios = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert ratios == pytest.approx([(100 / 1e-6) ** (1 / 99)] * len(ratios))


def test_the_model_and_the_random_state_are_as_before():
    tuning = _asked()
    model = tuning.model.train()
    model[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    _find(tuning)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [True, False]
    assert all(p.grad is None for p in model.parameters())


def test_it_is_restored_also_where_the_loss_is_not_finite():
    tuning = _asked()
    before = tuning.model[0].weight.detach().clone()
    calls = []

    def loss(scores, targets):
        calls.append(1)
        return loss_for("identity")(scores, targets) * (math.nan if len(calls) > 5 else 1.0)

    found = _find(tuning, loss=loss)
    assert len(found.rates) == 5 and torch.equal(tuning.model[0].weight, before)
    assert _find(tuning, loss=lambda s, t: s.sum() * math.nan).lr == 1e-6


@pytest.mark.parametrize("change", [{"low": 0.0}, {"low": 1.0, "high": 0.5}, {"steps": 2}])
def test_an_empty_range_is_refused(change):
    with pytest.raises(OptionError, match="sweep"):
        _find(_asked(), **change)
