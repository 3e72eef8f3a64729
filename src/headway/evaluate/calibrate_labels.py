"""Labels' scores to probabilities that mean what they say, and the thresholds from which a label counts as on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.linear.head import sigmoid
from headway.types import FloatArray, IntArray

_STEPS = 100
LEAST_SLOPE = 1e-3
"""Of standardised scores: a calibration never turns a label's order round, however little the scores say of it."""


def fit_platt(scores: FloatArray, Y: IntArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes > 0 and offsets ``[C]`` for which ``sigmoid(slope * scores + offset)`` predicts each label best.

    ``scores [n, C]`` out of fold, ``Y [n, C]`` of 0 and 1. Platt (1999), Probabilistic Outputs for Support Vector
    Machines: log loss against targets of ``(N₊ + 1)/(N₊ + 2)`` and ``1/(N₋ + 2)``, so that scores that separate a label
    get a finite slope; by Newton's method with step halving (Lin, Lin and Weng, Machine Learning 68, 2007). The
    order of a label's scores, and so its average precision, never changes. A label that never changes, or whose scores
    say nothing, gets its smoothed frequency.

    >>> slope, offset = fit_platt(np.array([[-1.0], [-1.0], [1.0], [1.0]]), np.array([[0], [0], [1], [1]]))
    >>> sigmoid(slope * np.array([-1.0, 1.0]) + offset).round(2).tolist()
    [0.25, 0.75]
    """
    scores = np.asarray(scores, np.float64)
    mean, spread = scores.mean(axis=0), scores.std(axis=0)
    spread = np.where(spread > 1e-9 * np.maximum(1.0, np.abs(mean)), spread, np.inf)
    found = [_platt((scores[:, c] - mean[c]) / spread[c], Y[:, c]) for c in range(Y.shape[1])]
    slope, offset = (np.array(column) for column in zip(*found, strict=True))
    # Scores without spread keep a slope that is no zero, for the head; it moves nothing, as they do not differ.
    spread = np.where(np.isfinite(spread), spread, 1.0)
    return slope / spread, offset - slope * mean / spread


def fit_thresholds(P: FloatArray, Y: IntArray) -> NDArray[np.float32]:
    """The probability ``[C]`` from which each label is on, for the best F1 of that label on ``P`` and ``Y [n, C]``.

    ``P`` are out of fold, so the thresholds are learnt without the test set; the F1 of the same rows flatters them a
    little. Between two neighbouring probabilities the middle is taken, and of equally good thresholds the one nearest
    0.5. A label that is never or always on keeps 0.5.

    >>> fit_thresholds(np.array([[0.1], [0.2], [0.4], [0.3]]), np.array([[0], [0], [1], [1]])).tolist()
    [0.25]
    """
    return np.array([_threshold(P[:, c], Y[:, c]) for c in range(Y.shape[1])], np.float32)


def _platt(z: NDArray[np.float64], y: IntArray) -> tuple[float, float]:
    positive = int(y.sum())
    negative = len(y) - positive
    target = np.where(y > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    base = float(np.log(target.mean() / (1 - target.mean())))
    if not positive or not negative or not z.any():
        return LEAST_SLOPE, base
    design = np.column_stack([z, np.ones(len(z))])
    at, value = np.array([1.0, base]), np.inf
    for _ in range(_STEPS):
        p = sigmoid(design @ at)
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step, scale, value = np.linalg.solve(hessian, gradient), 1.0, _loss(design @ at, target)
        while scale > 1e-10 and _loss(design @ (at - scale * step), target) > value - 1e-4 * scale * gradient @ step:
            scale /= 2
        at = at - scale * step
        if np.abs(scale * step).max() < 1e-9:
            break
    return (float(at[0]), float(at[1])) if at[0] > LEAST_SLOPE else (LEAST_SLOPE, base)


def _loss(scores: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0.0, scores) - target * scores).sum())


def _threshold(p: FloatArray, y: IntArray) -> float:
    positive = int(y.sum())
    if positive in (0, len(y)):
        return 0.5
    order = np.argsort(-p, kind="stable")
    falling = np.asarray(p, np.float64)[order]
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))  # all of a tie are on, or none
    hits = np.cumsum(y[order])[ends]
    f1 = 2 * hits / (ends + 1 + positive)
    below = np.append(falling, 0.0)[ends + 1]
    middle = (falling[ends] + below) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middle[best[np.abs(middle[best] - 0.5).argmin()]])
