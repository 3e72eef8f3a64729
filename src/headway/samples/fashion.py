"""fashion-mnist and fashion5k: small grey photographs of clothes, with their own train and test folders."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway import fetch
from headway.samples._images import save_grey
from headway.samples._sample import Sample, Sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGE = "dataset-fashion-mnist"
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
PARTS = {"train": "train", "test": "t10k"}


def _fashion(limits: dict[str, int], to: Path, sources: Sources) -> None:
    """``limits`` are the most items a class in each part: the first ones are taken."""
    root = fetch.from_debian(PACKAGE, cache=sources.cache, offline=sources.offline) / "usr/share/datasets/fashion-mnist"
    for part, prefix in PARTS.items():
        images = _idx(root / f"{prefix}-images-idx3-ubyte.gz")
        labels = _idx(root / f"{prefix}-labels-idx1-ubyte.gz")
        for label, name in enumerate(CLASSES):
            for row in np.flatnonzero(labels == label)[: limits[part]]:
                save_grey(images[row], to / part / name / f"{row:05d}.png")


def _idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format: two zeros, the type 8, the number of axes, their lengths, the content."""
    with gzip.open(path) as file:
        content = file.read()
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _sample(name: str, description: str, train: int, test: int) -> Sample:
    return Sample(
        name=name,
        modality="image",
        task="classification",
        items=len(CLASSES) * (train + test),
        description=f"{description}, 28 x 28 pixels, grey, in train and test folders",
        source=f"Debian package {PACKAGE} (Zalando Research)",
        licence="MIT",
        build=partial(_fashion, {"train": train, "test": test}),
    )


SAMPLES = (
    _sample("fashion-mnist", "photographs of ten kinds of clothes", 6000, 1000),
    _sample("fashion5k", "the first 400 training and 100 test items a class of fashion-mnist", 400, 100),
)
