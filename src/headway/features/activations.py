"""Activations at a cut, computed once an item and view: what is frozen is never computed a second time.

View 0 is the clean item; views 1, 2, ... are random ones, each decided by the item's content, its number and a seed.
Where nothing is frozen, the entries are the views' own pixels, so that every arm trains on the same ones.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.engine.frozen import BATCH, Frozen
from headway.errors import DataError, OptionError
from headway.features._batches import Batches, batches
from headway.features._pixels import Decoder, Pixels
from headway.features._views import Views, evict, size_of
from headway.types import ByteArray, Finding, ImageInput, IntArray, Progress, Source

__all__ = ["DEFAULT_MAX_BYTES", "Activations", "Batches", "Filled", "activations", "batches"]

DEFAULT_MAX_BYTES = 8 * 2**30
_FORMAT = "1"  # raised when entries change for the same key
_FREE_SHARE = 0.8  # of what is free on the disk may be taken
_GREATEST = float(np.finfo(np.float16).max)


@dataclass(slots=True, kw_only=True)
class Filled:
    """What a filling came to: ``left`` are ``(row, view)`` not reached in time, ``bad`` rows that cannot be decoded."""

    computed: int = 0
    left: int = 0
    bad: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Activations:
    """Entries of one network at one cut (or of pixels) for the items of a data set; made by :func:`activations`."""

    pixels: Pixels
    network: Frozen | None  # None: entries are pixels
    store: Views
    views: int  # random ones an item, beside the clean one
    kept: bool = True  # False: nothing is stored, everything is computed when it is asked for
    findings: list[Finding] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item as a network is given it: maps have their channels first."""
        shape = self.store.shape
        return (shape[-1], *shape[:-1]) if len(shape) == 3 else shape

    def fill(
        self,
        rows: IntArray,
        *,
        views: Sequence[int] | None = None,
        deadline: Deadline | None = None,
        progress: Progress | None = None,
    ) -> Filled:
        """Compute what is missing of ``rows`` in ``views`` (default: all), one after the other, until ``deadline``.

        What was computed stays, whatever ends the process. A disk that is full ends it with fewer views, or with none
        stored at all; ``findings`` say so.
        """
        result, first = Filled(), self._first_of_each(rows)
        wanted = [view for view in (range(self.views + 1) if views is None else views) if view <= self.views]
        todo = [(view, first[~self._have(view, first)]) for view in wanted] if self.kept else []
        total = sum(len(missing) for _, missing in todo)
        for view, missing in todo:
            if not self.kept or view > self.views:
                break
            done = 0
            for batch, entries in self._computed(missing, view, deadline, result.bad):
                if not self._keep(view, batch, entries):
                    break
                done += len(batch)
                result.computed += len(batch)
                if progress is not None:
                    progress("activations", result.computed, total)
            result.left += sum(int(row) not in result.bad for row in missing) - done
        return result

    def complete(self, rows: IntArray) -> int:
        """How many random views all of ``rows`` have: views 1 up to this number."""
        if not self.kept:
            return self.views
        for view in range(1, self.views + 1):
            if not self._have(view, rows).all():
                return view - 1
        return self.views

    def read(self, rows: IntArray, view: int) -> NDArray[Any]:
        """Entries ``[n, ...]``; those that are not stored are computed now, to the same numbers.

        Maps come with their channels last. Raises :class:`DataError` for an item that cannot be decoded.
        """
        there = self._have(view, rows)
        if there.all():
            return self.store.get(view, self.pixels.digests[rows])
        out = np.empty((len(rows), *self.store.shape), self.store.dtype)
        out[there] = self.store.get(view, self.pixels.digests[rows[there]])
        bad: dict[int, str] = {}
        missing, place = np.unique(rows[~there], return_inverse=True)
        parts = [entries for _, entries in self._computed(missing, view, None, bad)]
        if bad:
            raise DataError(f"{len(bad)} items cannot be decoded", given=next(iter(bad.values())))
        computed = np.concatenate(parts)
        if self.kept and view <= self.views:
            self._keep(view, missing, computed)
        out[~there] = computed[place]
        return out

    def _have(self, view: int, rows: IntArray) -> NDArray[np.bool_]:
        try:
            return self.store.have(view, self.pixels.digests[rows])
        except OSError:  # a folder that may not be read
            return np.zeros(len(rows), bool)

    def _first_of_each(self, rows: IntArray) -> IntArray:
        """``rows`` without those whose content came before."""
        _, first = np.unique(np.ascontiguousarray(self.pixels.digests[rows]).view("S16")[:, 0], return_index=True)
        kept: IntArray = rows[np.sort(first)]
        return kept

    def _keep(self, view: int, rows: IntArray, entries: NDArray[Any]) -> bool:
        try:
            self.store.put(view, self.pixels.digests[rows], entries)
        except OSError as error:
            self._shrink(view, f"{self.store.folder}: {error.strerror or error}")
            return False
        return True

    def _shrink(self, view: int, why: str) -> None:
        """Go on with the views before ``view``; without any, by computing whatever is asked for."""
        if view == 0:
            self.kept = False
            message = "the activations cannot be kept, so the frozen part is computed again in every epoch"
        else:
            self.views = view - 1
            message = f"only {self.views} random views an item can be kept, so training sees fewer of them"
        self.findings.append(Finding(check="activation-cache", severity="warn", message=message, evidence=(why,)))

    # --- computing ---

    def _computed(
        self, rows: IntArray, view: int, deadline: Deadline | None, bad: dict[int, str]
    ) -> Iterator[tuple[IntArray, NDArray[Any]]]:
        """Rows and their entries in batches; decoding runs ahead in threads."""
        size = BATCH if self.network is None else self.network.batch
        pixels = self.pixels.batches(rows, view, size=size, deadline=deadline, bad=bad)
        if self.network is None:
            yield from pixels
            return
        flying: deque[IntArray] = deque()

        def feed() -> Iterator[ByteArray]:
            for batch, images in pixels:
                flying.append(batch)
                yield images

        for (activation,) in self.network.forward(feed()):
            yield flying.popleft(), self._stored(activation)

    def _stored(self, activation: NDArray[np.float32]) -> NDArray[np.float16]:
        """In half precision, maps with channels last, as training wants them."""
        if activation.ndim == 4:
            activation = np.moveaxis(activation, 1, -1)
        if np.abs(activation).max(initial=0) > _GREATEST:
            activation = np.clip(activation, -_GREATEST, _GREATEST)
            if not any(finding.check == "activation-range" for finding in self.findings):
                message = "activations at the cut are too large for half precision and were clipped: cut elsewhere"
                self.findings.append(Finding(check="activation-range", severity="warn", message=message))
        return activation.astype(np.float16)


def activations(
    sources: Sequence[Source],
    digests: ByteArray,
    *,
    network: Frozen | None,
    expects: ImageInput,
    modality: ModuleType,
    root: Path,
    views: int,
    policy: Any,
    seed: int,
    items: int | None = None,
    decoder: Decoder | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Activations:
    """The activations of items at a cut, none computed yet: :meth:`Activations.fill` does that.

    Args:
        sources: the items.
        digests: their content hashes ``[n, 16]``.
        network: the compiled prefix, see :func:`headway.engine.cut.prefix`; None: entries are pixels in uint8.
        expects: the network's input.
        modality: gives the random views, and decodes where there is no other ``decoder``.
        root: the cache's folder. Every network, cut, policy and seed has a folder of its own in it.
        views: random views an item, beside the clean one.
        policy: the modality's augmentation.
        seed: decides the random views, with the item's content and the view's number.
        items: how many items will be asked for (default: all), to plan with.
        decoder: remembers decoded items for the modality.
        max_bytes: of all folders in ``root``. Folders used longest ago go; if that is not enough there are fewer
            views, and where not even the clean one fits nothing is stored; a finding says so.
    """
    if views < 0 or max_bytes < 0:
        raise OptionError("a cache has no such size", given=f"views={views}, max_bytes={max_bytes}", allowed="from 0")
    if network is None:
        shape: tuple[int, ...] = (expects.height, expects.width, 3)
        dtype: np.dtype[Any] = np.dtype(np.uint8)
    else:
        blank = np.zeros((1, expects.height, expects.width, 3), np.uint8)
        shape = next(iter(network.forward([blank])))[0].shape[1:]
        shape, dtype = ((*shape[1:], shape[0]) if len(shape) == 3 else shape), np.dtype(np.float16)
    view = (expects.height, expects.width, expects.interpolation, modality.AUGMENT_VERSION, asdict(policy), seed)
    facts = repr((_FORMAT, network.key if network else "pixels", view))
    folder = root / blake2b(facts.encode(), digest_size=16).hexdigest()
    found = Activations(
        pixels=Pixels(
            sources=sources,
            digests=digests,
            modality=modality,
            decoder=decoder or modality,
            expects=expects,
            policy=policy,
            seed=seed,
        ),
        network=network,
        store=Views(folder=folder, shape=tuple(shape), dtype=dtype),
        views=views,
    )
    _plan(found, root, len(digests) if items is None else items, max_bytes)
    return found


def _plan(found: Activations, root: Path, items: int, max_bytes: int) -> None:
    """As many views as there is room for."""
    store = found.store
    try:
        store.touch()
        others = evict(root, keep=store.folder, max_bytes=max_bytes - (found.views + 1) * items * store.row_bytes)
        free = shutil.disk_usage(root).free * _FREE_SHARE + size_of(store.folder)
    except OSError as error:
        found._shrink(0, f"{root}: {error.strerror or error}")
        return
    a_view = max(items * store.row_bytes, 1)
    room = int(min(max_bytes - others, free) // a_view)
    if room < found.views + 1:
        found._shrink(room, f"{room} views of {a_view / 2**20:.0f} MiB fit")
