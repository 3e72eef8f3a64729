"""Metrics of numbers: truth and prediction ``[n]``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.bootstrap import Sums
from headway.evaluate.metric import Metric, per_item, with_ones
from headway.tasks._measures import Array, Weighted, in_parts, r2_of, r2_terms
from headway.types import FloatArray

_FLAT = 1e-12  # share of the variance below which a column counts as constant


def _pearson_terms(y: FloatArray, said: FloatArray) -> Sums:
    a, b = _standardised(y), _standardised(said)
    return np.column_stack([np.ones(len(a)), a, b, a * a, b * b, a * b])


def _pearson(sums: Sums) -> NDArray[np.float64]:
    """Correlation from sums; 0 where the prediction is constant, NaN where the truth is."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    of_a, of_b, both = aa - a * a / n, bb - b * b / n, ab - a * b / n
    flat = of_b <= _FLAT * np.maximum(bb, n)
    scale = np.sqrt(np.maximum(of_a, 0) * np.maximum(of_b, 0))
    value = np.divide(both, scale, out=np.zeros_like(both), where=(scale > 0) & ~flat)
    correlation: NDArray[np.float64] = np.where(of_a > _FLAT * np.maximum(aa, n), np.clip(value, -1, 1), np.nan)
    return correlation


def _standardised(values: FloatArray) -> FloatArray:
    spread = float(values.std())
    centred: FloatArray = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return centred


def _spearman(y: FloatArray, said: FloatArray) -> Weighted:
    """Pearson's correlation of ranks; an item of weight w is w items of one rank, ties share their mean rank."""
    tied_y, tied_said = (np.unique(column, return_inverse=True)[1] for column in (y, said))

    def value(W: Array) -> Array:
        turned = np.ascontiguousarray(W.T)
        mass = np.maximum(turned.sum(axis=0), 1e-300)
        ranks = []
        for tie in (tied_y, tied_said):
            rank = _ranks(turned, tie)
            ranks.append(rank - (turned * rank).sum(axis=0) / mass)  # centred, as squares of ranks lose digits
        a, b = ranks
        none = np.zeros(len(W))
        sums = (mass, none, none, *((turned * left * right).sum(axis=0) for left, right in ((a, a), (b, b), (a, b))))
        return _pearson(np.stack(sums, axis=-1))

    return in_parts(value)


def _ranks(turned: Array, tie: NDArray[np.intp]) -> Array:
    """Mean ranks ``[n, R]`` of weighted items ``[n, R]`` whose ties are numbered in order."""
    order = np.argsort(tie, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(tie[order]) != 0))
    mass = np.add.reduceat(turned[order], starts, axis=0)
    middle: Array = (mass.cumsum(axis=0) - mass / 2)[tie]
    return middle


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("r2", r2_terms, r2_of, (-np.inf, 1.0)),
        Metric("mae", lambda y, said: with_ones(np.abs(y - said)), per_item, (0.0, np.inf), larger_is_better=False),
        Metric(
            "rmse",
            lambda y, said: with_ones((y - said) ** 2),
            lambda sums: np.sqrt(per_item(sums)),
            (0.0, np.inf),
            larger_is_better=False,
        ),
        Metric("pearson", _pearson_terms, _pearson, (-1.0, 1.0)),
        Metric("spearman", None, None, (-1.0, 1.0), weighted=_spearman),
    )
}
"""In the target's own unit: mae and rmse. R², and the correlations, are NaN where the truth never changes."""
