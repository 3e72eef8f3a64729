"""What the tests of several packages share: caches, and a small data set of real images."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from headway.fetch import cache_dir

if TYPE_CHECKING:
    from headway.engine.ir import IR
    from headway.types import TextBackbone

# `make test` says no to a change, never to an unlucky draw: its examples are always the same. `make test-all` draws.
settings.register_profile("fixed", derandomize=True)

SHARED = ("weights", "networks", "packages")  # what is dear to make and the same for every test
ITEMS = 120
Headway = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def weights_cache() -> Path:
    """The user's own cache, with EfficientNet-Lite0 fetched and converted in it: the first session needs a network."""
    from headway import backbones
    from headway.engine.ir import prepare

    cache = cache_dir()
    for name in SHARED:
        (cache / name).mkdir(parents=True, exist_ok=True)
    prepare(backbones.open("packaged:efficientnet_lite0.in1k", offline=False), cache=cache / "networks")
    return cache


@pytest.fixture(scope="session")
def text_backbone() -> ModuleType:
    """The module ``text_backbone.py``: a tiny BERT whose weights are drawn, so that nothing has to be fetched."""
    spec = importlib.util.spec_from_file_location("text_backbone", Path(__file__).with_name("text_backbone.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["text_backbone"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_text(text_backbone: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> TextBackbone:
    found: TextBackbone = text_backbone.TinyText(tmp_path_factory.mktemp("tiny-text"))
    return found


@pytest.fixture(scope="session")
def tiny_text_ir(tiny_text: TextBackbone, tmp_path_factory: pytest.TempPathFactory) -> IR:
    """Its converted network. Read it, do not change it."""
    from headway.engine.ir import prepare

    return prepare(tiny_text, cache=tmp_path_factory.mktemp("text-networks"))


@pytest.fixture
def fresh_cache(weights_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``HEADWAY_CACHE`` without any features or hashes, on the user's own weights and converted networks."""
    cache = _on_weights_of(weights_cache, tmp_path / "fresh-cache")
    monkeypatch.setenv("HEADWAY_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def session_cache(weights_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a cache for the whole session, for tests that share features; it is in no environment yet."""
    return _on_weights_of(weights_cache, tmp_path_factory.mktemp("session") / "cache")


def _on_weights_of(weights_cache: Path, cache: Path) -> Path:
    cache.mkdir()
    for name in SHARED:
        (cache / name).symlink_to(weights_cache / name, target_is_directory=True)
    return cache


@pytest.fixture(scope="session")
def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """120 handwritten digits, twelve a class: grey images ``[120, 64, 64]`` in bytes, and their labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(labels == digit)[: ITEMS // 10] for digit in range(10)])
    grey = np.minimum(images[rows].reshape(-1, 8, 8) * 16, 255).astype(np.uint8)
    return grey.repeat(8, axis=1).repeat(8, axis=2), labels[rows]


@pytest.fixture(scope="session")
def digit_folder(digit_images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 120 digits as a folder a class of PNG files. Read it, do not change it."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("digits")
    for row, (image, label) in enumerate(zip(*digit_images, strict=True)):
        path = folder / str(label) / f"{row:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.fixture(scope="session")
def environment(session_cache: Path) -> dict[str, str]:
    """For processes of their own, on the session's cache."""
    return {**os.environ, "HEADWAY_CACHE": str(session_cache), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def headway(environment: dict[str, str]) -> Headway:
    """``headway(*arguments, cwd=..., NAME=value)``: the command line in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headway", *map(str, arguments)],
            cwd=cwd,
            env={**environment, **more},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def fitted(headway: Headway, digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run on the digits and what fitting it printed."""
    run = tmp_path_factory.mktemp("cli") / "run"
    done = headway(
        "fit", digit_folder, "--models", "*lite0*", "--method", "probe", "--budget", "90s", "--out", run, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return run, json.loads(done.stdout)


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    """Tiny language models and pairs of texts: see language_toys.py."""
    spec = importlib.util.spec_from_file_location("language_toys", Path(__file__).with_name("language_toys.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
