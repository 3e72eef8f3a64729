"""A cheap compiled prefix and small pictures, for the tests and for the processes that they start and kill.

Run as a program: ``activation_toys.py ROOT N PAUSE SEED`` fills the activations of N items, slowly, in an order that
SEED decides (0: as they come).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from headway.features.activations import Activations, activations
from headway.modalities import image
from headway.types import ImageInput

EXPECTS = ImageInput(height=16, width=16, mean=(10.0, 20.0, 30.0), std=(2.0, 3.0, 4.0))
VIEWS = 2


class Prefix:
    """Maps ``[b, 5, 4, 4]``: means of patches in five mixtures of colours."""

    name, key, engine, batch, height, width, interpolation = "toy", "toy-key", "toy", 4, 16, 16, "bicubic"
    stages, dims, findings = ("map",), (5,), ()

    def __init__(self, pause: float = 0.0) -> None:
        self.pause, self.items, self.sizes = pause, 0, []
        self.mix = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)

    def forward(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        for images in batches:
            time.sleep(self.pause)
            self.items += len(images)
            self.sizes.append(len(images))
            yield (self.says(images),)

    def says(self, images: np.ndarray) -> np.ndarray:
        patches = images.reshape(len(images), 4, 4, 4, 4, 3).astype(np.float32).mean((2, 4))
        return np.ascontiguousarray((patches @ self.mix).transpose(0, 3, 1, 2))


def items(n: int) -> tuple[list[np.ndarray], np.ndarray]:
    """n different small pictures and their digests."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(n)]
    return pictures, rng.integers(0, 256, (n, 16), dtype=np.uint8)


def cache(root: Path, n: int, *, network: Prefix | None, pictures=None, digests=None, **options) -> Activations:
    known = items(n)
    settings = {"policy": image.Augmentation(), "seed": 0, "views": VIEWS, **options}
    return activations(
        known[0] if pictures is None else pictures,
        known[1] if digests is None else digests,
        network=network,
        expects=options.pop("expects", EXPECTS),
        modality=image,
        root=root,
        **{name: value for name, value in settings.items() if name != "expects"},
    )


if __name__ == "__main__":
    place, number, pause, seed = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    prefix = Prefix(pause)
    prefix.batch = 1 if seed else prefix.batch  # the more often slots are given out, the likelier two do it at once
    filling = cache(place, number, network=prefix)
    print("ready", flush=True)
    sys.stdin.readline()  # until all that should run at once are ready
    filling.fill(np.random.default_rng(seed).permutation(number) if seed else np.arange(number))
