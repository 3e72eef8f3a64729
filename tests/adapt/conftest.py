from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.types import Features


@pytest.fixture(scope="session")
def make() -> Callable[..., Features]:
    spec = importlib.util.spec_from_file_location("problems", Path(__file__).with_name("problems.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., Features] = module.make
    return made
