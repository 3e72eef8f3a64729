"""Random views of an image to train on: cropped, mirrored, turned, recoloured, partly covered."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headway.errors import OptionError
from headway.types import ByteArray

AUGMENT_VERSION = "augment-1"  # raised when the same policy and random numbers give other pixels
_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
_TRIES = 10  # before the whole image is taken, as in Szegedy et al. (2015)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far a random view may be from the image. The defaults suit photographs of things.

    Turn ``flip`` off where left and right differ in meaning: digits, letters, signs.
    """

    scale: tuple[float, float] = (0.5, 1.0)  # share of the image's area that a crop takes
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width to height of a crop, beside the image's own being squashed
    flip: bool = True  # mirrored left to right, one time in two
    rotate: float = 0.0  # degrees at most, to either side
    shift: float = 0.0  # share of the side at most, in both directions
    brightness: float = 0.2  # factors are drawn from 1 - x to 1 + x
    contrast: float = 0.2
    saturation: float = 0.2
    erase: float = 0.0  # how likely a rectangle of 2 to 20 % of the view is covered by its mean colour

    def __post_init__(self) -> None:
        low, high = self.scale
        narrow, wide = self.ratio
        jitter = (self.brightness, self.contrast, self.saturation, self.shift, self.erase)
        if not (0 < low <= high <= 1 and 0 < narrow <= wide and 0 <= self.rotate <= 180) or not all(
            0 <= value <= 1 for value in jitter
        ):
            raise OptionError(
                "the augmentation is out of range",
                given=asdict(self),
                allowed="scale within 0..1, ratio above 0, rotate 0..180 degrees, all others 0..1",
            )


def augment(
    image: ByteArray,
    height: int,
    width: int,
    *,
    rng: np.random.Generator,
    policy: Augmentation,
    interpolation: Literal["bilinear", "bicubic"] = "bicubic",
) -> ByteArray:
    """A random view ``[height, width, 3]`` of an image ``[h, w, 3]``, both uint8; ``rng`` alone decides which.

    A random resized crop (Szegedy et al. 2015, arXiv 1409.4842, section 6) with milder limits, mirroring, turning and
    shifting by one affine map (what it bares has the border's colour), brightness, contrast and saturation by one
    colour matrix, random erasing (Zhong et al. 2017, arXiv 1708.04896). Every call draws the same number of random
    numbers whatever the policy, so that changing one part leaves the others as they were.

    >>> picture = np.zeros((40, 60, 3), np.uint8)
    >>> augment(picture, 8, 9, rng=np.random.default_rng(0), policy=Augmentation()).shape
    (8, 9, 3)
    """
    from headway.modalities.image import resize

    crops, flips, turns, colours, erased = (rng.random(n) for n in (4 * _TRIES, 1, 3, 3, 5))
    top, left, rows, columns = _crop(image.shape[0], image.shape[1], policy, crops.reshape(_TRIES, 4))
    view = resize(image[top : top + rows, left : left + columns], height, width, interpolation=interpolation)
    if policy.flip and flips[0] < 0.5:
        view = view[:, ::-1]
    if policy.rotate or policy.shift:
        view = _moved(view, policy, 2 * turns - 1)
    if policy.brightness or policy.contrast or policy.saturation:
        view = _recoloured(view, policy, 2 * colours - 1)
    if erased[0] < policy.erase:
        view = _erased(view, erased[1:])
    return np.ascontiguousarray(view)


def _crop(height: int, width: int, policy: Augmentation, draws: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """``(top, left, rows, columns)``: the first draw that fits into the image, else all of it."""
    low, high = policy.scale
    narrow, wide = (math.log(side) for side in policy.ratio)
    for area, shape, down, across in draws:
        size = height * width * (low + (high - low) * area)
        # Against the image's own proportions, as the whole image is squashed into the view too
        ratio = math.exp(narrow + (wide - narrow) * shape) * width / height
        rows, columns = round(math.sqrt(size / ratio)), round(math.sqrt(size * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            return int((height - rows + 1) * down), int((width - columns + 1) * across), rows, columns
    return 0, 0, height, width


def _moved(view: ByteArray, policy: Augmentation, draws: NDArray[np.float64]) -> ByteArray:
    height, width = view.shape[:2]
    border = np.concatenate([view[0], view[-1], view[:, 0], view[:, -1]])
    colour = np.median(border, axis=0).astype(int)
    angle, down, across = draws
    image = Image.fromarray(np.ascontiguousarray(view)).rotate(
        policy.rotate * angle,
        Image.Resampling.BILINEAR,
        translate=(policy.shift * across * width, policy.shift * down * height),
        fillcolor=(int(colour[0]), int(colour[1]), int(colour[2])),
    )
    return np.asarray(image)


def _recoloured(view: ByteArray, policy: Augmentation, draws: NDArray[np.float64]) -> ByteArray:
    """Brightness, contrast around the mean grey, and saturation, all linear in the pixel, as one matrix."""
    brightness, contrast, saturation = 1 + draws * (policy.brightness, policy.contrast, policy.saturation)
    mean = float(view.reshape(-1, 3).mean(0) @ _GREY)
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(_GREY, (3, 1))
    matrix = np.concatenate([brightness * contrast * mix, np.full((3, 1), brightness * (1 - contrast) * mean)], axis=1)
    image = Image.fromarray(np.ascontiguousarray(view))
    return np.asarray(image.convert("RGB", tuple(matrix.ravel().tolist())))


def _erased(view: ByteArray, draws: NDArray[np.float64]) -> ByteArray:
    height, width = view.shape[:2]
    size = (0.02 + 0.18 * draws[0]) * height * width
    ratio = math.exp((2 * draws[1] - 1) * math.log(3))
    rows, columns = min(height, round(math.sqrt(size / ratio))), min(width, round(math.sqrt(size * ratio)))
    top, left = int((height - rows + 1) * draws[2]), int((width - columns + 1) * draws[3])
    covered = view.copy()
    covered[top : top + rows, left : left + columns] = view.reshape(-1, 3).mean(0).astype(np.uint8)
    return covered
