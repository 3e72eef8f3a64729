"""Images as image networks take them: decoded once to cover several sizes, brought to each, put into batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.types import ByteArray, ImageView, IntArray

COVERS = (288, 448, 640, 896, 1280)
"""Sizes that items are decoded to cover. A network's is the first that holds its input, whatever else runs in the same
pass: a feature must not depend on the company it was computed in."""

CHUNK = 4
"""Images that one thread decodes at a time: as many as the engine takes, so that nothing is copied."""

Decoded: TypeAlias = dict[int, ByteArray]
"""An image at each size that it was decoded to cover."""


def cover_of(height: int, width: int) -> int:
    """The size that items are decoded to cover for a network's input.

    >>> cover_of(224, 224), cover_of(260, 300), cover_of(2000, 2000)
    (288, 448, 2000)
    """
    side = max(height, width)
    return next((size for size in COVERS if size >= side), side)


def covers(views: Collection[ImageView], *, facts: bool) -> set[int]:
    """The sizes that some views ask for; facts are taken from the smallest."""
    return {cover_of(view.height, view.width) for view in views} | ({COVERS[0]} if facts else set())


def stacked(images: Sequence[Decoded], view: ImageView, resize: Callable[..., ByteArray]) -> ByteArray:
    """``[n, height, width, 3]``."""
    size = cover_of(view.height, view.width)
    found = np.empty((len(images), view.height, view.width, 3), np.uint8)
    for row, image in enumerate(images):
        found[row] = resize(image[size], view.height, view.width, interpolation=view.interpolation)
    return found


def batches(
    parts: Sequence[ByteArray],
    view: ImageView,  # noqa: ARG001 (every modality takes it)
    *,
    size: int,
) -> Iterator[tuple[IntArray, ByteArray, Mapping[str, NDArray[np.float32]]]]:
    """Images ``[n, h, w, 3]`` in batches of at most ``size``: their places in all parts, and they themselves."""
    if size == CHUNK and all(len(part) <= size for part in parts):
        ends = np.cumsum([len(part) for part in parts])
        yield from ((np.arange(end - len(part), end), part, {}) for part, end in zip(parts, ends, strict=True))
        return
    images = np.concatenate(parts)
    for start in range(0, len(images), size):
        some = images[start : start + size]
        yield np.arange(start, start + len(some)), some, {}
