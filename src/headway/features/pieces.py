"""From words to the pieces a text network reads, and back: every word keeps its place, whatever becomes of it.

Words are never joined and cut again, so no offset can slip: each is tokenised by itself, in the form it has inside a
sentence, and its pieces stay one run. A word without pieces (only what the tokenizer drops, as control characters)
becomes the unknown token, or the padding one. A sentence that is longer than the network takes is read in windows that
overlap by about half, and each word's states come from the window in which it has the most context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from headway.errors import ModelError
from headway.types import IntArray

LONGEST_WORD = 48  # pieces: what is beyond adds nothing that could be averaged usefully
PAD_TO = 8  # lengths are rounded up, so that few shapes occur


@dataclass(frozen=True, slots=True)
class Window:
    """Words ``first`` to ``stop`` of a sentence as ids; word ``first + i`` is ``starts[i]:starts[i + 1]`` of them.

    Of these, words ``own`` (first and stop) take their states from here.
    """

    sentence: int
    first: int
    stop: int
    own: tuple[int, int]
    ids: tuple[int, ...]
    starts: tuple[int, ...]


@dataclass(slots=True)
class Cutter:
    """A tokenizer, and the pieces of every word that it has seen; a sentence's first word has no blank before it."""

    tokenizer: Any  # tokenizers.Tokenizer
    before: tuple[int, ...]  # special tokens at a sequence's beginning
    after: tuple[int, ...]  # and at its end
    blank: str  # what stands before a word inside a sentence, "" or " "
    unknown: int
    capacity: int  # pieces that fit into one window
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def pieces(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of each word of a sentence: at least one, at most :data:`LONGEST_WORD` or what a window holds."""
        texts = [(self.blank if at else "") + _sound(word) for at, word in enumerate(words)]
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        most = min(LONGEST_WORD, self.capacity)
        for text, found in zip(new, self.tokenizer.encode_batch(new, add_special_tokens=False), strict=True):
            self._known[text] = tuple(found.ids[:most]) or (self.unknown,)
        return [self._known[text] for text in texts]


def cutter(path: Path, *, tokens: int) -> Cutter:
    """Read a ``tokenizer.json``; ``tokens`` is the most positions that the network takes.

    Raises:
        ModelError: the file cannot be read, or special tokens leave no room.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError("a tokenizer cannot be read", given=f"{path} ({error})") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    framed = tokenizer.encode("a")
    special = np.asarray(framed.special_tokens_mask)
    inside = np.flatnonzero(special == 0)
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (len(special), len(special))
    capacity = tokens - first - (len(special) - last)
    if capacity < 1:
        raise ModelError("special tokens leave no room for words", given=f"{tokens} positions")
    ids = tuple(framed.ids)
    return Cutter(
        tokenizer=tokenizer,
        before=ids[:first],
        after=ids[last:],
        blank=_blank(tokenizer),
        unknown=_unknown(tokenizer),
        capacity=capacity,
    )


def windows(cutter: Cutter, sentences: Sequence[Sequence[str]]) -> list[Window]:
    """The windows of all sentences. Every word of every sentence is ``own`` in exactly one of them."""
    found = []
    for number, words in enumerate(sentences):
        pieces = cutter.pieces(words)
        reaches = spread(np.array([len(p) for p in pieces], np.int64), cutter.capacity)
        for (first, stop), own in zip(reaches, _owners(reaches), strict=True):
            ids, starts = list(cutter.before), [len(cutter.before)]
            for word in pieces[first:stop]:
                ids.extend(word)
                starts.append(len(ids))
            found.append(Window(number, first, stop, own, (*ids, *cutter.after), tuple(starts)))
    return found


def spread(counts: IntArray, capacity: int) -> list[tuple[int, int]]:
    """First word and stop of each window over words of ``counts`` pieces (1..capacity): overlapping by about half.

    >>> spread(np.ones(10, int), 4)
    [(0, 4), (2, 6), (4, 8), (6, 10)]
    """
    if not len(counts):
        return []
    ends = np.cumsum(counts)
    found, first = [], 0
    while True:
        gone = int(ends[first - 1]) if first else 0
        stop = int(np.searchsorted(ends, gone + capacity, side="right"))
        found.append((first, stop))
        if stop == len(counts):
            return found
        # The next one begins where half of this one's room is left behind, and always further on, never past the end.
        half = int(np.searchsorted(ends, gone + capacity // 2, side="left")) + 1
        first = min(max(first + 1, half), stop)


def _owners(reaches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of neighbouring windows each owns half of what they share, so that every word is owned once."""
    edges = [0]
    for (_, stop), (first, _) in pairwise(reaches):
        edges.append(max(edges[-1], (first + stop + 1) // 2))
    edges.append(reaches[-1][1] if reaches else 0)
    return list(pairwise(edges))[: len(reaches)]


def _blank(tokenizer: Any) -> str:
    """Whether a word inside a sentence is the word alone or has a blank of its own, as in byte-level vocabularies."""
    alone, spaced = (tuple(tokenizer.encode(text, add_special_tokens=False).ids) for text in ("a", " a"))
    joined = tuple(tokenizer.encode("a a", add_special_tokens=False).ids)
    return " " if joined == alone + spaced and alone != spaced else ""


def _unknown(tokenizer: Any) -> int:
    for name in ("[UNK]", "<unk>", "<|endoftext|>", "[PAD]", "<pad>"):
        number = tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    return 0


def _sound(word: str) -> str:
    """Lone surrogates are no text that a tokenizer takes."""
    return word.encode("utf-8", "replace").decode("utf-8")
