"""Nested, stratified subsamples: the rows that a learning curve learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.errors import OptionError
from headway.types import ByteArray, IntArray


def geometric_sizes(n: int, *, least: int, count: int = 5) -> tuple[int, ...]:
    """``count`` numbers of labels from ``least`` to ``n`` in equal ratios; fewer where they would coincide.

    >>> geometric_sizes(320, least=20)
    (20, 40, 80, 160, 320)
    """
    if not 1 <= least <= n or count < 1:
        raise OptionError("no such sizes", given=f"n={n}, least={least}, count={count}", allowed="1 <= least <= n")
    return tuple(np.unique(np.rint(np.geomspace(least, n, count)).astype(int)).tolist())


def nested(
    y: IntArray,
    *,
    sizes: Sequence[int],
    seed: int,
    groups: IntArray | None = None,
    digests: ByteArray | None = None,
) -> tuple[IntArray, ...]:
    """Rows of a subsample a size, each within the next, every class in its share.

    ``y [n]`` are class numbers. Of a class with share ``s``, a subsample of ``k`` rows has at least 1 and between
    ``(k - C) * s`` and ``k * s + 1`` rows, with ``C`` classes. ``groups [n]`` are kept whole: a subsample then has as
    many rows more as its last group brings, and the shares are as near as groups allow. With content ``digests
    [n, 16]`` the choice does not depend on the order of the rows.

    >>> y = np.arange(40) % 4
    >>> [np.bincount(y[rows]).tolist() for rows in nested(y, sizes=(4, 8, 40), seed=0)]
    [[1, 1, 1, 1], [2, 2, 2, 2], [10, 10, 10, 10]]
    """
    n, classes = len(y), len(np.unique(y))
    if list(sizes) != sorted(set(sizes)) or not sizes or sizes[0] < classes or sizes[-1] > n:
        allowed = f"rising numbers from {classes} (one a class) to {n}"
        raise OptionError("subsamples of these sizes cannot be drawn", given=list(sizes), allowed=allowed)
    order = _stratified_order(y, np.arange(n) if groups is None else groups, digests, np.random.default_rng(seed))
    starts = np.flatnonzero(np.diff(order.unit, prepend=-1))  # of units, in the order of rows
    ends = np.append(starts[1:], n)
    return tuple(np.sort(order.rows[: ends[np.searchsorted(ends, size)]]) for size in sizes)


@dataclass(frozen=True, slots=True)
class _Order:
    rows: IntArray  # [n] every beginning is stratified
    unit: IntArray  # [n] of each of these rows


def _stratified_order(y: IntArray, groups: IntArray, digests: ByteArray | None, rng: np.random.Generator) -> _Order:
    n = len(y)
    canonical = np.arange(n) if digests is None else np.lexsort(np.asarray(digests).T)
    _, first, unit = np.unique(groups[canonical], return_index=True, return_inverse=True)
    unit = np.argsort(np.argsort(first))[unit]  # numbered by first appearance: group numbers themselves mean nothing
    label, total = np.unique(y[canonical], return_inverse=True)[1], np.bincount(np.unique(y, return_inverse=True)[1])
    units = int(unit.max()) + 1
    rarest = np.full(units, np.iinfo(np.int64).max)
    np.minimum.at(rarest, unit, total[label] * len(total) + label)
    own, size = rarest % len(total), np.bincount(unit)
    shuffled = rng.permutation(units)
    place = np.empty(units)
    for c in range(len(total)):
        of_class = shuffled[own[shuffled] == c]
        before = np.cumsum(size[of_class]) - size[of_class]
        place[of_class] = before / max(1, size[of_class].sum())
    rank = np.empty(units, np.int64)
    rank[np.lexsort((rng.permutation(units), place))] = np.arange(units)
    rows = np.argsort(rank[unit], kind="stable")
    return _Order(canonical[rows], rank[unit][rows])
