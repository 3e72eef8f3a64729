"""What labels are worth: accuracy against their number, and what more of them would bring."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from headway.evaluate.contenders import method
from headway.evaluate.curve import fit_curve, gain_of, probe_curve
from headway.evaluate.loop import Result
from headway.evaluate.subsamples import geometric_sizes
from headway.linear.coding import link_of, task_of
from headway.recipe.session import CLOSING, Session

SIZES, DRAWS = 5, 3
A_CLASS = 2  # labels a class that the smallest subsample has
MORE = 100  # labels that the user is told about


def data_value(probe: Result, session: Session) -> dict[str, Any] | None:
    """The learning curve of a ridge probe on the features of ``probe``'s first network, for the manifest.

    Training from scratch has no curve of its own here: one size says nothing about where it would catch up. None, and a
    note in ``session.cut``, where time is short or there are too few labels.
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
        "catch_up": None,
        "why": fitted.why or None,
    }


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
