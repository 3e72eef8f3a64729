"""One view of each item as pixels, decoded in threads ahead of whoever asks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from headway.budget import Deadline
from headway.errors import DataError
from headway.modalities.image import cover_of
from headway.seeds import seed_of
from headway.types import ByteArray, ImageInput, IntArray, Source

_AHEAD = 8  # batches being decoded for each core


class Decoder(Protocol):
    """The part of the image modality that views need."""

    def decode(self, source: Source, *, cover: tuple[int, int] | None = None) -> ByteArray: ...

    def resize(self, image: ByteArray, height: int, width: int, *, interpolation: str) -> ByteArray: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Items, and how their views are made: view 0 is the clean one, the others are random."""

    sources: Sequence[Source]
    digests: ByteArray  # [n, 16]
    modality: ModuleType
    decoder: Decoder  # the modality itself, or what remembers decoded items for it
    expects: ImageInput
    policy: Any  # the modality's augmentation
    seed: int

    def batches(
        self, rows: IntArray, view: int, *, size: int, deadline: Deadline | None, bad: dict[int, str]
    ) -> Iterator[tuple[IntArray, ByteArray]]:
        """``(rows, [b, h, w, 3])`` in order, until the deadline; rows that cannot be decoded go to ``bad``, and why."""
        workers = os.cpu_count() or 1
        chunks = iter([rows[i : i + size] for i in range(0, len(rows), size)])
        with ThreadPoolExecutor(workers, thread_name_prefix="views") as pool:
            ahead: deque[Future[tuple[list[int], ByteArray, dict[int, str]]]] = deque()
            try:
                while deadline is None or deadline.remaining > 0:
                    while len(ahead) < _AHEAD * workers and (chunk := next(chunks, None)) is not None:
                        ahead.append(pool.submit(self._some, chunk, view))
                    if not ahead:
                        return
                    good, images, failed = ahead.popleft().result()
                    bad.update(failed)
                    if good:
                        yield np.array(good, np.int64), images
            finally:
                for future in ahead:
                    future.cancel()

    def _some(self, rows: IntArray, view: int) -> tuple[list[int], ByteArray, dict[int, str]]:
        height, width = self.expects.height, self.expects.width
        cover = cover_of(height, width)
        images = np.empty((len(rows), height, width, 3), np.uint8)
        good: list[int] = []
        bad: dict[int, str] = {}
        for row in rows.tolist():
            try:
                image = self.decoder.decode(self.sources[row], cover=(cover, cover))
            except DataError as error:
                bad[row] = str(error)
                continue
            images[len(good)] = self._one(image, self.digests[row].tobytes().hex(), view)
            good.append(row)
        return good, images[: len(good)], bad

    def _one(self, image: ByteArray, digest: str, view: int) -> ByteArray:
        """By nothing but the item's content, the view's number and the seed."""
        height, width, interpolation = self.expects.height, self.expects.width, self.expects.interpolation
        if view == 0:
            return self.decoder.resize(image, height, width, interpolation=interpolation)
        rng = np.random.default_rng(seed_of("view", digest, view, self.seed))
        random: ByteArray = self.modality.augment(
            image, height, width, rng=rng, policy=self.policy, interpolation=interpolation
        )
        return random
