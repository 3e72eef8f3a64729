"""Texts as text networks take them: tokenised, put together with others of their length, padded to a few lengths.

Tokenising is the ``tokenizers`` library's, without torch or transformers; it runs outside Python's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import ModelError
from headway.types import IntArray, TextBatch, TextView

CHUNK = 32  # texts that one thread tokenises at a time
LONGEST = 1_000_000  # characters of one text that are looked at; no network reads more
_STEPS = ((128, 16), (512, 32), (1 << 30, 128))  # up to so many tokens lengths are multiples of this


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids ``[l]`` that a network reads of a text, special ones included, and how many the whole text has."""

    ids: IntArray
    count: int


def padded_length(tokens: int, most: int) -> int:
    """The length that a text of so many tokens is padded to: it depends on nothing else. ``most`` is the network's.

    >>> [padded_length(n, 200) for n in (1, 16, 17, 130, 199)]
    [16, 16, 32, 160, 200]
    """
    tokens = max(tokens, 1)
    step = next(step for limit, step in _STEPS if tokens <= limit)
    return min(-(-tokens // step) * step, max(most, tokens))


def rows_of(length: int, tokens: int) -> int:
    """Texts of a padded length in a batch of about so many tokens.

    >>> rows_of(16, 512), rows_of(384, 512), rows_of(768, 512)
    (32, 1, 1)
    """
    return max(tokens // length, 1)


def collated(items: Sequence[Tokens], length: int) -> TextBatch:
    """Ids and mask ``[n, length]``, padded on the right."""
    ids = np.zeros((len(items), length), np.int64)
    mask = np.zeros((len(items), length), np.int64)
    for row, item in enumerate(items):
        ids[row, : len(item.ids)] = item.ids
        mask[row, : len(item.ids)] = 1
    return ids, mask


def pack(texts: Sequence[str | tuple[str, ...]], view: TextView) -> NDArray[np.object_]:
    """``[n]`` :class:`Tokens`."""
    found = np.empty(len(texts), object)
    for row, item in enumerate(tokenised(texts, view)[0]):
        found[row] = item
    return found


def batches(
    parts: Sequence[NDArray[np.object_]], view: TextView, *, size: int
) -> Iterator[tuple[IntArray, TextBatch, Mapping[str, NDArray[np.float32]]]]:
    """Packed texts in batches of one length each: their places in all parts, ids and mask, and what is to be kept.

    ``size`` is about how many tokens a batch has. The longest come first, as they need the most memory.
    """
    items: list[Tokens] = [item for part in parts for item in part]
    lengths = np.array([padded_length(len(item.ids), view.tokens) for item in items], np.int64)
    for length in np.unique(lengths)[::-1].tolist():
        places = np.flatnonzero(lengths == length)
        rows = rows_of(length, size)
        for start in range(0, len(places), rows):
            at = places[start : start + rows]
            some = [items[place] for place in at]
            counts = np.array([[item.count] for item in some], np.float32)
            yield at, collated(some, length), {"tokens": counts}


def tokenised(texts: Sequence[str | tuple[str, ...]], view: TextView) -> tuple[list[Tokens], int]:
    """The tokens of each text, cut off after ``view.tokens``, and the greatest id that the tokenizer has.

    A pair is put together as the tokenizer does it, the longer one cut off first; more than two texts are joined by
    blanks.
    """
    tool = _tokenizer(view)
    parts = [_parts(text, view) for text in texts]
    flat = tool.whole.encode_batch_fast([one for some in parts for one in some], add_special_tokens=False)
    found, at = [], 0
    for some in parts:
        encoded = flat[at : at + len(some)]
        at += len(some)
        ids = tool.cut.post_process(*encoded).ids
        count = sum(len(one) for one in encoded) + tool.whole.num_special_tokens_to_add(len(some) == 2)
        found.append(Tokens(ids=np.array(ids or tool.blank, np.int64), count=count))
    return found, tool.greatest


def _parts(text: str | tuple[str, ...], view: TextView) -> list[str]:
    both = [text] if isinstance(text, str) else list(text)
    if len(both) > 2:
        both = [" ".join(both)]
    return [view.prefix + (_shortened(one).lower() if view.lower else _shortened(one)) for one in both]


def _shortened(text: str) -> str:
    """Up to the last blank before the limit, so that no word is torn; without lone surrogates, which are no text."""
    if len(text) > LONGEST:
        text = text[:LONGEST].rsplit(None, 1)[0] or text[:LONGEST]
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class _Tool:
    whole: Any  # tokenizers.Tokenizer: no truncation, no padding
    cut: Any  # the same, truncating to the network's length
    blank: list[int]  # what stands for a text of no tokens
    greatest: int


@lru_cache(maxsize=32)
def _tokenizer(view: TextView) -> _Tool:
    from tokenizers import Tokenizer

    try:
        content = view.tokenizer.read_bytes()
        whole, cut = Tokenizer.from_buffer(content), Tokenizer.from_buffer(content)
        for one in (whole, cut):
            one.no_padding()
            one.no_truncation()
        cut.enable_truncation(view.tokens)
    except Exception as error:  # the library raises plain Exceptions
        raise ModelError(
            "a tokenizer cannot be read", given=f"{view.tokenizer} ({error})", allowed="a tokenizer.json"
        ) from error
    greatest = max(whole.get_vocab(with_added_tokens=True).values(), default=0)
    return _Tool(whole, cut, list(cut.encode(" ").ids), greatest)
