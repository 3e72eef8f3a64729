"""What every score asks of its input, and the principal components that several of them start from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.linear.coding import class_numbers, link_of
from headway.linear.solve import Array, factorise
from headway.tasks._measures import Weighted, average_precision, r2
from headway.types import FloatArray, IntArray, Targets


def checked(X: FloatArray, y: Targets) -> tuple[Array, IntArray, IntArray]:
    """Features as float64 ``[n, d]``, labels as codes 0..C-1 ``[n]`` and the items in each class ``[C]``.

    Raises :class:`DataError` unless there are at least two items, one column, two classes, and only finite numbers.

    >>> checked(np.eye(3), np.array([7, 2, 7]))[1:]
    (array([1, 0, 1]), array([1, 2]))
    """
    features = _features(X, y)
    _, codes, counts = np.unique(class_numbers(y), return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise DataError("only one class occurs, so nothing can be told apart", allowed="labels of two or more classes")
    return features, codes.astype(np.int64), counts.astype(np.int64)


def checked_columns(X: FloatArray, y: Targets) -> tuple[Array, Array]:
    """Features as float64 ``[n, d]``, and labels on or off, or numbers, as columns ``[n, C]`` that change.

    Raises :class:`DataError` as :func:`checked` does, and where no column of the targets changes.
    """
    features = _features(X, y)
    columns = np.asarray(y, np.float64).reshape(len(features), -1)
    changing = columns.min(axis=0) < columns.max(axis=0)
    if not np.isfinite(columns).all() or not changing.any():
        raise DataError(
            "the targets never change, so nothing can be told apart",
            given=f"shape {columns.shape}",
            allowed="finite numbers that differ, or labels that some items have and others do not",
        )
    return features, columns[:, changing]


def measured(y: Targets, said: Array) -> Weighted:
    """The primary metric of scores ``said [n, C]`` for labels ``[n, C]``, or numbers ``[n]``, by item weights."""
    if link_of(y) == "sigmoid":
        return average_precision(np.asarray(y, np.int64), said)
    return r2(np.asarray(y, np.float64), said[:, 0])


def _features(X: FloatArray, y: Targets) -> Array:
    features, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise DataError(
            "the features are not a matrix that can be scored",
            given=f"shape {features.shape}",
            allowed="[n >= 2, d >= 1]",
        )
    if labels.shape[:1] != features.shape[:1]:
        raise DataError(
            "labels and features differ in length", given=f"{labels.shape} labels for {len(features)} items"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise DataError(
            "the features hold NaN or infinity",
            given=f"{bad.size} of {len(features)} items, the first at row {bad[0]}",
            allowed="finite numbers",
            todo="Leave these items out, or find out why their features could not be computed",
        )
    return features


def one_hot(codes: IntArray, classes: int) -> Array:
    """``[n, C]``: 1 where an item is of the class, else 0.

    >>> one_hot(np.array([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    hot: Array = (codes[:, None] == np.arange(classes)).astype(np.float64)
    return hot


def balanced_accuracy(correct: NDArray[np.bool_], codes: IntArray) -> float:
    """Mean over the classes that occur of the share of their items that is ``correct [n]``, 0..1.

    >>> balanced_accuracy(np.array([True, True, False, False, True]), np.array([0, 0, 0, 0, 1]))
    0.75
    """
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return float((np.bincount(inverse, weights=correct) / counts).mean())


def principal_components(X: Array, *, most: int | None = None, variance: float = 1.0) -> Array:
    """Scores ``[n, k]`` on the leading principal components, scaled so that all ``d`` have mean total variance 1.

    Keeps at most ``most`` and no more than explain the share ``variance`` (0..1]. Every component points where its
    third moment is positive: its direction depends on the data alone, neither on row order nor on a rotation of ``X``.

    >>> principal_components(np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]), most=1).round(2).tolist()
    [[-0.93], [-0.46], [1.39]]
    """
    factor = factorise(X)
    if not factor.eigenvalues.size:
        return np.zeros((len(X), 0))
    share = np.cumsum(factor.eigenvalues) / factor.eigenvalues.sum()
    keep = min(int(np.searchsorted(share, variance - 1e-12)) + 1, most or len(share), len(share))
    scores = factor.components[:, :keep] / np.sqrt(factor.eigenvalues.sum() / len(X))
    signed: Array = scores * np.where((scores**3).sum(axis=0) < 0, -1.0, 1.0)
    return signed
