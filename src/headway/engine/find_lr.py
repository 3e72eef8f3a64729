"""A learning-rate range test: how far the rate can be raised before the loss climbs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headway.engine._running import Batches
from headway.engine.optimise import Schedule, copied, freeze, moving, optimiser_for, restore, set_rate, validate
from headway.engine.step import Loss, backward, placed
from headway.errors import OptionError
from headway.seeds import seed_of
from headway.types import Tuning

SMOOTHING = 0.9  # of the moving average of the losses, corrected for its start as Adam's moments are
CLIMBED = 4.0  # times the lowest loss ends the sweep
SAFETY = 10.0  # the chosen rate lies so far below that of the lowest loss


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRate:
    """The chosen rate, and the curve it was read from."""

    lr: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]  # smoothed; one a rate


def find_lr(
    tuning: Tuning,
    /,
    *,
    batches: Batches,
    loss: Loss,
    schedule: Schedule,
    seed: int,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 60,
) -> FoundRate:
    """Raise the rate from ``low`` to ``high`` exponentially, a step a batch, and choose a tenth of the best one.

    Smith (2017), Cyclical Learning Rates, arXiv 1506.01186, section 3.3. The rate chosen is that of the lowest smoothed
    loss divided by 10, not below ``low``. Takes ``steps`` batches at most: it ends where the loss has risen to 4 times
    its lowest, or is not finite. The model and the random state are afterwards what they were, bit for bit.

    Raises:
        OptionError: the range is empty, or there are fewer than 3 steps.
    """
    validate(schedule)
    if not 0 < low < high < math.inf or steps < 3:
        raise OptionError("the sweep is off", given=(low, high, steps), allowed="0 < low < high, and 3 steps or more")
    model = tuning.model
    asked = {parameter: parameter.requires_grad for parameter in model.parameters()}
    modes = {module: module.training for module in model.modules()}
    freeze(model, tuning.groups, norm_statistics=tuning.norm_statistics)
    tensors = moving(model)
    start = copied(tensors)
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            rates = [low * (high / low) ** (number / (steps - 1)) for number in range(steps)]
            losses = list(_sweep(tuning, batches, loss, schedule, seed, rates))
    finally:
        restore(tensors, start)
        _put_back(model, asked, modes)
    smooth = _smoothed(losses)
    best = min(range(len(smooth)), key=smooth.__getitem__, default=0)
    return FoundRate(lr=max(low, rates[best] / SAFETY), rates=tuple(rates[: len(smooth)]), losses=tuple(smooth))


def _sweep(
    tuning: Tuning, batches: Batches, loss: Loss, schedule: Schedule, seed: int, rates: list[float]
) -> Iterator[float]:
    model = tuning.model
    device = next(model.parameters()).device
    optimiser = optimiser_for(model, tuning.groups, schedule)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    losses: list[float] = []
    for number, (rate, (x, y)) in enumerate(zip(rates, _endless(batches), strict=False)):
        torch.manual_seed(seed_of(seed, "find_lr", number))
        batch = placed(x, y, device=device)
        value = backward(model, batch, loss=loss, penalty=tuning.penalty, precision="f32")
        norm = nn.utils.clip_grad_norm_(parameters, math.inf if schedule.clip is None else schedule.clip)
        if not math.isfinite(value) or not math.isfinite(norm):
            return
        losses.append(value)
        yield value
        smooth = _smoothed(losses)
        if smooth[-1] > CLIMBED * min(smooth):
            return
        set_rate(optimiser, rate)
        optimiser.step()


def _endless(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        epoch += 1
        found = False
        for pair in batches.epoch(epoch):
            found = True
            yield pair
        if not found:
            return


def _smoothed(losses: list[float]) -> list[float]:
    level, out = 0.0, []
    for number, value in enumerate(losses, start=1):
        level = SMOOTHING * level + (1 - SMOOTHING) * value
        out.append(level / (1 - SMOOTHING**number))
    return out


def _put_back(model: nn.Module, asked: dict[nn.Parameter, bool], modes: dict[nn.Module, bool]) -> None:
    model.zero_grad(set_to_none=True)
    for parameter, learns in asked.items():
        parameter.requires_grad_(learns)
    for module, mode in modes.items():
        module.training = mode
