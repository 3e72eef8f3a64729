"""Exact leave-one-out ridge: balanced accuracy of classes, average precision of labels, R² of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.linear.coding import coded, link_of
from headway.linear.solve import Array, balanced_weights, factorise, left_out_means, loo, penalty_grid
from headway.scores._check import balanced_accuracy, checked, checked_columns, measured, one_hot
from headway.types import FloatArray, IntArray, Link, Targets

REFERENCE = (
    "Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, eq. 7.64; "
    "Rifkin and Lippert (2007), MIT-CSAIL-TR-2007-025"
)
LINKS: tuple[Link, ...] = ("softmax", "sigmoid", "identity")

_NUMBERS = 8_000_000  # predictions held at a time: all penalties of a common problem, one of a vast one


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """What the classifier says of each item when it has not seen it."""

    correct: NDArray[np.bool_]  # [n]
    balanced_accuracy: float  # 0..1: mean over classes of the share that is correct
    penalty: float
    squared_error: float  # class-balanced, summed over targets: what the penalty was chosen by


def leave_one_out(X: FloatArray, y: Targets, *, groups: IntArray | None = None) -> LeaveOneOut:
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


def left_out_scores(X: FloatArray, y: Targets, *, groups: IntArray | None = None) -> Array:
    """Scores ``[n, C]`` of labels, or numbers ``[n, 1]``, by ridge on all other items (with ``groups``, other groups).

    Labels and numbers are standardised and items weigh the same; the penalty is the one of 13 with the least squared
    error. Of labels the mean without the item is taken off, as for classes. A label that never changes scores 0.
    Raises :class:`DataError` for NaN, fewer than two items, or targets that never change.
    """
    features, _ = checked_columns(X, y)
    code = coded(y, np.asarray(y).reshape(len(features), -1).shape[1])
    factor = factorise(features, weights=code.weights)
    grid = penalty_grid(factor)
    together = max(1, _NUMBERS // code.columns.size)
    least, best = np.inf, code.columns
    for part in np.split(grid, range(together, len(grid), together)):
        for predicted in loo(factor, code.columns, part, groups=groups):
            error = float(((predicted - code.columns) ** 2).sum())
            if error < least:
                least, best = error, predicted
    if link_of(y) == "identity":
        return best * code.scale + code.shift
    # Rounded, so that scores that are equal but for rounding are ties, always.
    return np.round(best - left_out_means(factor, code.columns, groups=groups), 12)


def score(X: FloatArray, y: Targets, /) -> float:
    """The task's primary metric, left one out: balanced accuracy 0..1, mean average precision 0..1, or R², at most 1.

    ``X [n, d]``; ``y [n]`` class numbers, ``[n, C]`` labels on or off, or ``[n]`` numbers. See :func:`leave_one_out`
    and :func:`left_out_scores`.

    >>> score(np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]]), np.array([0, 0, 0, 1, 1, 1]))
    1.0
    >>> score(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1.0, 3.0, 5.0, 7.0])) > 0.99
    True
    """
    if link_of(y) == "softmax":
        return leave_one_out(X, y).balanced_accuracy
    return float(measured(y, left_out_scores(X, y))(np.ones((1, len(y))))[0])
