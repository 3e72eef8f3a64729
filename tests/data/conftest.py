from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw() -> Callable[[Path | str, int], Path]:
    """Write a small picture that no other seed gives, with the format its name says (PNG where it says none)."""

    def write(path: Path | str, seed: int) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
        with open(path, "wb") as file:
            Image.fromarray(pixels).save(file, "JPEG" if path.suffix == ".jpg" else "PNG")
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, draw: Callable[[Path | str, int], Path]) -> Path:
    """Three classes of four pictures."""
    for i in range(12):
        draw(tmp_path / "data" / "abc"[i % 3] / f"{i}.png", i)
    return tmp_path / "data"


@pytest.fixture
def settle() -> Callable[[Path], None]:
    """Wait until files are old enough to be remembered: the change time, which counts too, cannot be set back."""

    def wait(folder: Path) -> None:
        newest = max(os.stat(path).st_ctime for path in folder.rglob("*"))
        time.sleep(max(0.0, newest + 2.1 - time.time()))

    return wait
