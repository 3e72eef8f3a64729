from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headway import backbones
from headway.engine.ir import IR, prepare
from headway.modalities.image import CLASSICAL_VERSION, classical
from headway.run import Run, open_run
from headway.run.model import Model, NetworkPart
from headway.run.write import finish, save_model, start
from headway.types import LinearHead

CLASSES = ("dark", "light", "in between")
STAGES = (2, 5)  # of test_efficientnet's six


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``HEADWAY_CACHE``: what is read from a run needs no other."""
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def ir(tmp_path_factory: pytest.TempPathFactory) -> IR:
    return prepare(backbones.open("random:test_efficientnet", offline=True), cache=tmp_path_factory.mktemp("networks"))


def _head(blocks: tuple[int, ...], *, unit: bool = True, seed: int = 0) -> LinearHead:
    rng, d = np.random.default_rng(seed), sum(blocks)
    parts = {name: rng.normal(size=d).astype(np.float32) for name in ("mean", "scale")}
    return LinearHead(
        blocks=blocks,
        unit_blocks=unit,
        mean=parts["mean"] * 0.01,
        scale=np.abs(parts["scale"]) + 0.5,
        weight=rng.normal(size=(d, 3)).astype(np.float32),
        bias=rng.normal(size=3).astype(np.float32),
        temperature=0.7,
    )


@pytest.fixture(scope="session")
def network_model(ir: IR) -> Model:
    """Two stages of one network, and one of it again, under a made-up head."""
    return Model(
        modality="image",
        task="classification",
        classes=CLASSES,
        head=_head((ir.dims[2], ir.dims[5], ir.dims[1])),
        networks=(NetworkPart(ir=ir, stages=STAGES), NetworkPart(ir=ir, stages=(1,))),
    )


@pytest.fixture(scope="session")
def classical_model() -> Model:
    assert CLASSICAL_VERSION
    width = len(classical(np.zeros((32, 32, 3), np.uint8)))
    return Model(modality="image", task="classification", classes=CLASSES, head=_head((width,)), classical=True)


def _saved(model: Model, folder: Path) -> Run:
    start(folder, {"data": "made"})
    save_model(folder, model)
    finish(folder, {"classes": list(model.classes)})
    return open_run(folder)


@pytest.fixture
def network_run(network_model: Model, own_cache: Path, tmp_path: Path) -> Run:
    return _saved(network_model, tmp_path / "network run")


@pytest.fixture
def classical_run(classical_model: Model, own_cache: Path, tmp_path: Path) -> Run:
    return _saved(classical_model, tmp_path / "classical run")
