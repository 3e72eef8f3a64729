"""What training left behind, epoch by epoch, and what is read from it: the best epoch, patience, overfitting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headway.types import Finding

OVERFITTING_EPOCHS = 3
OVERFITTING_RISE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What validation says of a model; the score is larger where it is better."""

    loss: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch. Number 0 is the model as it was given: train_loss is that of the first batch, unmixed, and lr is 0."""

    number: int
    train_loss: float  # mean over the epoch's batches, of what was minimised
    val_loss: float | None  # None where there is no validation
    val_score: float | None
    lr: float  # the learning rate after its last step, for groups of scale 1
    seconds: float  # validation included


def better(one: Epoch, other: Epoch) -> bool:
    """By validation: a higher score is better, or the same with a lower loss. Without validation the later one is."""
    return _merit(one) > _merit(other) if one.val_score is not None else one.number > other.number


def _merit(epoch: Epoch) -> tuple[float, float]:
    score = -math.inf if epoch.val_score is None or math.isnan(epoch.val_score) else epoch.val_score
    loss = math.inf if epoch.val_loss is None or math.isnan(epoch.val_loss) else epoch.val_loss
    return score, -loss


def is_stale(epochs: Sequence[Epoch], *, best: int, patience: int | None) -> bool:
    """Whether ``patience`` epochs have passed since the best one."""
    return patience is not None and epochs[-1].val_score is not None and epochs[-1].number - best >= patience


def overfitting(epochs: Sequence[Epoch], *, best: int) -> Finding | None:
    """A warning when validation turned while training went on.

    The rule: the lowest validation loss lies 3 epochs back or more, the loss now and on average since is at least 5 %
    above it, and training loss has fallen since.
    """
    known = [epoch for epoch in epochs if epoch.val_loss is not None and math.isfinite(epoch.val_loss)]
    if len(known) <= OVERFITTING_EPOCHS:
        return None
    lowest = min(known, key=lambda epoch: (epoch.val_loss, epoch.number))
    since = [epoch for epoch in known if epoch.number > lowest.number]
    if len(since) < OVERFITTING_EPOCHS or lowest.val_loss is None:
        return None
    now = since[-1]
    level = sum(epoch.val_loss or 0.0 for epoch in since) / len(since)
    limit = lowest.val_loss + OVERFITTING_RISE * abs(lowest.val_loss)
    if min(level, now.val_loss or 0.0) < limit or now.train_loss >= lowest.train_loss:
        return None
    message = (
        f"validation loss rose from {lowest.val_loss:.4g} to {now.val_loss:.4g} between epochs {lowest.number} and "
        f"{now.number} while training loss fell from {lowest.train_loss:.4g} to {now.train_loss:.4g}; "
        f"epoch {best} has the best validation score"
    )
    return Finding(check="overfitting", severity="warn", message=message)
