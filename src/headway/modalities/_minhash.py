"""Near-copies among texts: minwise hashes of what is left of a text when its looks are taken away.

Broder, "On the resemblance and containment of documents" (1997): the share of equal minima under random permutations
estimates the Jaccard similarity of two sets, here of overlapping runs of characters. Pairs to compare come from bands
of minima (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4), so time grows with n, not with
its square.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from headway.types import ByteArray, IntArray

HASH_VERSION = "minhash-1"
"""Changes whenever :func:`perceptual_hash` gives other bytes: part of cache keys."""

MINIMA = 64
BANDS = 16
"""Pairs of Jaccard similarity 0.8 meet in one of 16 bands of 4 minima with probability 0.9998, of 0.3 with 0.12."""
NEAR = 0.8
"""The least share of equal minima between near-copies: its standard error is 0.05 there."""
RUN = 8
"""Characters in a run: about a word and a half, so that texts share runs where they share phrases, not words."""
LEAST = 48
"""A text of fewer runs is a near-copy only of what is equal when normalised: two short texts may differ in one word
that changes everything, and their few runs estimate nothing."""

_LONGEST = 1_000_000  # characters; the rest of a longer text is not looked at
_ONCE = 1 << 14  # runs hashed at a time: 8 MB of words
_UNLIKE = re.compile(r"[\W_]+")
_draw = np.random.default_rng(20_26).integers(0, 2**63, (2, MINIMA), np.uint64)
_FACTORS = (_draw[0] * np.uint64(2) + np.uint64(1))[:, None]  # odd: multiplying permutes the 64-bit words
_SHIFTS = _draw[1][:, None]
_POWERS = np.random.default_rng(20_27).integers(0, 2**63, RUN, np.uint64) * np.uint64(2) + np.uint64(1)


def normalised(text: str | tuple[str, ...]) -> str:
    """What two texts that differ only in looks have in common: letters and digits in lower case, one blank between.

    Text of other characters only, such as emoji, stays as it is but for its blanks.

    >>> normalised("The  “Cat”,\\nsat!"), normalised("😀 😀")
    ('the cat sat', '😀 😀')
    """
    joined = text if isinstance(text, str) else "\n".join(text)
    bare = _UNLIKE.sub(" ", unicodedata.normalize("NFKC", joined[:_LONGEST]).casefold()).strip()
    return bare or " ".join(joined.split())


def perceptual_hash(text: str | tuple[str, ...]) -> ByteArray:
    """``[256]`` bytes: 64 minima of 32 bits over all runs of 8 characters of the normalised text.

    >>> first, second = perceptual_hash("Good day, World!"), perceptual_hash("good day world")
    >>> other = perceptual_hash("good day words")
    >>> first.shape, bool((first == second).all()), bool((first.view("<u4") == other.view("<u4")).any())
    ((256,), True, False)
    """
    plain = normalised(text)
    codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if len(codes) < LEAST + RUN - 1:
        minima = _mixed(_whole(codes) * _FACTORS[:, 0] + _SHIFTS[:, 0])
    else:
        minima = _minima(_runs(codes))
    return np.frombuffer((minima >> np.uint64(32)).astype("<u4").tobytes(), np.uint8).copy()


def close_pairs(hashes: ByteArray) -> tuple[IntArray, IntArray]:
    """Rows ``left[i], right[i]`` of hashes ``[n, 256]`` that are near-copies; of equal ones a chain, not every pair.

    >>> [side.tolist() for side in close_pairs(np.stack([perceptual_hash(t) for t in ("Good day", "Hi", "good day!")]))]
    [[0], [2]]
    """
    minima = np.ascontiguousarray(hashes, np.uint8).view("<u4")
    pairs = []
    for band in minima.reshape(len(minima), BANDS, -1).transpose(1, 0, 2):
        alike = np.unique(band, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(alike, kind="stable")
        # All pairs of a crowd would be too many: each is compared with the next and with the crowd's first.
        first = order[np.searchsorted(alike[order], alike[order])]
        same = alike[order][1:] == alike[order][:-1]
        pairs += [np.stack([order[:-1][same], order[1:][same]]), np.stack([first[1:][same], order[1:][same]])]
    found = np.unique(np.sort(np.concatenate(pairs, axis=1), axis=0), axis=1)
    left, right = found[:, found[0] != found[1]].astype(np.int64)
    near = np.concatenate([_near(minima, left[at : at + _ONCE], right[at : at + _ONCE]) for at in _steps(len(left))])
    return left[near], right[near]


def _near(minima: NDArray[np.uint32], left: IntArray, right: IntArray) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = (minima[left] == minima[right]).mean(axis=1) >= NEAR
    return near


def _steps(n: int) -> range:
    return range(0, max(n, 1), _ONCE)


def _runs(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A 64-bit number for each run of characters, each different run once."""
    n = len(codes) - RUN + 1
    total = np.zeros(n, np.uint64)
    for place, power in enumerate(_POWERS):
        total += _mixed(codes[place : place + n] + np.uint64(1)) * power
    return np.unique(_mixed(total))


def _whole(codes: NDArray[np.uint64]) -> np.uint64:
    places = np.arange(1, len(codes) + 1, dtype=np.uint64)
    total: np.uint64 = _mixed(codes + (places << np.uint64(32))).sum(dtype=np.uint64)
    return total


def _minima(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    least = np.full(MINIMA, np.iinfo(np.uint64).max, np.uint64)
    for at in range(0, len(runs), _ONCE):
        permuted = runs[None, at : at + _ONCE] * _FACTORS + _SHIFTS  # the runs are mixed already
        np.minimum(least, permuted.min(axis=1), out=least)
    return least


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of a word depends on every bit of it; from Steele and others, SplitMix (OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
