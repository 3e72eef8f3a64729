"""What labels are worth: accuracy against their number, and what more of them would bring."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from headway.evaluate.contenders import method
from headway.evaluate.curve import FARTHEST_CROSSING, Fit, catch_up, fit_curve, gain_of, probe_curve
from headway.evaluate.loop import Result
from headway.evaluate.subsamples import geometric_sizes
from headway.linear.coding import link_of, task_of
from headway.recipe.scratch import Scratch
from headway.recipe.session import CLOSING, Session
from headway.seeds import seed_of

SIZES, DRAWS = 5, 3
A_CLASS = 2  # labels a class that the smallest subsample has
MORE = 100  # labels that the user is told about


def data_value(probe: Result, session: Session, *, scratch: Scratch) -> dict[str, Any] | None:
    """The learning curve of a ridge probe on the features of ``probe``'s first network, for the manifest.

    ``catch_up`` says at how many labels training from scratch would have what that probe has now, by both curves, or
    why that is not told. None, and a note in ``session.cut``, where time is short or there are too few labels.
    """
    contender, arena = probe.contender, probe.contender.arena
    if link_of(arena.y) != "softmax":  # the law and its weights are those of a share of items that are right
        session.cut["data value"] = "what more labels would bring is told of classes only"
        return None
    folds = [
        (np.flatnonzero((arena.folds != fold) & (arena.folds >= 0)), np.flatnonzero(arena.folds == fold))
        for fold in np.unique(arena.folds[arena.folds >= 0])
    ]
    most = min((len(learnt) for learnt, _ in folds), default=0)
    least = A_CLASS * arena.classes
    if len(folds) < 2 or most < 2 * least:
        session.cut["data value"] = "there are too few labels for a learning curve"
        return None
    a_fit = max(contender.cost(), probe.seconds) / 2  # most subsamples are small
    if not session.deadline.allows(SIZES * DRAWS * len(folds) * a_fit, keep=CLOSING):
        session.cut["data value"] = "the learning curve did not fit the budget"
        return None
    with session.timed("data value"):
        features = contender.features()
        sizes = geometric_sizes(most, least=least, count=SIZES)
        curve = probe_curve(features, method("ridge").fit, folds=folds, sizes=sizes, draws=DRAWS, seed=session.seed)
        fitted = fit_curve(curve, seed=session.seed)
        more = gain_of(fitted, len(arena.y), MORE)
    return {
        "metric": task_of(arena.y).PRIMARY,
        "backbone": contender.backbone,
        "points": curve.points(),
        "more": None if more is None else {"labels": MORE, **_finite(asdict(more))},
        "catch_up": caught_up(fitted, scratch, labels=len(arena.y), classes=arena.classes, seed=session.seed),
        "why": fitted.why or None,
    }


def caught_up(transfer: Fit, scratch: Scratch, *, labels: int, classes: int, seed: int) -> dict[str, Any]:
    """Labels at which training from scratch would reach what the law ``transfer`` gives with ``labels``.

    ``labels``, ``low`` and ``high`` are None where there is no such number, and ``why`` says why; ``high`` alone where
    it may be never. ``beyond`` is the number of labels up to which it was looked for in vain. ``points`` are the curve
    from scratch as it was measured, with one draw a number of labels.
    """
    curve, why, number, beyond = scratch.curve, scratch.why, None, None
    points = [] if curve is None else curve.points()
    if curve is not None and points[-1]["low"] <= 1 / classes:
        why = "training from scratch is not clearly above chance with the labels there are"
    elif curve is not None:
        fitted = fit_curve(curve, seed=seed_of(seed, "scratch curve"))
        number, why = catch_up(transfer, fitted, n=float(labels))
        beyond = FARTHEST_CROSSING * labels if number is None and not (transfer.why or fitted.why) else None
    found: dict[str, float | None] = {"labels": None, "low": None, "high": None}
    if number is not None:
        found = _finite({"labels": number.value, "low": number.low, "high": number.high})
    return {**found, "beyond": beyond, "why": why or None, "points": points}


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
