"""A perceptual hash: copies that were resized, recompressed or slightly retouched differ in few bits.

The parts are the two usual ones, a DCT hash (Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010) and a difference hash, here of 16 x 16, plus coarse colour: line drawings on white share their
low frequencies, and only detail and colour tell them apart.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from headway.types import ByteArray

HASH_VERSION = "phash-1"
HASH_BITS = 64 + 256 + 48
"""Bits of a hash: DCT signs, horizontal differences, colour on a 2 x 2 grid (four thresholds a channel)."""

_N = 32
_LOW = 8
_FREQUENCIES = np.cos(np.pi / _N * (np.arange(_N) + 0.5) * np.arange(_LOW)[:, None]).astype(np.float32)  # DCT-II
_FLAT = 2.0  # grey levels that compression alone may add to a flat area
_THRESHOLDS = np.array([51, 102, 153, 204], np.uint8)


def perceptual_hash(image: ByteArray) -> ByteArray:
    """``[h, w, 3]`` RGB to ``[46]`` bytes: the first 8 the DCT hash, 32 of differences, 6 of colour.

    >>> perceptual_hash(np.zeros((100, 80, 3), np.uint8)).shape
    (46,)
    """
    small = Image.fromarray(image).resize((_N, _N), Image.Resampling.BOX)
    grey = small.convert("L")
    waves = _FREQUENCIES @ np.asarray(grey, np.float32) @ _FREQUENCIES.T
    dct = waves.ravel() > np.median(waves.ravel()[1:]) + _FLAT * _N
    steps = np.asarray(grey.resize((17, 16), Image.Resampling.BOX), np.float32)
    differences = steps[:, 1:] > steps[:, :-1] + _FLAT
    corners = np.asarray(small.resize((2, 2), Image.Resampling.BOX))
    colour = corners[..., None] > _THRESHOLDS
    return np.packbits(np.concatenate([dct, differences.ravel(), colour.ravel()]))
