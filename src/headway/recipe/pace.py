"""How fast a network trains here and now: beforehand from a few batches, afterwards from what its training took."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from headway.recipe.ground import Ground
from headway.recipe.judging import PRECISION
from headway.recipe.training import BATCH, Candidate, Trial, set_up

PACING = 6  # batches from which the pace is told, but for the first
LEAST_PACING, PACING_SECONDS = 2, 2.0  # where batches are slow, fewer will do
OVERHEAD = 1.15  # the optimiser, batches and looking at what was left out, beside forward and backward


def pace(candidate: Candidate, ground: Ground) -> float:
    """Seconds that training takes an item: the median of a few batches, but for the first, which chooses kernels.

    The median, because on a machine that others use too, the least is what no epoch will reach.
    """
    import torch

    from headway.engine.step import backward, placed

    rows = np.arange(min((PACING + 1) * BATCH, len(ground.arena.y)))
    _, _, data, tuning, loss = set_up(candidate, ground, rows, seed=0, order=0, epochs=1)
    model = tuning.model.to(memory_format=torch.channels_last).train()
    seconds: list[float] = []
    for x, y in data.epoch(1):
        batch, started = placed(x, y, device=torch.device("cpu")), perf_counter()
        backward(model, batch, loss=loss, penalty=tuning.penalty, precision=PRECISION)
        seconds.append((perf_counter() - started) / len(batch))
        if len(seconds) > LEAST_PACING and sum(seconds) * len(batch) > PACING_SECONDS:
            break
    return OVERHEAD * median(seconds[1:] or seconds)


def pace_of(trial: Trial, n: int) -> float | None:
    """What a training that is over took an item of the ``n``, looking at those left out included; None: no epoch."""
    epochs = len(trial.epochs) - 1
    return trial.seconds / (epochs * n) if epochs else None
