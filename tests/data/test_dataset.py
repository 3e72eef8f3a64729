from __future__ import annotations

import itertools

import numpy as np
import pytest

from headway.data.dataset import drop, fingerprint, take
from headway.data.read import read
from headway.types import Dataset, Finding


@pytest.fixture
def data() -> Dataset:
    X = np.random.default_rng(0).integers(0, 256, (6, 5, 5), np.uint8)
    return read((X, list("abcabc")))


def test_take_keeps_every_column_in_step(data: Dataset) -> None:
    rows = [4, 0, 0, 5]
    taken = take(data, rows)
    assert taken.names == tuple(data.names[r] for r in rows)
    assert all(a is data.sources[r] for a, r in zip(taken.sources, rows, strict=True))
    np.testing.assert_array_equal(taken.digests, data.digests[rows])
    assert taken.targets is not None and data.targets is not None
    np.testing.assert_array_equal(taken.targets, data.targets[rows])
    assert taken.classes == data.classes
    assert take(data, range(6)).fingerprint == data.fingerprint
    assert take(data, [1, 0]).fingerprint != take(data, [0, 1]).fingerprint
    assert take(data, []).names == ()


def test_drop_says_why(data: Dataset) -> None:
    why = Finding(check="x", severity="warn", message="they were bad")
    kept = drop(data, [1, 3], why)
    assert kept.names == ("row 0", "row 2", "row 4", "row 5")
    assert kept.findings == (*data.findings, why)
    assert kept.fingerprint == take(data, [0, 2, 4, 5]).fingerprint


def test_every_column_and_its_order_counts_in_the_fingerprint() -> None:
    digests = np.arange(32, dtype=np.uint8).reshape(2, 16)
    first, second = np.array([0, 1]), np.array([1, 0])
    prints = [
        fingerprint(digests, targets=None, classes=()),
        fingerprint(digests[::-1], targets=None, classes=()),
        fingerprint(digests, targets=first, classes=("a", "b")),
        fingerprint(digests, targets=second, classes=("a", "b")),
        fingerprint(digests, targets=first, classes=("b", "a")),
        fingerprint(digests, targets=first, classes=("ab", "")),
        fingerprint(digests, targets=None, classes=(), groups=first),
        fingerprint(digests, targets=None, classes=(), parts=("train", "test")),
        fingerprint(digests, targets=None, classes=(), parts=(None, "test")),
        fingerprint(digests[:1], targets=None, classes=()),
        # The same bytes in a row, were it not for the columns' lengths.
        fingerprint(digests[:1], targets=None, classes=("a",), groups=np.array([0])),
        fingerprint(digests[:1], targets=None, classes=("a", *[""] * 8), parts=(None,)),
    ]
    assert all(len(p) == 32 and int(p, 16) >= 0 for p in prints)
    assert all(a != b for a, b in itertools.combinations(prints, 2))
