"""How long texts are, in characters and words, and how many a network will not read to their end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from headway.types import Finding, IntArray

_WORD = re.compile(r"\w+")
_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Characters (Unicode code points) and words of ``items`` texts; of a pair or of tokens their sum."""

    items: int
    median: float  # characters
    p95: float  # characters: all but one in twenty are no longer
    longest: int  # characters
    words: float  # median; runs of letters and digits, so few where a language writes no blanks


def lengths(texts: Iterable[str | tuple[str, ...]]) -> Lengths:
    """Statistics of at least one text.

    >>> lengths(["one two", "three", ("four", "five six")])
    Lengths(items=3, median=7.0, p95=11.5, longest=12, words=2.0)
    """
    characters: list[int] = []
    words: list[int] = []
    for text in texts:
        parts = (text,) if isinstance(text, str) else text
        characters.append(sum(map(len, parts)))
        words.append(sum(len(_WORD.findall(part)) for part in parts))
    return Lengths(
        items=len(characters),
        median=float(np.median(characters)),
        p95=float(np.percentile(characters, 95)),
        longest=max(characters),
        words=float(np.median(words)),
    )


def truncated(
    tokens: IntArray, limit: int, *, names: Sequence[str] = (), network: str = "the network"
) -> Finding | None:
    """The finding that texts of ``tokens [n]`` are cut off after ``limit`` tokens; none where none is.

    It names the longest ones, and warns where a network reads less than half of what there is.

    >>> truncated(np.array([5, 40]), 10, names=["a", "b"]).message
    '1 of 2 texts are longer than the 10 tokens that the network reads: 67 % of all tokens are not read.'
    >>> truncated(np.array([5, 9]), 10) is None
    True
    """
    over = np.flatnonzero(tokens > limit)
    if not len(over):
        return None
    lost = float((tokens[over] - limit).sum() / tokens.sum())
    message = (
        f"{len(over)} of {len(tokens)} texts are longer than the {limit} tokens that {network} reads: "
        f"{lost:.0%} of all tokens are not read."
    ).replace("%", " %")
    longest = over[np.argsort(-tokens[over], kind="stable")][:_SHOWN]
    shown = tuple(f"{names[row]}: {tokens[row]} tokens" for row in longest) if names else ()
    return Finding(check="truncated", severity="warn" if lost > 0.5 else "note", message=message, evidence=shown)
