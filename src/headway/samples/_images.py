"""Writing images for the samples."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


def save_grey(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write ``[h, w]`` grey values 0..255 as PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_capped(source: Path, path: Path, *, longest: int) -> None:
    """Copy a picture as an RGBA PNG whose longest side is at most ``longest`` pixels; it is never enlarged."""
    from PIL import Image

    with warnings.catch_warnings():
        # The largest drawing has 169 megapixels: Pillow warns from 89 and refuses from 179, and that limit stands.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        opened = Image.open(source)
    with opened:
        factor = max(opened.size) // (2 * longest)
        picture = _reduced(opened, factor) if factor > 1 else opened.convert("RGBA")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _reduced(picture: Image.Image, factor: int) -> Image.Image:
    """Box means of ``factor`` x ``factor`` pixels, strip by strip: at 169 megapixels a second full copy is 0.7 GB."""
    from PIL import Image

    width, height = picture.size
    small = Image.new("RGBA", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, 64 * factor):
        strip = picture.crop((0, top, width, min(top + 64 * factor, height)))
        small.paste(strip.convert("RGBA").reduce(factor), (0, top // factor))
    return small
