"""Decoded items kept in memory between the passes of one command, up to a bound, so that each is decoded once."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.types import ByteArray, IntArray, Source

LIMIT = 256 * 2**20  # bytes: about 1,000 images at the size that most networks need


class Kept:
    """A decoder that keeps what it decoded until ``limit`` bytes are held; what comes later is decoded every time.

    First come, first kept: each pass goes through all items in some order, so replacing old ones would keep none.
    """

    def __init__(self, decoder: ModuleType, *, limit: int = LIMIT) -> None:
        self._decoder, self._room = decoder, limit
        self._kept: dict[tuple[Source, tuple[int, int] | None], Any] = {}
        self._lock = threading.Lock()

    @property
    def CHUNK(self) -> int:
        """As the modality's own."""
        return int(self._decoder.CHUNK)

    def decode(self, source: Source, *, cover: tuple[int, int] | None = None) -> Any:
        """As the modality's own; the result must not be written to."""
        how = {} if cover is None else {"cover": cover}
        if not isinstance(source, Path | bytes):  # decoded already
            return self._decoder.decode(source, **how)
        kept = self._kept.get((source, cover))
        if kept is not None:
            return kept
        item = self._decoder.decode(source, **how)
        size = item.nbytes if isinstance(item, np.ndarray) else len(item)
        with self._lock:
            if size <= self._room and (source, cover) not in self._kept:
                self._room -= size
                self._kept[source, cover] = item
        return item

    def read(self, source: Source, views: Collection[Any], *, facts: bool) -> tuple[Any, Any]:
        """As the modality's own, of what was kept where it was."""
        item, plain = self._decoder.read(source, views, facts=facts, decode=self.decode)
        return item, plain

    def pack(self, items: Sequence[Any], view: Any) -> NDArray[Any]:
        """As the modality's own."""
        packed: NDArray[Any] = self._decoder.pack(items, view)
        return packed

    def batches(
        self, parts: Sequence[NDArray[Any]], view: Any, *, size: int
    ) -> Iterator[tuple[IntArray, Any, Mapping[str, NDArray[np.float32]]]]:
        """As the modality's own."""
        yield from self._decoder.batches(parts, view, size=size)

    def resize(self, image: ByteArray, height: int, width: int, *, interpolation: str) -> ByteArray:
        """As the modality's own, of images."""
        resized: ByteArray = self._decoder.resize(image, height, width, interpolation=interpolation)
        return resized
