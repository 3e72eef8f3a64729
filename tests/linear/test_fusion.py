"""Fusing takes what adds something and leaves what does not."""

from __future__ import annotations

import numpy as np
import pytest

from headway.linear import fusion
from headway.linear.fusion import MOST_ROWS, forward_selection
from headway.types import Features


def _block(signal, *, d=24, noise=1.0, seed=0):
    """A backbone that sees one binary property of each item, in all its columns."""
    rng = np.random.default_rng(seed)
    return (np.outer(2.0 * signal - 1, rng.normal(size=d)) + noise * rng.normal(size=(len(signal), d))).astype("f")


def _problem(n=160, seed=0):
    """Four classes of two binary properties; no single block sees both."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 2, (2, n))
    y = 2 * first + second
    blocks = {
        "noise": rng.normal(size=(n, 40)).astype("f"),
        "second": _block(second, seed=1, noise=2.0),
        "first": _block(first, seed=2, noise=1.0),
        "more noise": rng.normal(size=(n, 200)).astype("f"),
    }
    return y, blocks


def _features(y, blocks, **options):
    return [Features(X=X, y=y, classes=int(y.max()) + 1, blocks=(X.shape[1],), **options) for X in blocks.values()]


def _chosen(y, blocks, **options):
    names = list(blocks)
    return [names[i] for i in forward_selection(_features(y, blocks, **options), seed=0)]


def test_it_fuses_what_complements_and_drops_noise():
    """By chance noise saves more than the least gain on some draws: of 300 items on few, of fewer on more."""
    chosen = [sorted(_chosen(*_problem(300, seed=seed))) for seed in range(10)]
    assert all({"first", "second"} <= set(names) for names in chosen)
    assert sum(names == ["first", "second"] for names in chosen) >= 8


def test_the_first_is_the_best_alone():
    y, blocks = _problem()
    assert _chosen(y, blocks)[0] == "first"
    assert _chosen(y, dict(reversed(blocks.items())))[0] == "first"


@pytest.mark.parametrize("copies", [1, 3])
def test_a_duplicate_adds_nothing(copies):
    y, blocks = _problem()
    for copy in range(copies):
        blocks[f"first again {copy}"] = blocks["first"] * 3.0
        blocks[f"second again {copy}"] = blocks["second"].copy()
    chosen = _chosen(y, blocks)
    assert sorted(name.split(" again")[0] for name in chosen) == ["first", "second"]


def test_the_scale_and_width_of_a_block_do_not_matter():
    y, blocks = _problem()
    scaled = {name: X * 1000 for name, X in blocks.items()}
    padded = {name: np.hstack([X, np.zeros((len(X), 300), "f")]) for name, X in blocks.items()}
    assert _chosen(y, scaled) == _chosen(y, padded) == _chosen(y, blocks)


def test_one_candidate_and_pure_noise_give_one():
    y, blocks = _problem()
    assert _chosen(y, {"first": blocks["first"]}) == ["first"]
    assert len(_chosen(y, {"noise": blocks["noise"], "more noise": blocks["more noise"]})) == 1


def test_copies_of_items_in_one_group_are_no_evidence():
    """A block that knows each item by heart, and each item twice: only leaving both out shows that it knows nothing."""
    y, blocks = _problem(300)
    names = np.random.default_rng(5).normal(size=(300, 900)).astype("f")
    y2, blocks2 = np.repeat(y, 2), {name: np.repeat(X, 2, axis=0) for name, X in blocks.items()}
    blocks2["by heart"] = np.repeat(names, 2, axis=0)
    assert "by heart" in _chosen(y2, blocks2)
    assert sorted(_chosen(y2, blocks2, groups=np.repeat(np.arange(300), 2))) == ["first", "second"]


def test_many_rows_are_sampled_in_proportion_and_by_the_seed():
    y = np.repeat([0, 1, 2], [3 * MOST_ROWS, MOST_ROWS, 40])
    rows = fusion._sample(y, 0)
    assert len(rows) == len(set(rows.tolist())) == MOST_ROWS
    share = np.bincount(y[rows]) / MOST_ROWS
    np.testing.assert_allclose(share, np.bincount(y) / len(y), atol=2 / MOST_ROWS)
    np.testing.assert_array_equal(rows, fusion._sample(y, 0))
    assert (rows != fusion._sample(y, 1)).any()


def test_narrow_blocks_have_the_same_kernel():
    X = np.random.default_rng(0).normal(size=(12, 50)).astype("f")
    narrow = fusion._narrow(X)
    assert narrow.shape == (12, 12)
    np.testing.assert_allclose(narrow @ narrow.T, X.astype(float) @ X.T, atol=1e-4)
