"""Exact leave-one-out balanced accuracy of a class-balanced ridge classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.linear.solve import balanced_weights, factorise, left_out_means, loo, penalty_grid
from headway.scores._check import balanced_accuracy, checked, one_hot
from headway.types import FloatArray, IntArray

REFERENCE = (
    "Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, eq. 7.64; "
    "Rifkin and Lippert (2007), MIT-CSAIL-TR-2007-025"
)


_NUMBERS = 8_000_000  # predictions held at a time: all penalties of a common problem, one of a vast one


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """What the classifier says of each item when it has not seen it."""

    correct: NDArray[np.bool_]  # [n]
    balanced_accuracy: float  # 0..1: mean over classes of the share that is correct
    penalty: float
    squared_error: float  # class-balanced, summed over targets: what the penalty was chosen by


def leave_one_out(X: FloatArray, y: IntArray, *, groups: IntArray | None = None) -> LeaveOneOut:
    """Predict every item of ``X [n, d]`` by ridge on the others; with ``groups [n]``, on the other groups only.

    Targets are 0/1, one column a class; items weigh so that each class counts the same; the intercept is free. The
    penalty is the one of 13 on a log grid with the least class-balanced squared leave-one-out error. The prediction is
    the column that most exceeds its mean target without the item (:func:`left_out_means`), so noise scores about 1/C.
    A class with one item cannot be predicted without it and counts as wrong.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> X = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]])
    >>> leave_one_out(X, np.array([0, 0, 0, 1, 1, 1])).correct.all()
    np.True_
    """
    features, codes, counts = checked(X, y)
    weights = balanced_weights(codes)
    factor, targets = factorise(features, weights=weights), one_hot(codes, len(counts))
    means = left_out_means(factor, targets, groups=groups)
    grid = penalty_grid(factor)
    together = max(1, _NUMBERS // targets.size)
    least, best, choice = np.inf, targets, grid[0]
    for part in np.split(grid, range(together, len(grid), together)):
        for penalty, predicted in zip(part, loo(factor, targets, part, groups=groups), strict=True):
            error = float(weights @ ((predicted - targets) ** 2).sum(axis=1)) / len(codes)
            if error < least:
                least, best, choice = error, predicted, penalty
    # Rounded, so that columns that are equal but for rounding go to the first class, always.
    correct = np.round(best - means, 12).argmax(axis=1) == codes
    return LeaveOneOut(
        correct=correct,
        balanced_accuracy=balanced_accuracy(correct, codes),
        penalty=float(choice),
        squared_error=least,
    )


def score(X: FloatArray, y: IntArray, /) -> float:
    """Leave-one-out balanced accuracy, 0..1, of ``X [n, d]`` for labels ``y [n]``; see :func:`leave_one_out`.

    >>> score(np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]]), np.array([0, 0, 0, 1, 1, 1]))
    1.0
    """
    return leave_one_out(X, y).balanced_accuracy
