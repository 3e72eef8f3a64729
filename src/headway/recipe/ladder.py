"""The ladder: frozen rungs first, then tuning from a cut, low-rank adapters and full fine-tuning, as far as it pays.

A rung has a predicted cost, measured on two batches, and a predicted gain: the share of the remaining error that such a
rung takes on benchmark sets, corrected by what the rungs before it gave here. It is climbed where both allow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.budget import Deadline
from headway.errors import UserError
from headway.evaluate.loop import Result
from headway.evaluate.metrics import primary
from headway.recipe.ground import Ground
from headway.recipe.pace import pace, pace_of
from headway.recipe.plan import planned, settled
from headway.recipe.rungs import Rung
from headway.recipe.training import EPOCHS, LEAST_EPOCHS, Candidate, Trial
from headway.recipe.tuning import Tuned, explore, finish, score_on

if TYPE_CHECKING:
    from headway.engine.cut import CutPoint

SHARES = {"contrastive": 0.15, "partial": 0.15, "low-rank": 0.10, "full": 0.15, "pinned": 0.15}
"""Of the error that the best probe leaves, what a rung took on the sets of ``benchmarks/ladder.py``."""
WORTH = 0.002  # of the metric: a rung that is predicted to gain less is not climbed
SETTING_UP = 4.0  # seconds that building, converting and compiling the parts of a network take at first
JUDGES = 4  # folds at most that judge what is finished
EXPLORING = 0.45  # of the time for tuning goes into finding out what to finish
IN_USE = 3.0  # times slower a rung may have seemed, on a machine that others use, and still be measured again
HALVING = 120.0  # seconds of tuning from which several candidates are begun, each for a few epochs


@dataclass(slots=True, kw_only=True)
class Climb:
    """What the ladder came to: its table, the curves of what was trained, and what was finished."""

    rungs: list[Rung] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    tuned: Tuned | None = None
    where: tuple[CutPoint, ...] = ()  # the best network's points


@dataclass(slots=True, kw_only=True)
class _Explored:
    candidate: Candidate
    rung: Rung
    pace: float  # seconds an item
    trial: Trial | None = None


def climb(candidates: Sequence[Candidate], ground: Ground, probe: Result, *, seconds: float) -> Climb:
    """Explore candidates on one fold, the better half of them for longer, and finish the best.

    Successive halving after Jamieson and Talwalkar (2016), arXiv 1502.07943. All within ``seconds``; whatever fails
    leaves the probe as it was, with the reason in the table.
    """
    found = Climb()
    whole = Deadline(seconds)
    base = score_on(probe.adapted.out_of_fold, ground, ground.arena.folds == ground.folds[0])
    explored = _first_round(candidates, ground, found, base=base, probe=probe, whole=whole)
    explored = _second_round(explored, ground, base=base, whole=whole)
    found.curves = [_curve(one) for one in explored]
    if explored:
        _finish_best(explored[0], ground, found, whole=whole)
    return found


def _first_round(
    candidates: Sequence[Candidate], ground: Ground, found: Climb, *, base: float, probe: Result, whole: Deadline
) -> list[_Explored]:
    explored: list[_Explored] = []
    late: list[_Explored] = []
    trust = 1.0  # what the rungs so far gave of what was predicted
    pinned = len(candidates) == 1
    epochs = settled(
        ground.work, "epochs at first", lambda: EPOCHS if pinned or whole.seconds < HALVING else LEAST_EPOCHS
    )
    for candidate in candidates:
        gain = trust * SHARES[candidate.rung] * (1.0 - probe.score)
        rung = Rung(
            rung=candidate.rung,
            backbone=candidate.member.spec.name,
            method=candidate.method.name,
            cut=candidate.cut,
            predicted_gain=round(gain, 4),
        )
        found.rungs.append(rung)
        if not pinned and gain < WORTH:
            rung.state, rung.why = "skipped", "too little would be gained"
            continue
        one = _Explored(candidate=candidate, rung=rung, pace=0.0)
        if _try(one, ground, epochs=epochs, base=base, whole=whole):
            explored.append(one)
            if rung.gain is not None and epochs == EPOCHS:
                trust = float(np.clip(rung.gain / max(gain, WORTH), 0.25, 1.5))
        elif one.pace and rung.state == "skipped":
            late.append(one)
    explored += [one for one in late if _try_again(one, ground, epochs=epochs, base=base, whole=whole)]
    return sorted(explored, key=_validation, reverse=True)


def _second_round(explored: list[_Explored], ground: Ground, *, base: float, whole: Deadline) -> list[_Explored]:
    """The better half for as many epochs as pay and fit."""
    half = explored[: (len(explored) + 1) // 2]
    for one in half:
        if one.trial is not None and len(one.trial.epochs) <= EPOCHS:  # the start is counted too
            _try(one, ground, epochs=EPOCHS, base=base, whole=whole)
    for one in explored[len(half) :]:
        one.rung.state, one.rung.why = "stopped", "others did better after as many epochs"
    return sorted(half, key=_validation, reverse=True)


def _try_again(one: _Explored, ground: Ground, *, epochs: int, base: float, whole: Deadline) -> bool:
    """What was believed too slow by no more than a machine in use explains gets a second chance, measured anew."""
    room = whole.remaining - (1 - EXPLORING) * whole.seconds
    if LEAST_EPOCHS * len(ground.arena.y) * one.pace > IN_USE * room:
        return False
    one.pace, one.rung.state, one.rung.why = 0.0, "climbed", ""
    ground.session.cut.pop(one.candidate.label, None)
    return _try(one, ground, epochs=epochs, base=base, whole=whole)


def _epochs_that_fit(one: _Explored, ground: Ground, *, wanted: int, keep: float, whole: Deadline) -> int:
    """As planned when the run was begun, where it was; else as many as the measured pace allows, 0 for too few."""
    name = f"{one.candidate.label}, epochs of {wanted}"
    kept = planned(ground.work, name)
    if kept is not None:
        return kept if whole.allows(0.0, keep=keep) else 0
    seconds = one.pace * len(ground.arena.y)
    fitting = next((e for e in range(wanted, LEAST_EPOCHS - 1, -1) if whole.allows(e * seconds, keep=keep)), 0)
    return settled(ground.work, name, lambda: fitting) if fitting else 0


def _try(one: _Explored, ground: Ground, *, epochs: int, base: float, whole: Deadline) -> bool:
    """Train without the first fold where the time allows; whether there is a trial now."""
    rung, n = one.rung, len(ground.arena.y)
    keep = (1 - EXPLORING) * whole.seconds
    try:
        if not one.pace:
            predicted = SETTING_UP + ground.views.cost(one.candidate.member, one.candidate.cut, epochs=epochs)
            if not whole.allows(predicted, keep=keep):
                rung.predicted_seconds = round(predicted, 1)
                raise _NoTime
            one.pace = pace(one.candidate, ground)
        if one.trial is None:
            rung.predicted_seconds = round(epochs * n * one.pace, 1)
        epochs = _epochs_that_fit(one, ground, wanted=epochs, keep=keep, whole=whole)
        if not epochs:
            raise _NoTime
        if one.trial is not None and epochs < len(one.trial.epochs):
            return True
        trial = explore(one.candidate, ground, epochs=epochs, deadline=Deadline(whole.remaining - keep))
    except _NoTime:
        if one.trial is None:
            rung.state, rung.why = "skipped", "it did not fit the budget"
            ground.session.cut[one.candidate.label] = "tuning it did not fit the budget"
        return one.trial is not None
    except UserError as error:
        rung.state, rung.why = "stopped", str(error)
        return one.trial is not None
    one.trial, one.pace = trial, pace_of(trial, n) or one.pace
    rung.seconds = round((rung.seconds or 0.0) + trial.seconds, 2)
    rung.validation = primary(ground.arena.y[trial.rows], trial.scores[1.0])
    rung.gain = rung.validation - base
    ground.session.findings += trial.findings
    return True


class _NoTime(Exception):
    """The budget does not allow it."""


def _finish_best(one: _Explored, ground: Ground, found: Climb, *, whole: Deadline) -> None:
    assert one.trial is not None
    n, rung = len(ground.arena.y), one.rung
    one_training = (len(one.trial.epochs) - 1) * n * one.pace
    others = ground.folds[1:]
    fitting = int(np.clip((whole.remaining / max(one_training, 1e-9) - 1.1) / 0.8, 0, min(JUDGES, len(others))))
    judges = settled(ground.work, f"{one.candidate.label}, judges", lambda: fitting)
    if not whole.allows(one_training):
        rung.state, rung.why = "stopped", "the budget was spent before it could be trained on all rows"
        ground.session.cut[one.candidate.label] = rung.why
        return
    try:
        left = Deadline(whole.remaining)
        found.tuned = finish(one.candidate, ground, one.trial, judges=others[:judges], deadline=left)
    except UserError as error:
        rung.state, rung.why = "stopped", str(error)
        return
    if found.tuned is None:
        rung.state, rung.why = "stopped", "the budget was spent before it was trained on all rows"
        ground.session.cut[one.candidate.label] = rung.why
        return
    rung.seconds = round((rung.seconds or 0.0) + found.tuned.seconds, 2)
    judged = score_on(found.tuned.out_of_fold, ground, found.tuned.judged)
    rung.validation = judged


def _validation(one: _Explored) -> float:
    return one.rung.validation if one.rung.validation is not None else -1.0


def _curve(one: _Explored) -> dict[str, Any]:
    assert one.trial is not None
    return {
        "backbone": one.candidate.member.spec.name,
        "method": one.candidate.method.name,
        "cut": one.candidate.cut,
        "epochs": [
            {
                "number": epoch.number,
                "train_loss": epoch.train_loss,
                "val_loss": epoch.val_loss,
                "val_score": epoch.val_score,
                "lr": epoch.lr,
                "seconds": round(epoch.seconds, 3),
            }
            for epoch in one.trial.epochs
        ],
    }
