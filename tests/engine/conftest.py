from __future__ import annotations

import pytest

from headway import backbones
from headway.engine.ir import IR, prepare
from headway.types import Backbone

TINY = "random:test_efficientnet"  # timm's smallest: nothing has to be fetched


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    return backbones.open(TINY, offline=True)


@pytest.fixture(scope="session")
def tiny_ir(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> IR:
    """Its converted network. Read it, do not change it."""
    return prepare(tiny, cache=tmp_path_factory.mktemp("networks"))
