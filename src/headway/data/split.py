"""Splits: a test set touched once, and stratified folds, with everything that belongs together on one side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway import plugins
from headway.data.health import connected, exact_duplicates, numbered
from headway.errors import DataError, OptionError
from headway.seeds import seed_of
from headway.types import Dataset, Finding, IntArray, Split, TextTargets

TEST_SIZE = 0.25
"""Share of each class held out where nothing else is asked for."""

_SHOWN = 10


def split(
    dataset: Dataset,
    *,
    seed: int,
    test_size: float | None = None,
    folds: int = 5,
    repeats: int = 1,
    duplicates: IntArray | None = None,
) -> Split:
    """Test rows and ``repeats`` times ``folds`` validation folds, stratified by class, label or range of numbers.

    ``duplicates`` numbers clusters ``[n]`` of near-duplicates; equal contents are one cluster without it. Items of one
    cluster or one group, and of whatever these chain together, are a unit: no unit straddles a split.

    Without parts of the user's own, ``test_size`` (default 0.25) of each class is the test set: at least one item and
    never the last unit of a class, so a class of one unit is in training only. Items of several labels count for each
    of them (:func:`marks_of`). Each training row is in exactly one validation fold a repeat; there are fewer folds
    where there are fewer units.

    With parts: ``test`` is the test set (else held out of ``train``); ``val`` is the one validation fold (else folds of
    ``train``), and ``Split.train`` is both together. Of a unit that straddles the user's parts only the rows in the
    part that judges are kept, ``test`` before ``val`` before ``train``: see :func:`straddling`.

    Raises :class:`DataError` without labels or with nothing to train on, :class:`OptionError` for sizes out of range.
    """
    _checked(test_size, folds, repeats)
    marks = marks_of(dataset)
    share = TEST_SIZE if test_size is None else test_size
    unit = units(dataset, duplicates)
    rng = np.random.default_rng(seed_of("split", seed))
    train, val, test = _parts(dataset, unit)
    if not len(test) and share > 0:
        out = holdout(marks[train], unit[train], share=share, rng=rng)
        train, test = train[~out], train[out]
    if not len(train):
        raise DataError("the split leaves nothing to train on", given=f"{len(marks)} items, {len(test)} for testing")
    if len(val):
        return Split(train=np.sort(np.concatenate([train, val])), test=test, folds=((train, val),))
    parts = []
    for repeat in range(repeats):
        rng = np.random.default_rng(seed_of("folds", seed, repeat))
        fold = assign_folds(marks[train], unit[train], folds=folds, rng=rng)
        parts += [(train[fold != k], train[fold == k]) for k in range(fold.max() + 1)] if fold.max() > 0 else []
    return Split(train=train, test=test, folds=tuple(parts))


def marks_of(dataset: Dataset) -> IntArray:
    """What is held in proportion: numbers ``[n]`` of classes or of ranges, or 0/1 ``[n, C + 1]`` for labels and none.

    Raises :class:`DataError` without labels.
    """
    if dataset.targets is None:
        raise DataError("a split needs labels", given=dataset.name, todo="Read the data with labels")
    if isinstance(dataset.targets, tuple):
        return _marks_of_texts(dataset.targets)
    if dataset.targets.ndim == 2:
        none = ~dataset.targets.any(axis=1, keepdims=True)
        return np.hstack([dataset.targets, none]).astype(np.int64)
    strata: IntArray = plugins.load("tasks", dataset.task).strata(dataset.targets)
    return strata


def _marks_of_texts(targets: TextTargets) -> IntArray:
    """Of tags, which kinds an item has, whatever their place in a span; texts are all alike."""
    kinds = [set() if isinstance(tags, str) else {tag.partition("-")[2] or tag for tag in tags} for tags in targets]
    distinct = sorted(set[str]().union(*kinds))
    if not distinct:
        return np.zeros(len(targets), np.int64)
    return np.array([[kind in own for kind in distinct] for own in kinds], np.int64)


def units(dataset: Dataset, duplicates: IntArray | None = None) -> IntArray:
    """Numbers ``[n]`` of what must stay together: clusters and groups, merged wherever they share an item."""
    clusters = exact_duplicates(dataset.digests) if duplicates is None else numbered(duplicates)
    if dataset.groups is None:
        return clusters
    n = len(clusters)
    items, groups = np.arange(n), numbered(dataset.groups)
    left, right = np.concatenate([items, items]), np.concatenate([n + clusters, 2 * n + groups])
    return numbered(connected(left, right, 3 * n)[:n])


def straddling(dataset: Dataset, duplicates: IntArray | None = None) -> tuple[IntArray, tuple[Finding, ...]]:
    """Rows that :func:`split` leaves out because the user's own parts share units, and the finding that says so."""
    if dataset.parts is None:
        return np.zeros(0, np.int64), ()
    rows = _straddling(dataset, units(dataset, duplicates))
    if not len(rows):
        return rows, ()
    message = (
        f"{len(rows)} items of the training or validation part are copies, near-copies or group members of items in a "
        "part that they would be judged by; they were left out, and the given test part was kept as it is."
    )
    shown = tuple(dataset.names[row] for row in rows[:_SHOWN])
    return rows, (Finding(check="straddling_parts", severity="warn", message=message, evidence=shown),)


def _straddling(dataset: Dataset, unit: IntArray) -> IntArray:
    rank = _rank(dataset)
    highest = np.zeros(unit.max(initial=-1) + 1, np.int64)
    np.maximum.at(highest, unit, rank)
    return np.flatnonzero(rank < highest[unit])


def _rank(dataset: Dataset) -> IntArray:
    """0 for train, 1 for val, 2 for test: what an item is left out in favour of."""
    if dataset.parts is None:
        return np.zeros(len(dataset.names), np.int64)
    order = {None: 0, "train": 0, "val": 1, "test": 2}
    return np.array([order[part] for part in dataset.parts], np.int64)


def _parts(dataset: Dataset, unit: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    rank = _rank(dataset)
    rank[_straddling(dataset, unit)] = -1
    return np.flatnonzero(rank == 0), np.flatnonzero(rank == 1), np.flatnonzero(rank == 2)


def holdout(targets: IntArray, unit: IntArray, *, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask ``[n]`` of rows held out: of each class ``share``, at least one, never the last unit.

    ``targets`` are class numbers ``[n]``, or 0/1 ``[n, C]`` where an item may be of several classes: then this is the
    iterative stratification of Sechidis, Tsoumakas and Vlahavas (ECML PKDD 2011), the rarest label first.

    Rare classes first, units in random order; a unit is taken where it fits what every one of its classes still lacks.
    A class of which no unit fits gives its smallest one, so that it is represented.
    """
    table = _Table(targets, unit)
    wanted = np.clip(np.rint(share * table.total), 1, np.maximum(table.total - 1, 0)).astype(np.int64)
    taken, out = np.zeros_like(wanted), np.zeros(table.units, bool)

    def take(u: int) -> None:
        out[u] = True
        taken[table.classes(u)] += table.counts(u)

    for c in np.argsort(table.total, kind="stable"):
        candidates = rng.permutation(table.units_of(c))
        for u in candidates:
            if taken[c] >= wanted[c]:
                break
            if not out[u] and (taken[table.classes(u)] + table.counts(u) <= wanted[table.classes(u)]).all():
                take(u)
        if not taken[c] and wanted[c]:
            # Some unit has to be larger than what was asked for; training keeps at least one item of each class.
            fits = [u for u in candidates if table.leaves_some(u, taken)]
            if fits:
                take(min(fits, key=lambda u: int(table.counts(u).sum())))
    return out[table.unit]


def assign_folds(targets: IntArray, unit: IntArray, *, folds: int, rng: np.random.Generator) -> IntArray:
    """Fold number ``[n]`` of each row: rare classes and large units first, each to the fold that lacks it most.

    Where every item is a unit of its own, a class's numbers in any two folds differ by at most one.
    """
    table = _Table(targets, unit)
    k = min(folds, table.units)
    load, fold = np.zeros((k, len(table.total))), np.zeros(table.units, np.int64)
    order = rng.permutation(table.units)
    for u in order[np.lexsort((-table.size[order], table.rarity[order]))]:
        own = table.classes(u)
        lack = (load[:, own] / table.total[own] * table.counts(u)).sum(1)
        best = np.flatnonzero(lack <= lack.min() + 1e-9)
        fold[u] = best[load[best].sum(1).argmin()]
        load[fold[u], own] += table.counts(u)
    return fold[table.unit]


class _Table:
    """Counts of each class in each unit, as compressed rows."""

    def __init__(self, targets: IntArray, unit: IntArray) -> None:
        self.unit = numbered(unit)
        self.units = int(self.unit.max(initial=-1)) + 1
        row, kind = np.nonzero(targets) if targets.ndim == 2 else (slice(None), targets)
        self.total = np.bincount(kind, minlength=targets.shape[1] if targets.ndim == 2 else 0)
        width = len(self.total)
        cells, counts = np.unique(self.unit[row] * width + kind, return_counts=True)
        self._class, self._count = cells % width, counts
        self._start = np.searchsorted(cells // width, np.arange(self.units + 1))
        self._by_class = np.argsort(self._class, kind="stable")
        self._unit_of_cell = cells // width
        self._class_start = np.searchsorted(self._class[self._by_class], np.arange(width + 1))
        self.size = np.bincount(self.unit)
        self.rarity = np.minimum.reduceat(self.total[self._class], self._start[:-1])

    def classes(self, u: int) -> IntArray:
        found: IntArray = self._class[self._start[u] : self._start[u + 1]]
        return found

    def counts(self, u: int) -> IntArray:
        found: IntArray = self._count[self._start[u] : self._start[u + 1]]
        return found

    def leaves_some(self, u: int, taken: IntArray) -> bool:
        own = self.classes(u)
        return bool((taken[own] + self.counts(u) < self.total[own]).all())

    def units_of(self, c: int) -> IntArray:
        found: IntArray = self._unit_of_cell[self._by_class[self._class_start[c] : self._class_start[c + 1]]]
        return found


def _checked(test_size: float | None, folds: int, repeats: int) -> None:
    if not (test_size is None or 0 <= test_size < 1) or folds < 2 or repeats < 1:
        raise OptionError(
            "the split cannot be made so",
            given=f"test_size={test_size}, folds={folds}, repeats={repeats}",
            allowed="test_size from 0 to below 1, folds from 2, repeats from 1",
        )
