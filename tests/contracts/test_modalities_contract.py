"""Every modality, found by listing: what the rest of the house asks of one."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from headway import plugins
from headway.errors import DataError

MODALITIES = plugins.names("modalities")


def test_the_count_is_known() -> None:
    assert MODALITIES == ("image", "text")


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_offers_what_is_asked_of_it(name: str) -> None:
    module = plugins.load("modalities", name)
    for function in ("sniff", "decode", "perceptual_hash"):
        assert inspect.getdoc(getattr(module, function)), f"{name}.{function} is not explained"
    assert isinstance(module.HASH_VERSION, str) and module.HASH_VERSION


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("junk", [b"", b"\0", b"%PDF-1.7 plain text", b"\xff" * 100, bytes(range(256)) * 40])
def test_junk_is_never_taken_for_an_item_nor_a_crash(name: str, junk: bytes) -> None:
    module = plugins.load("modalities", name)
    assert module.sniff(junk) is False
    with pytest.raises(DataError) as caught:
        module.decode(junk)
    assert caught.value.exit_code == 2


def test_classical_features_are_pure() -> None:
    module = plugins.load("modalities", "image")
    assert isinstance(module.CLASSICAL_VERSION, str) and module.CLASSICAL_VERSION
    item = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    before = item.copy()
    first, second = module.classical(item), module.classical(item)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(item, before)
    assert first.dtype == np.float32 and first.ndim == 1


ITEMS = {"image": np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8), "text": "a text of some words " * 9}


@pytest.mark.parametrize("name", MODALITIES)
def test_the_hash_is_of_one_size_and_depends_on_the_item_alone(name: str) -> None:
    module = plugins.load("modalities", name)
    first, again = module.perceptual_hash(ITEMS[name]), module.perceptual_hash(ITEMS[name])
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.uint8 and first.ndim == 1
