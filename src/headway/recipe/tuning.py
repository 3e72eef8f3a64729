"""Tuning one network: explored without a fold, then finished on all rows and judged by several folds left out.

The number of epochs follows from the time there is, before anything is trained, and the weights at their end are kept:
no epoch is chosen by the fold that judges, so its scores do not lean towards what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.adapt._average import interpolate
from headway.budget import Deadline
from headway.evaluate.metrics import primary
from headway.recipe.ground import Ground
from headway.recipe.plan import settled
from headway.recipe.soup import Series, soup_of
from headway.recipe.training import Candidate, Trial, train_without
from headway.types import LinearHead, Targets

if TYPE_CHECKING:
    from headway.backbones import Network

SOUP_RATE = 0.4  # times the first rate is the second's
SOUP_MARGIN = 1.2  # of what the first series took must be left for the second
LEAST_TASTERS = 2  # folds that judge a soup


@dataclass(slots=True, kw_only=True)
class Tuned:
    """A network that was tuned on all training rows. ``out_of_fold [n, C]`` holds scores where ``judged``."""

    candidate: Candidate
    network: Network
    head: LinearHead
    out_of_fold: NDArray[np.float32]
    judged: NDArray[np.bool_]
    seconds: float
    params: dict[str, Any] = field(default_factory=dict)


def score_on(scores: NDArray[np.float32], ground: Ground, rows: NDArray[np.bool_]) -> float:
    """The primary metric of out-of-fold scores ``[n, C]`` on ``rows [n]``."""
    return primary(ground.arena.y[rows], scores[rows])


def explore(candidate: Candidate, ground: Ground, *, epochs: int, deadline: Deadline) -> Trial:
    """Train without the first fold, which is watched epoch by epoch and judges."""
    out = ground.arena.folds == ground.folds[0]
    return train_without(candidate, ground, out=out, epochs=epochs, deadline=deadline, watch=True)


def finish(
    candidate: Candidate, ground: Ground, first: Trial, *, judges: Sequence[int], deadline: Deadline
) -> Tuned | None:
    """Train on all rows for as many epochs as ``first``, and without each fold of ``judges``. None: out of time.

    ``first`` judges too. The tuned weights are drawn back towards the start (WiSE-FT, arXiv 2109.01903) where the
    judging folds score better so. Where time is left, all that is done once more at another rate, and the weights of
    both are averaged (model soups, arXiv 2203.05482) where the judging folds score no less so.
    """
    started, epochs = perf_counter(), len(first.epochs) - 1
    whole = _without(candidate, ground, None, epochs=epochs, deadline=deadline)
    if len(whole.epochs) < 2:
        return None
    trials = [first]
    for fold in judges:
        trial = _without(candidate, ground, fold, epochs=epochs, deadline=deadline)
        if trial.stopped != "finished":
            break
        trials.append(trial)
    series, took = Series(whole=whole, judges=tuple(trials)), perf_counter() - started + first.seconds
    other = _again(candidate, ground, [ground.folds[0], *judges], series, took=took, deadline=deadline)
    return _tuned(candidate, ground, series, other, perf_counter() - started + first.seconds)


def _again(
    candidate: Candidate, ground: Ground, folds: Sequence[int], series: Series, *, took: float, deadline: Deadline
) -> Series | None:
    """The series at another rate from the same start; None where it does not fit the time.

    A single fold would choose among the weights that it then judges, on a few dozen rows.
    """
    count, epochs = len(series.judges), len(series.whole.epochs) - 1
    fits = count >= LEAST_TASTERS and series.whole.stopped == "finished" and deadline.allows(SOUP_MARGIN * took)
    if not settled(ground.work, f"{candidate.label}, soup", lambda: int(fits)) or count < LEAST_TASTERS:
        return None
    other, trials = replace(candidate, rate=SOUP_RATE * candidate.rate), list[Trial]()
    for fold in (None, *folds[:count]):
        trial = _without(other, ground, fold, epochs=epochs, deadline=deadline)
        if trial.stopped != "finished":
            return None
        trials.append(trial)
    return Series(whole=trials[0], judges=tuple(trials[1:]))


def _without(candidate: Candidate, ground: Ground, fold: int | None, *, epochs: int, deadline: Deadline) -> Trial:
    folds = ground.arena.folds
    out = np.zeros(len(folds), bool) if fold is None else folds == fold
    return train_without(candidate, ground, out=out, epochs=epochs, deadline=deadline, watch=False)


def _tuned(candidate: Candidate, ground: Ground, series: Series, other: Series | None, seconds: float) -> Tuned:
    from headway.engine.cut import linear_head, merged

    whole, judges = series.whole, series.judges
    tail = whole.tail
    share, best = _best_share(judges, ground.arena.y)
    found: list[NDArray[np.float32]] = [trial.scores[share] for trial in judges]
    rates = [candidate.rate]
    cooked = None if other is None else soup_of([series, other], ground, least=best)
    if cooked is not None:
        tail.load_state_dict(cooked.whole)
        rates = [(1.0, SOUP_RATE)[i] * candidate.rate for i in cooked.members]
        found, share = cooked.scores, 1.0
    elif share < 1:
        tail.load_state_dict(interpolate(whole.start, tail.state_dict(), share))
    scores = np.zeros((len(ground.arena.y), ground.arena.classes), np.float32)
    judged = np.zeros(len(ground.arena.y), bool)
    for trial, told in zip(judges, found, strict=True):
        scores[trial.rows], judged[trial.rows] = told, True
    settled_on = {
        "cut": candidate.cut or "",
        "epochs": len(whole.epochs) - 1,
        "judging_folds": len(judges),
        "interpolation": share,
        "rates": ", ".join(f"{rate:.2g}" for rate in rates),
    }
    return Tuned(
        candidate=candidate,
        network=merged(candidate.member.backbone, tail, label=candidate.method.name),
        head=ground.as_told(linear_head(tail)),
        out_of_fold=scores,
        judged=judged,
        seconds=seconds,
        params={**whole.params, **settled_on, "trainable": whole.trainable},
    )


def _best_share(judges: Sequence[Trial], y: Targets) -> tuple[float, float]:
    """How far to go from the start to the tuned weights, all the way unless less is better, and the score there."""
    truth = y[np.concatenate([trial.rows for trial in judges])]
    scores = {
        share: primary(truth, np.concatenate([trial.scores[share] for trial in judges])) for share in judges[0].scores
    }
    best = max(scores, key=lambda share: (scores[share], share))
    return best, scores[best]
