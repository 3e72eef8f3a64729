"""Images: recognise, decode, bring to a network's size, and describe without any pretrained network.

Every function here is safe to call from many threads at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
from kornia_rs import imgproc
from PIL import Image

from headway.errors import DataError, OptionError
from headway.modalities import _jpeg, _pillow
from headway.modalities._augment import AUGMENT_VERSION, Augmentation, augment
from headway.modalities._classical import CLASSICAL_VERSION, classical
from headway.modalities._image_views import CHUNK, COVERS, Decoded, batches, cover_of, covers, stacked
from headway.modalities._phash import HASH_VERSION, perceptual_hash
from headway.modalities._source import bad_item, content
from headway.types import ByteArray, ImageInput, ImageSource, ImageView

__all__ = [
    "AUGMENT_VERSION",
    "CHUNK",
    "CLASSICAL_VERSION",
    "COVERS",
    "HASH_VERSION",
    "MAX_JPEG_PIXELS",
    "MAX_PIXELS",
    "Augmentation",
    "augment",
    "batches",
    "classical",
    "cover_of",
    "decode",
    "pack",
    "perceptual_hash",
    "read",
    "resize",
    "sniff",
    "view",
]

MAX_PIXELS = 180_000_000
"""Pixels an image may have as decoded: 180 million are 720 MB as RGBA."""
MAX_JPEG_PIXELS = 256_000_000
"""Pixels a JPEG may have as stored, where it is decoded at a scale that keeps it within :data:`MAX_PIXELS`."""

_HEAD = 32  # bytes that tell any of the formats
_LARGE = 16_000_000  # pixels from which images are decoded one at a time, whatever the number of threads
_one_large = threading.Lock()
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def sniff(source: ImageSource) -> bool:
    """Whether the first bytes are those of an image that :func:`decode` reads; the file's name is not asked.

    Raises :class:`~headway.errors.DataError` when the file cannot be opened.

    >>> sniff(b"GIF89a"), sniff(b"%PDF-1.7"), sniff(b"")
    (True, False, False)
    """
    if isinstance(source, np.ndarray):
        return True
    if isinstance(source, bytes):
        return _format(source) is not None
    try:
        with source.open("rb") as file:
            return _format(file.read(_HEAD)) is not None
    except OSError as error:
        raise bad_item(source, f"it cannot be opened ({error.strerror or error})") from error


def _format(head: bytes) -> str | None:
    """Pillow's name of the format, from its magic bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    # Two letters alone would take any text that starts with "BM": the size of the second header is one of these.
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return "BMP"
    return None


def decode(
    source: ImageSource, *, cover: tuple[int, int] | None = None, background: tuple[int, int, int] = (255, 255, 255)
) -> ByteArray:
    """The whole image, upright, as contiguous ``[h, w, 3]`` RGB.

    ``cover=(height, width)`` asks for no more detail than that: the result still covers it in both directions where
    the image does, but JPEGs are decoded at 1/2, 1/4 or 1/8 scale and others averaged down by a whole factor.
    Transparent pixels show ``background``; 16 bits are scaled to 8; animations give their first frame.

    Images of 16 million pixels and more are decoded one at a time, so that memory is bounded by the largest one: a
    168-megapixel drawing works, and takes about 0.8 GB while it does.
    Raises :class:`~headway.errors.DataError` for anything that is not a whole, sound image of at most
    :data:`MAX_PIXELS` (:data:`MAX_JPEG_PIXELS` for JPEGs decoded at reduced scale).

    >>> decode(np.zeros((2, 3, 3), np.uint8)).shape
    (2, 3, 3)
    """
    if isinstance(source, np.ndarray):
        return _checked(source)
    data = content(source)
    kind = _format(data[:_HEAD])
    if kind is None:
        raise bad_item(source, "its content is not JPEG, PNG, WebP, GIF, TIFF or BMP, whatever its name says")
    try:
        return _decode(source, data, kind, cover, background)
    except DataError:
        raise
    except Exception as error:  # decoders raise a dozen types on damaged bytes, and each means the same to the user
        raise bad_item(source, f"its {kind} content is truncated or damaged ({error})") from error


def _decode(
    source: Path | bytes, data: bytes, kind: str, cover: tuple[int, int] | None, background: tuple[int, int, int]
) -> ByteArray:
    head = _jpeg.header(data) if kind == "JPEG" else None
    if head is not None and head.components in (1, 3):
        divide = _jpeg.scale(head, cover)
        with _room_for(source, head.height * head.width, head.height * head.width // divide**2):
            try:
                return _jpeg.upright(_jpeg.decode(data, head, divide), head.orientation)
            except ValueError:
                pass  # truncated, or merely odd, such as stray bytes between markers: Pillow tells the two apart
    image = _pillow.open_image(data, kind)
    stored = image.height * image.width
    decoded = stored // (_jpeg.scale(head, cover) ** 2 if head else 1)
    with image, _room_for(source, stored, decoded):
        return _pillow.decode(image, cover=cover, background=background)


def _room_for(source: Path | bytes, stored: int, decoded: int) -> threading.Lock | nullcontext[None]:
    """Refuse what is too large, and let only one large image be decoded at a time."""
    if decoded > MAX_PIXELS or stored > MAX_JPEG_PIXELS:
        limit = MAX_PIXELS if decoded > MAX_PIXELS else MAX_JPEG_PIXELS
        raise bad_item(source, f"it has {stored:,} pixels, more than the limit of {limit:,} (a decompression bomb?)")
    return _one_large if stored >= _LARGE else nullcontext()


def _checked(image: ByteArray) -> ByteArray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise DataError(
            "an image given as an array has the wrong shape or type",
            given=f"shape {image.shape}, {image.dtype}",
            allowed="[height, width, 3] of uint8, not empty",
        )
    return np.ascontiguousarray(image)


def resize(
    image: ByteArray,
    height: int,
    width: int,
    *,
    interpolation: Literal["bilinear", "bicubic"] = "bicubic",
    fit: Literal["squash", "crop"] = "squash",
) -> ByteArray:
    """``[height, width, 3]`` uint8, antialiased.

    ``fit="squash"`` keeps the whole image and lets its proportions go; ``fit="crop"`` keeps the proportions and the
    largest centred window. Squash is the default, because what a small data set labels may lie at the edge.

    >>> resize(np.zeros((40, 60, 3), np.uint8), 8, 8).shape
    (8, 8, 3)
    """
    if interpolation not in _FILTERS or fit not in ("squash", "crop") or min(height, width) < 1:
        raise OptionError(
            "the image cannot be resized so",
            given=f"{height} x {width}, interpolation={interpolation!r}, fit={fit!r}",
            allowed='sizes from 1, interpolation "bilinear" or "bicubic", fit "squash" or "crop"',
        )
    box = None
    if fit == "crop":
        h, w = image.shape[:2]
        scale = min(h / height, w / width)
        top, left = (h - height * scale) / 2, (w - width * scale) / 2
        box = (left, top, left + width * scale, top + height * scale)
    elif image.shape[:2] == (height, width):
        return image
    elif interpolation == "bicubic":  # Pillow's result to within rounding on photographs, in less than half the time
        return np.asarray(imgproc.resize(np.ascontiguousarray(image), (height, width), "bicubic", antialias=True))
    return np.asarray(Image.fromarray(image).resize((width, height), _FILTERS[interpolation], box))


def view(image: ByteArray, spec_input: ImageInput) -> ByteArray:
    """``[height, width, 3]`` RGB uint8 as a network's input has it; mean, scale and channel order come with the graph.

    >>> view(np.zeros((40, 60, 3), np.uint8), ImageInput(height=32, width=24, mean=(0, 0, 0), std=(1, 1, 1))).shape
    (32, 24, 3)
    """
    return resize(image, spec_input.height, spec_input.width, interpolation=spec_input.interpolation)


def read(
    source: ImageSource, views: Collection[ImageView], *, facts: bool, decode: Callable[..., ByteArray] = decode
) -> tuple[Decoded, ByteArray | None]:
    """What of an item some views need, and what facts are computed from where they are wanted.

    ``decode`` may be one that remembers. Raises as :func:`decode`.

    >>> small = ImageView(height=8, width=8, interpolation="bicubic")
    >>> list(read(np.zeros((2, 3, 3), np.uint8), [small], facts=False)[0])
    [288]
    """
    found = {size: decode(source, cover=(size, size)) for size in covers(views, facts=facts)}
    return found, found[COVERS[0]] if facts else None


def pack(items: Sequence[Decoded], view: ImageView) -> ByteArray:
    """Items that :func:`read` gave as a network takes them, ``[n, height, width, 3]``."""
    return stacked(items, view, resize)


def from_pillow(image: Any) -> ByteArray:
    """``[h, w, 3]`` of an image that Pillow has opened or made, flattened and turned upright as by :func:`decode`.

    >>> from_pillow(Image.new("L", (3, 2), 7))[0, 0].tolist()
    [7, 7, 7]
    """
    return _pillow.decode(image, cover=None, background=(255, 255, 255))
