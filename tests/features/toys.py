"""Cheap stand-ins, shared by the tests and by the processes that they start and kill.

Run as a program: ``toys.py write ROOT SEED`` writes shards for ever, ``toys.py embed ROOT N`` embeds N items slowly.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headway.features import extract as extract_module
from headway.features.extract import Extraction, Fact, extract
from headway.features.store import IN_USE_SECONDS, Store
from headway.modalities import image
from headway.modalities.image import cover_of
from headway.types import ImageView

POOL = 400  # digests that two writers share
LONG_AGO = IN_USE_SECONDS + 60
FACT = Fact(key="fact", compute=lambda pixels: pixels.mean((0, 1)))


@dataclass
class Toy:
    """A frozen network of a few lines: what it says of an item depends on every pixel of its view."""

    name: str = "toy@1"
    key: str = "toy-key"
    height: int = 16
    width: int = 16
    interpolation: str = "bicubic"
    batch: int = 16
    pause: float = 0.0
    fails_at: int = -1
    engine: str = "toy"
    stages: tuple[str, ...] = ("early", "embedding")
    dims: tuple[int, ...] = (3, 5)
    findings: tuple[object, ...] = ()
    seen: list[int] = field(default_factory=list)

    @property
    def view(self) -> ImageView:
        return ImageView(height=self.height, width=self.width, interpolation=self.interpolation)

    def forward(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        for images in batches:
            if len(self.seen) == self.fails_at:
                raise RuntimeError("the network fails")
            assert images.shape[1:] == (self.height, self.width, 3)
            assert 0 < len(images) <= self.batch
            time.sleep(self.pause)
            self.seen.append(len(images))
            yield self.says(images)

    def says(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        flat = images.reshape(len(images), -1, 3).astype(np.float64)
        ramp = np.arange(flat.shape[1])[:, None, None] % np.array([2, 3, 5, 7, 11])
        return flat.mean(1).astype(np.float32), (flat[..., None] * ramp).mean((1, 2)).astype(np.float32)


def digest_of(number: int) -> np.ndarray:
    """Sixteen bytes that end, and for some numbers begin, with zeros."""
    state = np.random.default_rng(number).integers(0, 256, 16, dtype=np.uint8)
    state[14:] = 0
    if number % 5 == 0:
        state[:3] = 0
    return state


def row_of(digest: np.ndarray, width: int) -> np.ndarray:
    """Content-addressed: the same digest always has the same row."""
    return np.random.default_rng(digest.tolist()).normal(size=width).astype(np.float32)


def shard_of(numbers: Iterable[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    digests = np.stack([digest_of(n) for n in numbers])
    columns = {name: np.stack([row_of(d, width) for d in digests]) for name, width in (("0", 2), ("1", 700))}
    return digests, columns


def items(n: int) -> tuple[list[np.ndarray], np.ndarray]:
    """n different small pictures and their digests."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(n)]
    return pictures, np.stack([digest_of(row) for row in range(n)])


def jpeg(row: int, size: tuple[int, int] = (1280, 960)) -> bytes:
    """A smooth picture large enough to be decoded at a reduced scale."""
    rng = np.random.default_rng(row)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def extracted(sources: Sequence[Any], digests: np.ndarray, store: Store, *networks: Toy, **options: Any) -> Extraction:
    return extract(sources, digests, networks=networks, decoder=image, store=store, **options)


def expected(toy: Toy, sources: Iterable[Any]) -> np.ndarray:
    """What the network says of each item, computed one by one."""
    cover = cover_of(toy.height, toy.width)
    parts = []
    for source in sources:
        whole = image.decode(source, cover=(cover, cover))
        view = image.resize(whole, toy.height, toy.width, interpolation=toy.interpolation)
        parts.append(np.hstack([stage[0] for stage in toy.says(view[None])]))
    return np.stack(parts)


def found(store: Store, toy: Toy, digests: np.ndarray) -> np.ndarray:
    return store.get(toy.key, digests, ["0", "1"])


def shards(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.safetensors"))


def age(root: Path, seconds: float = LONG_AGO) -> None:
    """Make every file of the store look used that long ago, the first by name longest."""
    for number, path in enumerate(sorted(p for p in root.glob("*/*") if p.is_file())):
        used = time.time() - seconds - 100 + number
        os.utime(path, (used, used))


def check(store: Store, numbers: Sequence[int]) -> None:
    """The rows of these digests are all there and right, in both columns."""
    digests, columns = shard_of(numbers)
    assert store.have("key", digests).all()
    np.testing.assert_array_equal(store.get("key", digests, ["0"]), columns["0"])
    np.testing.assert_array_equal(store.get("key", digests, ["1", "0"]), np.hstack([columns["1"], columns["0"]]))


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def write(root: Path, seed: int, rounds: int) -> None:
    rng, store = np.random.default_rng(seed), Store(root)
    print("ready", flush=True)
    for _ in range(rounds):
        store.put("key", *shard_of(rng.choice(POOL, 25)))


def embed(root: Path, n: int, pause: float) -> dict[str, int]:
    extract_module.SHARD = 32
    extract_module.GROUP = 2
    pictures, digests = items(n)
    print("ready", flush=True)
    return extracted(pictures, digests, Store(root), Toy(pause=pause), facts=[FACT]).computed


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        embed(Path(sys.argv[2]), int(sys.argv[3]), pause=0.03)
