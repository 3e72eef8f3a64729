"""States of words from one frozen pass: every stage, by first piece and by mean of pieces, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.engine.tokenwise import Batch, States, Tokenwise
from headway.errors import ModelError
from headway.features.pieces import PAD_TO, Cutter, Window, windows
from headway.features.store import Store
from headway.types import ByteArray, IntArray

Pooling: TypeAlias = Literal["first", "mean"]
POOLINGS: tuple[Pooling, ...] = ("first", "mean")
VERSION = "1"  # raised when a word's state is made in another way
CHUNK = 64  # sentences between two looks at the clock
BATCH_TOKENS = 1024
_MOST = 65504.0  # of float16, in which states are kept: three digits are more than a probe can use


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """``width`` columns of a word's features: the state at a stage of the word ``offset`` places further on."""

    stage: int
    pooling: Pooling
    offset: int = 0


def word_digests(sentences: Sequence[Sequence[str]]) -> ByteArray:
    """``[N, 16]``: one a word, of its place and of all words of its sentence.

    >>> word_digests([["a", "b"], []]).shape
    (2, 16)
    """
    found = []
    for words in sentences:
        state = blake2b(digest_size=16)
        for word in words:
            raw = word.encode("utf-8", "surrogatepass")
            state.update(len(raw).to_bytes(8, "little") + raw)
        for at in range(len(words)):
            own = state.copy()
            own.update(b"#%d" % at)
            found.append(own.digest())
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 16)


def store_states(
    sentences: Sequence[Sequence[str]],
    network: Tokenwise,
    cutter: Cutter,
    *,
    store: Store,
    go_on: Callable[[int], bool] = lambda _: True,
) -> int:
    """Compute what the store lacks, some sentences after another; how many sentences, from the first, are done.

    ``go_on(done)`` is asked between chunks and ends it early. Raises :class:`ModelError` where a state is no number.
    """
    key = states_key(network)
    for start in range(0, len(sentences), CHUNK):
        if start and not go_on(start):
            return start
        part = sentences[start : start + CHUNK]
        digests = word_digests(part)
        lacking = ~store.have(key, digests) if len(digests) else np.zeros(0, bool)
        ends = np.cumsum([len(words) for words in part])
        todo = [i for i, words in enumerate(part) if lacking[ends[i] - len(words) : ends[i]].any()]
        if todo:
            rows = np.concatenate([np.arange(ends[i] - len(part[i]), ends[i]) for i in todo])
            store.put(key, digests[rows], word_states([part[i] for i in todo], network, cutter))
    return len(sentences)


def states_key(network: Tokenwise) -> str:
    """Where the store keeps a network's states."""
    return blake2b(f"words|{VERSION}|{network.key}".encode(), digest_size=16).hexdigest()


def word_states(
    sentences: Sequence[Sequence[str]], network: Tokenwise, cutter: Cutter
) -> dict[str, NDArray[np.float16]]:
    """Columns ``"STAGE.first"`` and ``"STAGE.mean"`` ``[N, d_s]``, a row a word, sentence after sentence."""
    offsets = np.cumsum([0, *(len(words) for words in sentences)])
    columns = {
        f"{stage}.{pooling}": np.zeros((int(offsets[-1]), dim), np.float16)
        for stage, dim in enumerate(network.ir.dims)
        for pooling in POOLINGS
    }
    groups = list(_grouped(windows(cutter, sentences)))
    for group, found in zip(groups, network.forward(map(_batch, groups)), strict=True):
        for row, window in enumerate(group):
            _place(window, row, found, columns, int(offsets[window.sentence]))
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise ModelError("a network's states are not finite numbers", given=network.ir.name)
    return columns


def gather(
    store: Store, key: str, digests: ByteArray, lengths: Sequence[int] | IntArray, blocks: Sequence[Block]
) -> NDArray[np.float32]:
    """Features ``[N, d]`` of words from the store: blocks side by side, zeros past a sentence's ends."""
    parts: dict[str, NDArray[np.float32]] = {}
    found = []
    for block in blocks:
        name = f"{block.stage}.{block.pooling}"
        if name not in parts:
            parts[name] = store.get(key, digests, [name])
        found.append(shifted(parts[name], lengths, block.offset))
    return np.hstack(found)


def shifted(rows: NDArray[np.float32], lengths: Sequence[int] | IntArray, offset: int) -> NDArray[np.float32]:
    """Row i becomes row ``i + offset`` of the same sentence, or zeros where that is past its ends.

    >>> shifted(np.arange(1.0, 5.0, dtype="f")[:, None], [3, 1], 1).ravel().tolist()
    [2.0, 3.0, 0.0, 0.0]
    """
    if not offset:
        return rows
    size = np.asarray(lengths, np.int64)
    place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + offset
    there = (place >= 0) & (place < np.repeat(size, size))
    out = np.zeros_like(rows)
    out[there] = rows[np.flatnonzero(there) + offset]
    return out


def _grouped(found: Sequence[Window]) -> Iterator[list[Window]]:
    """Windows of similar length together, the longest first."""
    group: list[Window] = []
    for window in sorted(found, key=lambda w: -len(w.ids)):
        if group and (len(group) + 1) * _rounded(len(group[0].ids)) > BATCH_TOKENS:
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _batch(group: Sequence[Window]) -> Batch:
    length = _rounded(max(len(window.ids) for window in group))
    ids, mask = np.zeros((len(group), length), np.int64), np.zeros((len(group), length), np.int64)
    for row, window in enumerate(group):
        ids[row, : len(window.ids)] = window.ids
        mask[row, : len(window.ids)] = 1
    return ids, mask


def _rounded(length: int) -> int:
    return -(-length // PAD_TO) * PAD_TO


def _place(window: Window, row: int, found: States, columns: dict[str, NDArray[np.float16]], offset: int) -> None:
    """Put the states of a window's own words where they belong."""
    first, stop = window.own
    if first == stop:
        return
    starts = np.asarray(window.starts)[first - window.first : stop - window.first + 1]
    for stage, states in enumerate(found):
        run = np.clip(states[row, starts[0] : starts[-1]], -_MOST, _MOST)
        begin = starts[:-1] - starts[0]
        means = np.add.reduceat(run, begin, axis=0) / np.diff(starts)[:, None]
        columns[f"{stage}.first"][offset + first : offset + stop] = run[begin]
        columns[f"{stage}.mean"][offset + first : offset + stop] = means
