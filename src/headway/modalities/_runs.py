"""Runs of characters within word bounds, counted with arrays: five times as fast as a loop over strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headway.types import IntArray

if TYPE_CHECKING:
    import scipy.sparse as sp

SHORTEST, LONGEST = 3, 5
"""Characters in a run; a blank stands for the bound of a word, at a run's first or last place."""

_AT_ONCE = 256  # texts whose runs are joined before they are merged into the rest
_PLACES = np.random.default_rng(20_28).integers(0, 2**63, LONGEST, np.uint64) * np.uint64(2) + np.uint64(1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_BLANK = 32
Words = NDArray[np.uint64]


def vocabulary(texts: Sequence[str], *, least: int, most: int) -> tuple[str, ...]:
    """The runs that are in the most texts, in ``least`` or more and at most so many of them, sorted.

    >>> vocabulary(["a cat", "the cat"], least=2, most=9)
    (' ca', ' cat', ' cat ', 'at ', 'cat', 'cat ')
    """
    known, frequency = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for start in range(0, len(texts), _AT_ONCE):
        some = [np.unique(_numbers(_codes(text))[0]) for text in texts[start : start + _AT_ONCE]]
        joined = np.concatenate([known, *some])
        weights = np.concatenate([frequency, np.ones(len(joined) - len(known), np.int64)])
        known, place = np.unique(joined, return_inverse=True)
        frequency = np.bincount(place, weights, minlength=len(known)).astype(np.int64)
    kept = np.flatnonzero(frequency >= least)
    kept = kept[np.argsort(-frequency[kept], kind="stable")][:most]
    return tuple(sorted(_named(texts, np.sort(known[kept]))))


def counts(texts: Sequence[str], terms: Sequence[str]) -> sp.csr_array:
    """How often each of the terms ``[t]`` is in each text ``[n, t]``."""
    import scipy.sparse as sp

    numbers = _numbers_of(terms)
    order = np.argsort(numbers)
    ranked = numbers[order]
    rows, columns, values = [], [], []
    for row, text in enumerate(texts):
        found, often = np.unique(_numbers(_codes(text))[0], return_counts=True)
        place = np.minimum(np.searchsorted(ranked, found), max(len(ranked) - 1, 0))
        known = ranked[place] == found if len(ranked) else np.zeros(len(found), bool)
        columns.append(order[place[known]])
        values.append(often[known])
        rows.append(np.full(int(known.sum()), row))
    parts = [np.concatenate([*arrays, np.zeros(0, np.int64)]) for arrays in (values, rows, columns)]
    return sp.csr_array((parts[0].astype(np.float32), (parts[1], parts[2])), shape=(len(texts), len(terms)))


def _named(texts: Iterable[str], wanted: Words) -> list[str]:
    """The runs that the numbers ``wanted`` (sorted) stand for."""
    names: list[str] = []
    for text in texts:
        if not len(wanted):
            break
        codes = _codes(text)
        numbers, at, size = _numbers(codes)
        found, first = np.unique(numbers, return_index=True)
        new = np.isin(found, wanted, assume_unique=True)
        names += ["".join(map(chr, codes[at[i] : at[i] + size[i]].tolist())) for i in first[new].tolist()]
        wanted = np.setdiff1d(wanted, found[new], assume_unique=True)
    return names


def _codes(text: str) -> NDArray[np.uint32]:
    """Code points in lower case, one blank before, between and after words."""
    return np.frombuffer(f" {' '.join(text.lower().split())} ".encode("utf-32-le", "replace"), np.uint32)


def _numbers_of(terms: Sequence[str]) -> Words:
    """The numbers ``[t]`` of runs."""
    sizes = np.fromiter(map(len, terms), np.int64, len(terms))
    numbers = np.zeros(len(terms), np.uint64)
    for size in np.unique(sizes).tolist():
        at = np.flatnonzero(sizes == size)
        joined = "".join(terms[row] for row in at.tolist()).encode("utf-32-le", "replace")
        numbers[at] = _hashed(_letters(np.frombuffer(joined, np.uint32)).reshape(-1, size).T)
    return numbers


def _numbers(codes: NDArray[np.uint32]) -> tuple[Words, IntArray, IntArray]:
    """A number for every run in a text, its place and its size."""
    letters = _letters(codes)
    blanks = np.concatenate([[0], np.cumsum(codes == _BLANK)])
    numbers, places, sizes = [], [], []
    for size in range(SHORTEST, LONGEST + 1):
        starts = len(codes) - size + 1
        if starts <= 0:
            break
        inside = blanks[size - 1 : size - 1 + starts] - blanks[1 : 1 + starts]
        at = np.flatnonzero(inside == 0)
        numbers.append(_hashed([letters[place : place + starts] for place in range(size)])[at])
        places.append(at)
        sizes.append(np.full(len(at), size))
    none = np.zeros(0, np.int64)
    return (
        np.concatenate([*numbers, np.zeros(0, np.uint64)]),
        np.concatenate([*places, none]),
        np.concatenate([*sizes, none]),
    )


def _letters(codes: NDArray[np.uint32]) -> Words:
    """Code points as words that differ in most of their bits."""
    letters = (codes.astype(np.uint64) + np.uint64(1)) * _MIX
    return letters ^ (letters >> np.uint64(29))


def _hashed(places: Sequence[Words] | Words) -> Words:
    """64-bit numbers of runs whose letters are ``places[place][run]``.

    Two of a million different runs share one with probability 3e-8.
    """
    total = np.full(len(places[0]), len(places), np.uint64)
    for place, factor in zip(places, _PLACES, strict=False):
        total += place * factor
    mixed: Words = (total ^ (total >> np.uint64(32))) * _MIX
    return mixed
