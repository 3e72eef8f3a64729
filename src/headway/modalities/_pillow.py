"""Every other image file, through Pillow's decoders: modes, alpha, 16 bits, and huge images in bounded memory."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from headway.modalities._jpeg import upright
from headway.types import ByteArray

Colour = tuple[int, int, int]

_STRIP = 1 << 22  # pixels converted at a time: a whole-image copy of a 168-megapixel drawing would be 672 MB more
_ORIENTATION = 0x0112
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def open_image(data: bytes, kind: str) -> ImageFile.ImageFile:
    """Open with one named decoder, and no other.

    ``Image.open`` tries every decoder it has and warns, or raises, by the process-wide ``Image.MAX_IMAGE_PIXELS``;
    calling the decoder itself leaves that limit to the caller, without touching global state.
    """
    Image.preinit()
    if kind not in Image.OPEN:
        Image.init()
    decoder: Any = Image.OPEN[kind][0]
    image: ImageFile.ImageFile = decoder(io.BytesIO(data), "")
    return image


def decode(image: ImageFile.ImageFile, *, cover: tuple[int, int] | None, background: Colour) -> ByteArray:
    """``[h, w, 3]`` upright, reduced by a whole factor where it is at least twice what ``cover`` asks for."""
    turned = _orientation(image) > 4
    if cover is not None and image.format == "JPEG":
        image.draft(image.mode, cover if turned else cover[::-1])
    image.load()
    # Some decoders turn the image themselves while loading and then drop the tag, so it is asked for again.
    orientation = _orientation(image)
    factor = _factor(image, cover[::-1] if cover and orientation > 4 else cover)
    return upright(_reduced_rgb(image, factor, background), orientation)


def _factor(image: Image.Image, cover: tuple[int, int] | None) -> int:
    return 1 if cover is None else max(1, min(image.height // max(cover[0], 1), image.width // max(cover[1], 1)))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata never makes good pixels unusable
        return 1
    return value if value in range(1, 9) else 1


def _reduced_rgb(image: Image.Image, factor: int, background: Colour) -> ByteArray:
    """Average ``factor`` x ``factor`` blocks and flatten, a strip of rows at a time."""
    rows = max(factor, _STRIP // max(image.width, 1) // factor * factor)
    depth = _depth(image) if image.mode in _DEEP else None
    if rows >= image.height:
        return _flat(image, factor, background, depth)
    strips = range(0, image.height, rows)
    boxes = [(0, y, image.width, min(y + rows, image.height)) for y in strips]
    return np.concatenate([_flat(image.crop(box), factor, background, depth) for box in boxes])


def _flat(image: Image.Image, factor: int, background: Colour, depth: tuple[float, float] | None) -> ByteArray:
    if depth is not None:
        image = _eight_bits(image, depth)
    if image.mode == "PA" or image.has_transparency_data:
        image = image.convert("RGBA")
        image = image.reduce(factor) if factor > 1 else image  # by alpha: what is transparent weighs nothing
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
        return np.asarray(image)
    image = image.convert("RGB")
    return np.asarray(image.reduce(factor) if factor > 1 else image)


def _depth(image: Image.Image) -> tuple[float, float]:
    """The values shown as black and white, by what the type can hold, never by what this one image holds.

    16 bits: 0..65535. 32-bit integers: 0..65535, or the image's own range where it does not fit. Floats: 0..1, else
    0..255, else the image's own range. Per-image stretching would throw away brightness, which may be the signal.
    """
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    values = np.asarray(image)
    finite = values[np.isfinite(values)] if image.mode == "F" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    for limit in (1.0, 255.0) if image.mode == "F" else (65535.0,):
        if low >= 0 and high <= limit:
            return 0.0, limit
    return low, high if high > low else math.nextafter(low, math.inf)


def _eight_bits(image: Image.Image, depth: tuple[float, float]) -> Image.Image:
    low, high = depth
    values = (np.nan_to_num(np.asarray(image, np.float32), posinf=high, neginf=low) - low) * (255.0 / (high - low))
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
