"""The only evaluation loop: out-of-fold scores to records, and test rows to probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.calibrate import fit_temperature
from headway.evaluate.contenders import Contender
from headway.evaluate.metrics import measure
from headway.linear.head import linear_scores, probabilities
from headway.types import Adapted, FloatArray, LinearHead, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A contender that was fitted: ``score`` is its validation score, the mean over folds."""

    contender: Contender
    adapted: Adapted
    records: tuple[Record, ...]
    score: float
    seconds: float


def validate(contender: Contender, *, metrics: Sequence[str], primary: str, seed: int) -> Result:
    """Fit on all training rows, calibrate on out-of-fold scores, and measure those in every validation fold."""
    started = perf_counter()
    features = contender.features()
    adapted = contender.method.fit(features, seed=seed)
    scored = contender.arena.folds >= 0
    temperature = fit_temperature(adapted.out_of_fold[scored], features.y[scored])
    adapted = replace(adapted, head=replace(adapted.head, temperature=temperature))
    seconds = perf_counter() - started
    P = probabilities(adapted.out_of_fold, temperature=temperature)
    records = tuple(_records(contender, adapted, P, metrics=metrics, seed=seed, seconds=seconds))
    score = float(np.mean([r.value for r in records if r.metric == primary]))
    return Result(contender=contender, adapted=adapted, records=records, score=score, seconds=seconds)


def predict(head: LinearHead, X: FloatArray, /) -> NDArray[np.float64]:
    """Calibrated probabilities ``[n, C]`` of features ``[n, d]``."""
    return probabilities(linear_scores(head, X), temperature=head.temperature)


def test_records(result: Result, measured: Mapping[str, float], *, seed: int) -> Iterator[Record]:
    """Records of metrics on the test set."""
    for metric, value in measured.items():
        yield _record(result.contender, result.adapted, metric, value, split="test", fold=0, seed=seed, seconds=0.0)


def _records(
    contender: Contender,
    adapted: Adapted,
    P: NDArray[np.float64],
    *,
    metrics: Sequence[str],
    seed: int,
    seconds: float,
) -> Iterator[Record]:
    folds = contender.arena.folds
    for fold in np.unique(folds[folds >= 0]).tolist():
        rows = np.flatnonzero(folds == fold)
        for metric in metrics:
            value = measure(metric, contender.arena.y[rows], P[rows])
            yield _record(contender, adapted, metric, value, split="val", fold=fold, seed=seed, seconds=seconds)


def _record(
    contender: Contender,
    adapted: Adapted,
    metric: str,
    value: float,
    *,
    split: str,
    fold: int,
    seed: int,
    seconds: float,
) -> Record:
    return Record(
        arm=contender.arm,
        backbone=contender.backbone,
        method=contender.method.name,
        params=adapted.params,
        split="test" if split == "test" else "val",
        fold=fold,
        seed=seed,
        metric=metric,
        value=value,
        n_train=len(contender.arena.y),
        seconds=round(seconds, 4),
    )
