"""How features are normalised and a head applied, against the formulas in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from headway.linear.head import blend, linear_scores, probabilities, standardise, unit_blocks
from headway.types import LinearHead

BLOCKS = (3, 1, 5)


def _X(n=20, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 9)) * rng.lognormal(0, 2, 9) + rng.normal(size=9)).astype(np.float32)


def _columns(X):
    return np.split(X, np.cumsum(BLOCKS)[:-1], axis=1)


def test_each_block_of_each_row_has_length_one():
    X = _X()
    for before, after in zip(_columns(X), _columns(unit_blocks(X, BLOCKS)), strict=True):
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(after * np.linalg.norm(before, axis=1, keepdims=True), before, rtol=1e-4)


def test_a_zero_block_stays_zero_and_the_input_as_it_is():
    X = _X()
    X[4, :3] = 0
    kept = X.copy()
    assert (unit_blocks(X, BLOCKS)[4, :3] == 0).all()
    standardise(X, BLOCKS, weights=np.ones(20))
    np.testing.assert_array_equal(X, kept)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([1e-3, 8.0, 1e5]))
def test_the_scale_of_a_block_does_not_matter(seed, factor):
    X = _X(seed=seed)
    scaled = X.copy()
    scaled[:, 4:] *= factor
    weights = np.random.default_rng(seed).uniform(0.1, 2, 20)
    plain, other = (standardise(x, BLOCKS, weights=weights)[0] for x in (X, scaled))
    np.testing.assert_allclose(plain, other, atol=1e-4)


def test_blocks_are_centred_and_have_one_unit_of_variance_each():
    X, weights = _X(), np.random.default_rng(1).uniform(0.1, 2, 20)
    Z, mean, scale = standardise(X, BLOCKS, weights=weights)
    share = weights / weights.sum()
    np.testing.assert_allclose(share @ Z, 0, atol=1e-5)
    for block in _columns(Z):
        # A block of one column is 1 or -1 once it has length 1, so it may be constant.
        variance = float(share @ (block.astype(float) ** 2).sum(1))
        assert variance == pytest.approx(1.0, rel=1e-4) or np.allclose(block, 0, atol=1e-3)
    np.testing.assert_allclose(Z, (unit_blocks(X, BLOCKS) - mean) / scale, rtol=1e-6)


def test_a_head_is_its_formula():
    X, rng = _X(), np.random.default_rng(2)
    head = LinearHead(
        blocks=BLOCKS,
        unit_blocks=True,
        mean=rng.normal(size=9).astype(np.float32),
        scale=rng.uniform(0.5, 2, 9).astype(np.float32),
        weight=rng.normal(size=(9, 4)).astype(np.float32),
        bias=rng.normal(size=4).astype(np.float32),
    )
    units = [block.astype(float) / np.linalg.norm(block.astype(float), axis=1, keepdims=True) for block in _columns(X)]
    expected = (np.hstack(units) - head.mean) / head.scale @ head.weight + head.bias
    np.testing.assert_allclose(linear_scores(head, X), expected, atol=1e-4)
    plain = LinearHead(
        blocks=BLOCKS, unit_blocks=False, mean=head.mean, scale=head.scale, weight=head.weight, bias=head.bias
    )
    expected = (X - head.mean) / head.scale @ head.weight + head.bias
    np.testing.assert_allclose(linear_scores(plain, X), expected, rtol=1e-3, atol=1e-3)


def test_a_head_without_features_is_its_bias():
    empty = np.zeros(0, np.float32)
    head = LinearHead(
        blocks=(), unit_blocks=False, mean=empty, scale=empty, weight=np.zeros((0, 2), np.float32), bias=np.ones(2, "f")
    )
    np.testing.assert_array_equal(linear_scores(head, np.zeros((3, 0), np.float32)), np.ones((3, 2)))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_probabilities_are_softmax(temperature):
    scores = np.random.default_rng(0).normal(size=(30, 5)) * 20
    found = probabilities(scores, temperature=temperature)
    np.testing.assert_allclose(found, softmax(scores / temperature, axis=1), rtol=1e-12)
    assert np.isfinite(probabilities(np.array([[1e6, -1e6, 0.0]]), temperature=temperature)).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_blend_is_the_weighted_sum_of_both_sides_scores_at_their_temperatures(share):
    rng = np.random.default_rng(0)

    def head(blocks, unit, temperature):
        d = sum(blocks)
        arrays = {name: rng.normal(size=d).astype("f") for name in ("mean", "scale")}
        weight, bias = rng.normal(size=(d, 3)).astype("f"), rng.normal(size=3).astype("f")
        return LinearHead(blocks=blocks, unit_blocks=unit, **arrays, weight=weight, bias=bias, temperature=temperature)

    first, second = head((4, 2), True, 0.2), head((5,), False, 3.0)
    X = rng.normal(size=(7, 11)).astype("f")
    found = blend(first, second, share)
    expected = (1 - share) * linear_scores(first, X[:, :6]) / 0.2 + share * linear_scores(second, X[:, 6:]) / 3.0
    np.testing.assert_allclose(linear_scores(found, X), expected, rtol=1e-4, atol=1e-4)
    again = blend(found, second, 0.5)  # a blend can be blended
    both = np.concatenate([X, X[:, 6:]], axis=1)
    np.testing.assert_allclose(
        linear_scores(again, both), 0.5 * expected + 0.5 * linear_scores(second, X[:, 6:]) / 3.0, rtol=1e-4, atol=1e-4
    )
