"""Choosing without a test set: what scikit-learn's users do, who split their data themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headway import plugins
from headway.data.dataset import target_array
from headway.data.split import assign_folds, split, units
from headway.engine.pool import Member
from headway.errors import DataError
from headway.evaluate.calibrate import fit_temperature
from headway.evaluate.contenders import Arena, method
from headway.evaluate.loop import Result
from headway.evaluate.metrics import measure
from headway.linear.coding import task_of
from headway.recipe.competition import WORTH, best_of, compete, rank_members
from headway.recipe.embedding import near_copies
from headway.recipe.session import Session
from headway.seeds import seed_of
from headway.types import Adapted, Dataset, Features, FloatArray, IntArray

PROBES = ("ridge", "prototype", "logistic")  # simplest first: of equals the first is kept
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A method fitted to given features; ``score`` is its mean balanced accuracy over the validation folds."""

    method: str
    adapted: Adapted
    score: float


def select(dataset: Dataset, members: Sequence[Member], session: Session) -> Result:
    """The contender that validates best on folds of all items; near-copies and groups stay together.

    Raises:
        DataError: no fold leaves something to learn from and something to validate on.
    """
    clusters = near_copies(dataset, session)
    folds = np.full(len(dataset.names), -1, np.int64)
    for number, (_, held_out) in enumerate(split(dataset, seed=session.seed, test_size=0, duplicates=clusters).folds):
        folds[held_out] = number
    assert dataset.targets is not None
    if not (folds >= 0).any():
        raise DataError(
            "there are too few different items to choose a model",
            given=f"{len(folds)} items, near-copies among them counted as one",
            allowed="2 or more",
            todo="Label more items",
        )
    arena = Arena(
        store=session.store,
        digests=dataset.digests,
        y=target_array(dataset),
        classes=plugins.load("tasks", dataset.task).outputs(dataset.classes),
        folds=folds,
        groups=units(dataset, clusters),
    )
    return best_of(compete(members, rank_members(members, arena, session), arena, session))


def best_probe(X: FloatArray, y: IntArray, /, *, classes: int, seed: int) -> Probe:
    """The probe on features ``X [n, d]``, ``y [n]`` that validates best on stratified folds, calibrated on them.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 2
    >>> X = (rng.normal(size=(60, 8)) + 2 * y[:, None]).astype(np.float32)
    >>> best_probe(X, y, classes=2, seed=0).score > 0.9
    True
    """
    rng = np.random.default_rng(seed_of("probe-folds", seed))
    folds = assign_folds(y, np.arange(len(y)), folds=FOLDS, rng=rng)
    features = Features(X=np.asarray(X, np.float32), y=y, classes=classes, blocks=(X.shape[1],), folds=folds)
    probes = [_validated(name, features, folds, seed=seed) for name in PROBES]
    top = max(probe.score for probe in probes)
    return next(probe for probe in probes if probe.score >= top - WORTH)


def _validated(name: str, features: Features, folds: IntArray, *, seed: int) -> Probe:
    adapted = method(name).fit(features, seed=seed)
    temperature = fit_temperature(adapted.out_of_fold, features.y)
    said = adapted.out_of_fold.argmax(1)
    scores = [
        measure(task_of(features.y).PRIMARY, features.y[folds == fold], said[folds == fold])
        for fold in np.unique(folds)
    ]
    head = replace(adapted.head, temperature=temperature)
    return Probe(method=name, adapted=replace(adapted, head=head), score=float(np.mean(scores)))
