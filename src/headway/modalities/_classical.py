"""What an image shows without any pretrained network: colour and gradient-orientation histograms.

Colour histograms: Swain and Ballard, "Color indexing", 1991. Gradient orientations over a grid of cells: Dalal and
Triggs, "Histograms of oriented gradients for human detection", 2005. This is the arm that transfer has to beat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headway.types import ByteArray

CLASSICAL_VERSION = "hsv-hog-1"
"""Changes whenever :func:`classical` gives other numbers: part of cache keys."""

_SIDE = 64
_CELLS, _BINS = 4, 9


def classical(image: ByteArray) -> NDArray[np.float32]:
    """``[h, w, 3]`` RGB to ``[369]`` features in 0..1: colour histograms, gradient orientations, mean colours.

    The image is first averaged down to 64 x 64, so its size and, nearly, its compression do not matter. Histograms are
    square-rooted: a linear model on them then compares by the Hellinger kernel, which suits counts.

    >>> classical(np.zeros((100, 80, 3), np.uint8)).shape
    (369,)
    """
    small = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    hsv = np.asarray(small.convert("HSV"))
    grid = np.asarray(small.resize((_CELLS, _CELLS), Image.Resampling.BOX), np.float32).ravel() / 255
    return np.concatenate([_colours(hsv), _orientations(np.asarray(small.convert("L"), np.float32)), grid])


def _colours(hsv: ByteArray) -> NDArray[np.float32]:
    """A joint histogram of the whole (8 hues x 3 x 3), and a coarser one (6 x 2 x 2) of each quarter; Hellinger."""
    fine = _joint(hsv, (8, 3, 3)).ravel()
    coarse = _joint(hsv, (6, 2, 2)).reshape(2, _SIDE // 2, 2, _SIDE // 2).transpose(0, 2, 1, 3).reshape(4, -1)
    counts = [np.bincount(fine, minlength=72) / fine.size]
    counts += [np.bincount(quarter, minlength=24) / quarter.size for quarter in coarse]
    return np.sqrt(np.concatenate(counts)).astype(np.float32)


def _joint(hsv: ByteArray, bins: tuple[int, int, int]) -> NDArray[np.intp]:
    h, s, v = (hsv[..., c].astype(np.intp) * bins[c] >> 8 for c in range(3))
    joint: NDArray[np.intp] = (h * bins[1] + s) * bins[2] + v
    return joint


def _orientations(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient orientations, 9 unsigned directions in each of 4 x 4 cells and over all, weighted by length; [153]."""
    dy, dx = np.zeros_like(grey), np.zeros_like(grey)
    dy[1:-1] = grey[2:] - grey[:-2]
    dx[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    length = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dy, dx) * (_BINS / np.pi) % _BINS
    low = angle.astype(np.intp)
    share = angle - low
    rows = np.arange(_SIDE) // (_SIDE // _CELLS)
    cell = (rows[:, None] * _CELLS + rows) * _BINS
    size = _CELLS * _CELLS * _BINS
    counts = np.bincount((cell + low % _BINS).ravel(), (length * (1 - share)).ravel(), size)
    counts += np.bincount((cell + (low + 1) % _BINS).ravel(), (length * share).ravel(), size)
    whole = counts.reshape(-1, _BINS).sum(0)
    # One norm over all cells keeps how strongly each is drawn; the small constant keeps a blank image at zero.
    return np.concatenate([np.sqrt(part / (part.sum() + _SIDE)) for part in (counts, whole)]).astype(np.float32)
