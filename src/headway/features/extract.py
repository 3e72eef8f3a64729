"""The only loop that embeds: every item is decoded once and goes through every network that still misses it.

Decoding runs in threads ahead of the networks; memory is bounded by the look-ahead, not by the number of items. What is
computed goes to the store every few hundred items, so an interrupted extraction goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.engine.frozen import Frozen
from headway.errors import DataError
from headway.features._copies import copies_of, first_of_each, to_all_rows
from headway.features.lengths import truncated
from headway.features.store import Store
from headway.types import Batch, ByteArray, IntArray, Progress, Source, View

GROUP = 32  # batches at most that one network runs before the next one's turn, so that draining it costs little
TURN = 1.5  # seconds that a group should take at most, so that a deadline is noticed in time
SETTLED_ITEMS, SETTLED_SECONDS = 48, 2.0  # after so much the pace is known well enough to give up a network by it
SHARD = 512  # rows a shard: what a killed process can lose at most

Replan = Callable[[Mapping[str, float], int], Collection[str]]
"""``replan(seconds per item by network, items left)`` names the networks to give up, asked after every group."""


class Decoder(Protocol):
    """The part of a modality that extraction needs."""

    @property
    def CHUNK(self) -> int:
        """Items that one thread reads at a time."""
        ...

    def read(self, source: Source, views: Collection[Any], *, facts: bool) -> tuple[Any, Any]:
        """What of an item those views need, and what facts are computed from; :class:`DataError` where it is none."""
        ...

    def pack(self, items: Sequence[Any], view: Any) -> NDArray[Any]:
        """Items that were read as networks of a view take them, one a row."""
        ...

    def batches(
        self, parts: Sequence[NDArray[Any]], view: Any, *, size: int
    ) -> Iterator[tuple[IntArray, Any, Mapping[str, NDArray[np.float32]]]]:
        """Packed items in a network's batches: their places in all parts, the batch, and columns to store beside."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A small vector taken straight from a decoded item: classical features, a perceptual hash."""

    key: str  # names the function and its version
    compute: Callable[[Any], NDArray[Any]]


@dataclass(slots=True, kw_only=True)
class Extraction:
    """What happened: ``bad`` maps rows to why they could not be decoded, ``left`` are rows not reached in time."""

    bad: dict[int, str] = field(default_factory=dict)
    left: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    given_up: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)  # wall-clock by network name, and "decode"
    computed: dict[str, int] = field(default_factory=dict)  # items by network name, those from the store not counted
    truncated: dict[str, int] = field(default_factory=dict)  # texts longer than the network of that name reads


@dataclass(slots=True, kw_only=True)
class _Batch:
    rows: IntArray
    views: dict[View, NDArray[Any]]
    facts: dict[str, NDArray[np.float32]]
    bad: dict[int, str]


@dataclass(slots=True, kw_only=True)
class _Plan:
    """Which rows go through what. ``missing[key]`` is a mask over all rows."""

    sources: Sequence[Source]
    decoder: Decoder
    networks: list[Frozen]
    facts: list[Fact]
    missing: dict[str, NDArray[np.bool_]]
    group: int = 1  # batches in the next group: one at first, as nothing is known of the speed

    def wants(self, key: str, rows: IntArray) -> bool:
        return bool(self.missing[key][rows].any())


def extract(
    sources: Sequence[Source],
    digests: ByteArray,
    *,
    networks: Sequence[Frozen],
    decoder: Decoder,
    store: Store,
    facts: Sequence[Fact] = (),
    order: IntArray | None = None,
    deadline: Deadline | None = None,
    replan: Replan | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """See to it that ``store`` has each network's stages (columns "0", "1", ...) and each fact ("0") of every item.

    ``sources`` are n items and ``digests [n, 16]`` their content hashes; equal items are computed once. Rows are taken
    in ``order`` until the ``deadline``, which is checked after every group of batches. ``replan`` may give up
    networks on the way, when the measured speed says that not all can be finished. Items that cannot be decoded are
    reported in the result, never raised.
    """
    missing = {key: ~store.have(key, digests) for key in [n.key for n in networks] + [f.key for f in facts]}
    plan = _Plan(sources=sources, decoder=decoder, networks=list(networks), facts=list(facts), missing=missing)
    rows = first_of_each(digests, np.arange(len(digests)) if order is None else order)
    rows = rows[np.logical_or.reduce([m[rows] for m in missing.values()])] if missing else rows[:0]
    result = Extraction(seconds={"decode": 0.0}, computed={n.name: 0 for n in networks})
    pending = _Pending(store, digests)
    total, done, clock = len(rows), 0, _Clock()
    try:
        for group in _groups(plan, rows, result):
            started = time.perf_counter()
            _run(plan, group, result, pending)
            a_batch = (time.perf_counter() - started) / len(group)
            plan.group = int(np.clip(TURN / max(a_batch, 1e-9), 1, min(GROUP, 2 * plan.group)))
            done += sum(len(b.rows) + len(b.bad) for b in group)
            if progress is not None:
                progress("embed", done, total)
            pace = clock.pace(result.seconds, done)
            if replan is not None and pace and done < total:
                _give_up(plan, replan(pace, total - done), result)
            if deadline is not None and deadline.remaining <= 0:
                break
    finally:
        pending.flush()
    result.bad = to_all_rows(result.bad, digests)
    result.left = copies_of(rows[done:], digests)
    result.truncated = truncated(store, networks, digests)
    return result


def _groups(plan: _Plan, rows: IntArray, result: Extraction) -> Iterator[list[_Batch]]:
    """Decoded batches, ``GROUP`` at a time, with the next group being decoded meanwhile."""
    workers = os.cpu_count() or 1
    size = plan.decoder.CHUNK
    chunks = iter([rows[i : i + size] for i in range(0, len(rows), size)])
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        ahead: deque[Future[_Batch]] = deque()
        try:
            while True:
                while len(ahead) < max(workers, 2 * plan.group) and (chunk := next(chunks, None)) is not None:
                    ahead.append(pool.submit(_decode, plan, chunk))
                if not ahead:
                    return
                started = time.perf_counter()
                group = [ahead.popleft().result() for _ in range(min(plan.group, len(ahead)))]
                result.seconds["decode"] += time.perf_counter() - started
                yield group
        finally:
            for future in ahead:
                future.cancel()


def _decode(plan: _Plan, rows: IntArray) -> _Batch:
    """Decode some items and take every view and fact that something still misses."""
    views = {n.view for n in plan.networks if plan.wants(n.key, rows)}
    facts = [f for f in plan.facts if plan.wants(f.key, rows)]
    found: dict[str, list[NDArray[Any]]] = {f.key: [] for f in facts}
    items: list[Any] = []
    good: list[int] = []
    bad: dict[int, str] = {}
    for row in rows:
        try:
            item, plain = plan.decoder.read(plan.sources[row], views, facts=bool(facts))
        except DataError as error:
            bad[int(row)] = str(error)
            continue
        for fact in facts:
            found[fact.key].append(fact.compute(plain))
        items.append(item)
        good.append(int(row))
    return _Batch(
        rows=np.array(good, np.int64),
        views={view: plan.decoder.pack(items, view) for view in views},
        facts={key: np.asarray(values, np.float32).reshape(len(good), -1) for key, values in found.items() if good},
        bad=bad,
    )


def _run(plan: _Plan, group: Sequence[_Batch], result: Extraction, pending: _Pending) -> None:
    """One group through every network, and what came of it to the store."""
    for batch in group:
        result.bad.update(batch.bad)
        for key, values in batch.facts.items():
            pending.add(key, batch.rows, {"0": values})
    for network in plan.networks:
        started = time.perf_counter()
        due = list(_due(plan, network, group))
        said = network.forward(batch for _, batch, _ in due)
        for (rows, _, columns), stages in zip(due, said, strict=True):
            pending.add(network.key, rows, {**{str(i): stage for i, stage in enumerate(stages)}, **columns})
            result.computed[network.name] += len(rows)
        result.seconds[network.name] = result.seconds.get(network.name, 0.0) + time.perf_counter() - started


def _due(
    plan: _Plan, network: Frozen, group: Sequence[_Batch]
) -> Iterator[tuple[IntArray, Batch, Mapping[str, NDArray[np.float32]]]]:
    """The rows of a group that a network still misses, and their views, in batches of the network's size."""
    parts = [b for b in group if network.view in b.views]
    misses = [plan.missing[network.key][b.rows] for b in parts]
    rows = [b.rows[m] for b, m in zip(parts, misses, strict=True)]
    views = [b.views[network.view] for b in parts]
    if not all(m.all() for m in misses):  # otherwise nothing is copied
        views = [view[m] for view, m in zip(views, misses, strict=True)]
        views = [np.concatenate(views)]
    if parts and sum(map(len, rows)):
        everything = np.concatenate(rows)
        for places, batch, columns in plan.decoder.batches(views, network.view, size=network.batch):
            if len(places):
                yield everything[places], batch, columns


@dataclass(slots=True)
class _Clock:
    """The pace once everything is in motion: the first group waits for the first decoding and overlaps with nothing."""

    seconds: dict[str, float] | None = None
    items: int = 0

    def pace(self, seconds: Mapping[str, float], done: int) -> dict[str, float]:
        """Seconds an item by network and for decoding since the first group; empty while too little is known."""
        if self.seconds is None:
            self.seconds, self.items = dict(seconds), done
        before, items = self.seconds, done - self.items
        spent = {name: total - before.get(name, 0.0) for name, total in seconds.items()}
        known = items and (items >= SETTLED_ITEMS or sum(spent.values()) >= SETTLED_SECONDS)
        return {name: span / items for name, span in spent.items()} if known else {}


def _give_up(plan: _Plan, names: Collection[str], result: Extraction) -> None:
    if names:
        plan.networks = [n for n in plan.networks if n.name not in names]
        result.given_up = (*result.given_up, *sorted(names))


class _Pending:
    """Rows on their way to the store, gathered into shards."""

    def __init__(self, store: Store, digests: ByteArray) -> None:
        self.store, self.digests = store, digests
        self.waiting: dict[str, list[tuple[IntArray, Mapping[str, NDArray[np.float32]]]]] = {}
        self.written = False

    def add(self, key: str, rows: IntArray, columns: Mapping[str, NDArray[np.float32]]) -> None:
        parts = self.waiting.setdefault(key, [])
        parts.append((rows, columns))
        if sum(len(r) for r, _ in parts) >= SHARD:
            self._put(key)

    def flush(self) -> None:
        for key in list(self.waiting):
            self._put(key)
        if self.written:
            self.store.evict()

    def _put(self, key: str) -> None:
        parts = self.waiting.pop(key)
        self.written = True
        rows = np.concatenate([r for r, _ in parts])
        names = parts[0][1]
        self.store.put(key, self.digests[rows], {n: np.concatenate([c[n] for _, c in parts]) for n in names})
