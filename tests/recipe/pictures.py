"""Made pictures for the tests, and for the processes that they start and kill.

Run as a program: ``pictures.py OUT`` fits on 160 coloured pictures into OUT.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headway.run import Run
from headway.types import Record

NETWORK = "random:test_efficientnet@7"  # a small network that nothing has to be fetched for


def coloured(n: int, classes: int = 8, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``[n, 48, 48, 3]`` mosaics and labels: a third of the tiles have the class's hue, all else is chance.

    Colour histograms see that at once, and better than a small network with random weights does.
    """
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    hsv = rng.uniform((0, 80, 50), 255, (n, 12, 12, 3))
    own = rng.uniform(size=(n, 12, 12)) < 0.35
    hue = (y[:, None, None] + rng.uniform(0.1, 0.9, own.shape)) / classes * 255
    hsv[..., 0] = np.where(own, hue, hsv[..., 0])
    tiles = [np.asarray(Image.fromarray(h.astype(np.uint8), "HSV").convert("RGB")) for h in hsv]
    return np.stack(tiles).repeat(4, axis=1).repeat(4, axis=2), y


def distinct(n: int, *, seed: int = 0) -> np.ndarray:
    """``[n, 16, 16, 3]``: pictures that no two are alike, of no class in particular."""
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def save(pictures: np.ndarray, folders: list[bytes], root: Path, *, order: list[int] | None = None) -> Path:
    """Write each picture as a PNG into a folder below ``root``, in the given order of creation."""
    for row in range(len(pictures)) if order is None else order:
        folder = Path(root) / folders[row].decode("utf-8", "surrogateescape")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[row]).save(folder / f"{row:04d}.png")
    return root


def records_of(run: Run) -> list[Record]:
    """A run's records without what only the clock says."""
    return [replace(record, seconds=0.0) for record in run.records()]


def said_of(run: Run) -> dict[str, Any]:
    """The parts of a manifest that time does not enter."""
    plain = ("classes", "chosen", "test", "verdict", "cut", "findings", "data", "seed")
    tables = {
        name: [{k: v for k, v in line.items() if k != "seconds"} for line in run.manifest[name]]
        for name in ("ranking", "contenders")
    }
    return {**{key: run.manifest[key] for key in plain}, **tables}


if __name__ == "__main__":
    from headway.recipe import fit

    print("ready", flush=True)
    fit(coloured(160), out=sys.argv[1], models=[NETWORK, "random:test_vit@3"], method="probe")
