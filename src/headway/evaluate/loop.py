"""The only evaluation loop: out-of-fold scores to records, and test rows to probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.evaluate.calibrate import fit_temperature
from headway.evaluate.calibrate_labels import fit_platt, fit_thresholds
from headway.evaluate.contenders import Contender
from headway.evaluate.metrics import measure
from headway.linear.head import answers, linear_scores
from headway.types import Adapted, FloatArray, IntArray, LinearHead, Method, Record, Targets


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
    assert isinstance(contender.method, Method), "a network is tuned by the recipe, which calls measured()"
    adapted = contender.method.fit(contender.features(), seed=seed)
    return measured(contender, adapted, metrics=metrics, primary=primary, seed=seed, started=started)


def measured(
    contender: Contender, adapted: Adapted, *, metrics: Sequence[str], primary: str, seed: int, started: float
) -> Result:
    """Calibrate on out-of-fold scores and measure them in every validation fold of the contender's arena.

    ``started`` is the reading of ``perf_counter`` at which the fit began. A fold that cannot tell a metric (it holds no
    item of any label, or only equal numbers) has no record of it. Raises :class:`DataError` where no fold can tell the
    primary one.
    """
    adapted = calibrated(adapted, contender.arena.y, np.flatnonzero(contender.arena.folds >= 0))
    seconds = perf_counter() - started
    P = answers(adapted.head, adapted.out_of_fold)
    records = tuple(_records(contender, adapted, P, metrics=metrics, seed=seed, seconds=seconds))
    told = [r.value for r in records if r.metric == primary]
    if not told:
        raise DataError(
            "no validation fold can tell how good a model is",
            given=f"{len(contender.arena.y)} training items",
            allowed="items that differ in their targets in every fold",
            todo="Label more items",
        )
    score = float(np.mean(told))
    return Result(contender=contender, adapted=adapted, records=records, score=score, seconds=seconds)


def calibrated(adapted: Adapted, y: Targets, rows: IntArray) -> Adapted:
    """The same with a head whose probabilities mean what they say, by the out-of-fold scores of ``rows``.

    Classes get one temperature. Each label gets a slope and an offset, folded into the head and the out-of-fold
    scores, and a threshold. Numbers stay as they are.
    """
    head, scores = adapted.head, adapted.out_of_fold
    if head.link == "softmax":
        return replace(adapted, head=replace(head, temperature=fit_temperature(scores[rows], y[rows])))
    if head.link == "identity":
        return adapted
    truth = np.asarray(y, np.int64)
    slope, offset = (part.astype(np.float32) for part in fit_platt(scores[rows], truth[rows]))
    head = replace(head, weight=head.weight * slope, bias=head.bias * slope + offset)
    scores = scores * slope + offset
    thresholds = fit_thresholds(answers(head, scores[rows]), truth[rows])
    return replace(adapted, head=replace(head, thresholds=thresholds), out_of_fold=scores)


def predict(head: LinearHead, X: FloatArray, /) -> NDArray[np.float64]:
    """Calibrated probabilities ``[n, C]`` of features ``[n, d]``; numbers ``[n, 1]`` where the head predicts such."""
    return answers(head, linear_scores(head, X))


def test_records(result: Result, measured: Mapping[str, float], *, seed: int) -> Iterator[Record]:
    """Records of the metrics that the test set can tell."""
    for metric, value in measured.items():
        if not np.isfinite(value):
            continue
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
            value = measure(metric, contender.arena.y[rows], P[rows], thresholds=adapted.head.thresholds)
            if not np.isfinite(value):
                continue
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
