"""Writing images for the samples."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        picture: Image.Image = opened
        if picture.mode != "LA":  # grey with alpha is widened after the resize: half the memory, and the large ones are
            picture = picture.convert("RGBA")
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.convert("RGBA").save(path)
