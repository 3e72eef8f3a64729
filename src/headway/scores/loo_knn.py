"""Exact leave-one-out balanced accuracy of nearest neighbours under the cosine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.linear.solve import Array
from headway.scores._check import balanced_accuracy, checked
from headway.types import FloatArray, IntArray

REFERENCE = "Cover and Hart (1967), IEEE Transactions on Information Theory 13: the nearest neighbour rule"

NEIGHBOURS = (1, 5, 10, 20)
_ROWS = 1024  # similarities are held for this many items at a time


def score(X: FloatArray, y: IntArray, /, *, groups: IntArray | None = None) -> float:
    """The best leave-one-out balanced accuracy, 0..1, over ``k`` in {1, 5, 10, 20} for ``X [n, d]``, labels ``y [n]``.

    Rows are scaled to length 1. An item's own row and exact copies of it never vote, nor, with ``groups [n]``, does its
    group. Most votes win; equal votes are settled by the larger sum of similarities. The best ``k`` rather than the
    mean is taken, because that is how a user would set it, and since few-shot classes are smaller than 20, where a
    large ``k`` says nothing of the features; the optimism of a maximum over four is shared by all that is compared.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> score(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]), np.array([0, 0, 1, 1]))
    1.0
    """
    features, codes, counts = checked(X, y)
    correct = _correct(features, codes, len(counts), groups)
    return max(balanced_accuracy(right, codes) for right in correct)


def _correct(X: Array, codes: IntArray, classes: int, groups: IntArray | None) -> NDArray[np.bool_]:
    """``[len(NEIGHBOURS), n]``: whether the vote of the nearest k is right."""
    n = len(X)
    unit = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    together = [_copies(X)] + ([] if groups is None else [np.asarray(groups)])
    most = min(max(NEIGHBOURS), n - 1)
    correct = np.zeros((len(NEIGHBOURS), n), dtype=bool)
    for start in range(0, n, _ROWS):
        rows = slice(start, min(start + _ROWS, n))
        similarity = unit[rows] @ unit.T
        for same in together:
            similarity[same[rows, None] == same[None, :]] = -np.inf
        near = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(near, np.argsort(-np.take_along_axis(similarity, near, 1), axis=1, kind="stable"), 1)
        closeness = np.take_along_axis(similarity, near, axis=1)
        for i, k in enumerate(NEIGHBOURS):
            winner = _vote(codes[near[:, :k]], closeness[:, :k], classes)
            correct[i, rows] = winner == codes[rows]
    return correct


def _vote(labels: IntArray, closeness: Array, classes: int) -> IntArray:
    """The class of each row with the most votes ``[m]``, or -1 where none may vote."""
    counts = np.isfinite(closeness)
    # Similarities lie in -1..1, so their share of a vote breaks ties and never outweighs a vote.
    worth = np.where(counts, 1.0 + np.where(counts, closeness, 0.0) / (4 * labels.shape[1]), 0.0)
    votes = np.zeros((len(labels), classes))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), worth)
    winner: IntArray = np.where(votes.max(axis=1) > 0, votes.argmax(axis=1), -1)
    return winner


def _copies(X: Array) -> IntArray:
    """A number ``[n]`` for each row, the same where rows are the same."""
    rows = np.ascontiguousarray(X + 0.0)  # so that -0.0 is 0.0
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    codes: IntArray = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    return codes
