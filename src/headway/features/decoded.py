"""Decoded items kept in memory between the passes of one command, up to a bound, so that each is decoded once."""

from __future__ import annotations

import threading
from pathlib import Path

from headway.features.extract import Decoder
from headway.types import ByteArray, Source

LIMIT = 256 * 2**20  # bytes: about 1,000 images at the size that most networks need


class Kept:
    """A decoder that keeps what it decoded until ``limit`` bytes are held; what comes later is decoded every time.

    First come, first kept: each pass goes through all items in some order, so replacing old ones would keep none.
    """

    def __init__(self, decoder: Decoder, *, limit: int = LIMIT) -> None:
        self._decoder, self._room = decoder, limit
        self._images: dict[tuple[Source, tuple[int, int] | None], ByteArray] = {}
        self._lock = threading.Lock()

    def decode(self, source: Source, *, cover: tuple[int, int] | None = None) -> ByteArray:
        """As the decoder's own; the result must not be written to."""
        if not isinstance(source, Path | bytes):  # an array is decoded already
            return self._decoder.decode(source, cover=cover)
        kept = self._images.get((source, cover))
        if kept is not None:
            return kept
        image = self._decoder.decode(source, cover=cover)
        with self._lock:
            if image.nbytes <= self._room and (source, cover) not in self._images:
                self._room -= image.nbytes
                self._images[source, cover] = image
        return image

    def resize(self, image: ByteArray, height: int, width: int, *, interpolation: str) -> ByteArray:
        """As the decoder's own."""
        return self._decoder.resize(image, height, width, interpolation=interpolation)
