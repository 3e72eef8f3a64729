"""Exact leave-one-out nearest neighbours under the cosine: their vote for a class, or the mean of their targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headway.linear.coding import link_of
from headway.linear.solve import Array
from headway.scores._check import balanced_accuracy, checked, checked_columns, measured
from headway.types import FloatArray, IntArray, Link, Targets

REFERENCE = "Cover and Hart (1967), IEEE Transactions on Information Theory 13: the nearest neighbour rule"

LINKS: tuple[Link, ...] = ("softmax", "sigmoid", "identity")
NEIGHBOURS = (1, 5, 10, 20)
_ROWS = 1024  # similarities are held for this many items at a time


def score(X: FloatArray, y: Targets, /, *, groups: IntArray | None = None) -> float:
    """The best leave-one-out balanced accuracy, 0..1, over ``k`` in {1, 5, 10, 20} for ``X [n, d]``, labels ``y [n]``.

    Rows are scaled to length 1. An item's own row and exact copies of it never vote, nor, with ``groups [n]``, does its
    group. Most votes win; equal votes are settled by the larger sum of similarities. The best ``k`` rather than the
    mean is taken, because that is how a user would set it, and since few-shot classes are smaller than 20, where a
    large ``k`` says nothing of the features; the optimism of a maximum over four is shared by all that is compared.
    For labels ``[n, C]`` and numbers the neighbours' mean is measured by mean average precision and R².
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> score(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]), np.array([0, 0, 1, 1]))
    1.0
    """
    if link_of(y) == "softmax":
        features, codes, counts = checked(X, y)
        correct = _correct(features, codes, len(counts), groups)
        return max(balanced_accuracy(right, codes) for right in correct)
    features, _ = checked_columns(X, y)
    means = _means(features, np.asarray(y, np.float64).reshape(len(features), -1), groups)
    everyone = np.ones((1, len(features)))
    return max(float(measured(y, said)(everyone)[0]) for said in means)


def _correct(X: Array, codes: IntArray, classes: int, groups: IntArray | None) -> NDArray[np.bool_]:
    """``[len(NEIGHBOURS), n]``: whether the vote of the nearest k is right."""
    correct = np.zeros((len(NEIGHBOURS), len(X)), dtype=bool)
    for rows, near, closeness in _nearest(X, groups):
        for i, k in enumerate(NEIGHBOURS):
            winner = _vote(codes[near[:, :k]], closeness[:, :k], classes)
            correct[i, rows] = winner == codes[rows]
    return correct


def _means(X: Array, targets: Array, groups: IntArray | None) -> Array:
    """``[len(NEIGHBOURS), n, C]``: the mean target of the nearest k that may vote, that of all where none may."""
    said = np.empty((len(NEIGHBOURS), *targets.shape))
    overall = targets.mean(axis=0)
    for rows, near, closeness in _nearest(X, groups):
        for i, k in enumerate(NEIGHBOURS):
            votes = np.isfinite(closeness[:, :k])
            count = votes.sum(axis=1)[:, None]
            total = np.einsum("mk,mkc->mc", votes.astype(np.float64), targets[near[:, :k]])
            said[i, rows] = np.where(count > 0, total / np.maximum(count, 1), overall)
    return said


def _nearest(X: Array, groups: IntArray | None) -> Iterator[tuple[slice, IntArray, Array]]:
    """Some rows at a time: their nearest items ``[m, k]``, nearest first, and how similar; -inf where one is barred."""
    n = len(X)
    unit = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    together = [_copies(X)] + ([] if groups is None else [np.asarray(groups)])
    most = min(max(NEIGHBOURS), n - 1)
    for start in range(0, n, _ROWS):
        rows = slice(start, min(start + _ROWS, n))
        similarity = unit[rows] @ unit.T
        for same in together:
            similarity[same[rows, None] == same[None, :]] = -np.inf
        near = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(near, np.argsort(-np.take_along_axis(similarity, near, 1), axis=1, kind="stable"), 1)
        yield rows, near, np.take_along_axis(similarity, near, axis=1)


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
