"""Splits of labels and of numbers: everything in proportion, and units whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.data.read import read
from headway.data.split import split
from headway.features.embed import even_order

FEW = settings(max_examples=15, deadline=None)


def _data(y, *, groups=None):
    from dataclasses import replace

    rng = np.random.default_rng(0)
    n = len(y)
    dataset = read(
        (rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8), y), task="auto" if y.ndim == 2 else "regression"
    )
    return dataset if groups is None else replace(dataset, groups=groups)


def _labels(seed, n, C=6):
    """Labels of very different frequency, some of which go together."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, C)) < np.geomspace(0.03, 0.5, C)).astype(np.int64)
    Y[:, 1] |= Y[:, 2] & (rng.random(n) < 0.7)
    Y[0], Y[1] = 1, 0
    return Y


@FEW
@given(st.integers(0, 1000), st.integers(60, 300))
def test_every_label_is_in_proportion_in_test_and_folds(seed, n):
    Y = _labels(seed, n)
    found = split(_data(Y), seed=seed)
    assert sorted([*found.train, *found.test]) == list(range(n))
    share = len(found.test) / n
    assert share == pytest.approx(0.25, abs=0.05)
    counts = Y.sum(0)
    for c in np.flatnonzero(counts >= 2):
        assert 1 <= Y[found.test, c].sum() < counts[c]
    held = np.array([Y[rows].sum(0) for _, rows in found.folds])
    own = Y[found.train].sum(0)
    assert (held.sum(0) == own).all()
    spread = held.max(0) - held.min(0)
    chance = np.sqrt(own / 5)  # about what drawing folds blindly would give
    assert spread[own > 0].mean() < 1.5 * chance[own > 0].mean()
    assert (held[:, own >= 15] >= 1).all()


def test_labels_are_nearer_to_their_share_than_by_chance():
    off, blind = [], []
    for seed in range(20):
        Y = _labels(seed, 200)
        test = split(_data(Y), seed=seed).test
        drawn = np.random.default_rng(seed).permutation(200)[: len(test)]
        wanted = Y.mean(0) * len(test)
        off.append(np.abs(Y[test].sum(0) - wanted).mean())
        blind.append(np.abs(Y[drawn].sum(0) - wanted).mean())
    assert np.mean(off) < 0.5 * np.mean(blind)


@FEW
@given(st.integers(0, 1000), st.integers(30, 200))
def test_ranges_of_numbers_are_in_proportion(seed, n):
    y = np.random.default_rng(seed).lognormal(size=n)
    found = split(_data(y), seed=seed)
    assert len(found.test) / n == pytest.approx(0.25, abs=0.12)
    # Each fifth of the numbers has its share of the test set, far closer than chance (about 2 items at n = 100).
    fifths = np.digitize(y, np.quantile(y, [0.2, 0.4, 0.6, 0.8]))
    counts = np.bincount(fifths[found.test], minlength=5)
    assert counts.max() - counts.min() <= 4
    for _, rows in found.folds:  # each has one of every range, and with 30 numbers there are three ranges
        assert y[rows].min() <= np.quantile(y, 0.34) and y[rows].max() >= np.quantile(y, 0.66)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_groups_stay_whole(kind):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 25, 150)
    y = _labels(0, 150) if kind == "labels" else rng.normal(size=150)
    found = split(_data(y, groups=groups), seed=0)
    sides = [set(groups[found.train]), set(groups[found.test])]
    assert not sides[0] & sides[1] and len(found.test) > 10
    for fit, held in found.folds:
        assert not set(groups[fit]) & set(groups[held])


def test_the_order_of_embedding_begins_with_everything():
    Y = _labels(0, 200)
    order = even_order(_data(Y), seed=0)
    assert sorted(order) == list(range(200))
    assert np.abs(Y[order[:50]].mean(0) - Y.mean(0)).max() < 0.08
    y = np.random.default_rng(0).normal(size=200)
    first = y[even_order(_data(y), seed=0)[:40]]
    np.testing.assert_allclose(np.quantile(first, [0.1, 0.5, 0.9]), np.quantile(y, [0.1, 0.5, 0.9]), atol=0.25)
