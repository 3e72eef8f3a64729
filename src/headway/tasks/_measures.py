"""Primary metrics of labels and of numbers, as functions of item weights: what ranking and evaluation both resample."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.types import FloatArray, IntArray

Array: TypeAlias = NDArray[np.float64]
Weighted: TypeAlias = Callable[[Array], Array]
"""``[R, n]`` item weights to the metric's ``[R]`` values; NaN where the weighted items cannot tell."""

_HELD = 250_000  # weights gathered at once: what a processor keeps close


def average_precision(Y: IntArray, S: FloatArray) -> Weighted:
    """Mean over labels of average precision, for truth ``Y [n, C]`` of 0 and 1 and scores ``S [n, C]``.

    A label's average precision is ``Σ_t (R_t − R_{t−1}) P_t`` over the distinct scores t, highest first, R recall and P
    precision of what scores at least t (scikit-learn's definition, no interpolation). Labels of which the weighted
    items hold none are left out of the mean, so that a resample without a rare label is still a resample.

    >>> average_precision(np.array([[1], [0], [1]]), np.array([[0.9], [0.8], [0.7]]))(np.ones((1, 3))).round(4)
    array([0.8333])
    """
    plans = [plan for plan in (_plan(Y[:, c], S[:, c]) for c in range(Y.shape[1])) if plan is not None]

    return in_parts(lambda W: _mean_precision(W, plans))


def in_parts(of: Weighted) -> Weighted:
    """The same, on so few rows of weights at a time that what is gathered stays small."""

    def value(W: Array) -> Array:
        rows = max(1, _HELD // max(W.shape[1], 1))
        found: Array = np.concatenate([of(W[start : start + rows]) for start in range(0, len(W), rows)])
        return found

    return value


def r2_terms(y: FloatArray, said: FloatArray) -> Array:
    """``[n, 4]``: what :func:`r2_of` makes R² of, when summed over items; in units of the spread of ``y``."""
    truth = np.asarray(y, np.float64)
    spread = float(truth.std())
    scale = spread if spread > 0 else 1.0
    centred = (truth - truth.mean()) / scale
    return np.column_stack([np.ones(len(truth)), centred, centred**2, ((truth - np.asarray(said)) / scale) ** 2])


def r2_of(sums: Array) -> Array:
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)² from sums ``[..., 4]``; NaN where the y do not differ."""
    total = sums[..., 2] - sums[..., 1] ** 2 / np.maximum(sums[..., 0], 1e-300)
    there = total > 1e-12 * np.maximum(sums[..., 0], 1.0)
    ratio = np.divide(sums[..., 3], total, out=np.full(np.shape(total), np.nan), where=there)
    value: Array = np.subtract(1.0, ratio)
    return value


def r2(y: FloatArray, said: FloatArray) -> Weighted:
    """R² of numbers ``said [n]`` for the truth ``y [n]``, at most 1.

    >>> r2(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]))(np.ones((1, 3)))
    array([0.5])
    """
    terms = r2_terms(y, said)

    def value(W: Array) -> Array:
        sums: Array = W @ terms
        return r2_of(sums)

    return value


def _plan(y: IntArray, s: FloatArray) -> tuple[IntArray, IntArray, IntArray] | None:
    """A label's items from the highest score down, where ties begin that have a positive, and the positives' places."""
    if not y.any():
        return None
    order = np.argsort(-s, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.append(True, np.diff(s[order]) != 0))
    with_positive = np.add.reduceat(y[order], starts) > 0
    # A run is the tie that ends it, and all before it since the last run: nothing happens there.
    runs = np.append(0, np.append(starts[1:], len(y))[with_positive][:-1])
    return order[: np.append(starts[1:], len(y))[with_positive][-1]], runs, y[order]


def _mean_precision(W: Array, plans: list[tuple[IntArray, IntArray, IntArray]]) -> Array:
    """Items along rows: whole rows are gathered and added, which is quicker than columns."""
    total, labels = np.zeros(len(W)), np.zeros(len(W))
    turned = np.ascontiguousarray(W.T)
    for order, runs, truth in plans:
        taken = turned[order]
        seen = np.add.reduceat(taken, runs, axis=0).cumsum(axis=0)
        taken[truth[: len(order)] == 0] = 0.0
        gained = np.add.reduceat(taken, runs, axis=0)
        hits = gained.cumsum(axis=0)
        area = (gained * hits / np.maximum(seen, 1e-300)).sum(axis=0)
        there = hits[-1] > 0
        total += np.divide(area, hits[-1], out=np.zeros(len(W)), where=there)
        labels += there
    mean: Array = np.divide(total, labels, out=np.full(len(W), np.nan), where=labels > 0)
    return mean
