"""Every closed form in scores/_linear.py against plain refits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV

from headway.errors import DataError, OptionError
from headway.linear.solve import balanced_weights, coefficients, factorise, left_out_means, loo, penalty_grid

PENALTIES = [1e-2, 1.0, 30.0]


def _data(n: int, d: int, *, classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * rng.lognormal(size=d) + rng.normal(size=d)
    return X, np.eye(classes)[rng.integers(0, classes, n)], rng.uniform(0.2, 3.0, n)


def _refit(X, Y, weights, penalty, left_out):
    """Predictions for the rows ``left_out`` by scikit-learn's ridge on all the others."""
    kept = np.setdiff1d(np.arange(len(X)), left_out)
    model = Ridge(alpha=penalty, solver="svd").fit(X[kept], Y[kept], sample_weight=weights[kept])
    return model.predict(X[left_out]).reshape(len(left_out), -1)


@pytest.mark.parametrize(("n", "d"), [(25, 6), (14, 40), (9, 9), (2, 5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_loo_is_what_refitting_without_each_item_predicts(n, d, weighted):
    X, Y, w = _data(n, d)
    w = w if weighted else np.ones(n)
    ours = loo(factorise(X, weights=w if weighted else None), Y, PENALTIES)
    for p, penalty in enumerate(PENALTIES):
        brute = np.concatenate([_refit(X, Y, w, penalty, np.array([i])) for i in range(n)])
        np.testing.assert_allclose(ours[p], brute, atol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(30, 6), (18, 40)])
def test_groups_are_left_out_whole(n, d):
    X, Y, w = _data(n, d)
    groups = np.random.default_rng(1).integers(0, 6, n) * 7 - 3
    ours = loo(factorise(X, weights=w), Y, PENALTIES, groups=groups)
    for p, penalty in enumerate(PENALTIES):
        for group in np.unique(groups):
            at = np.flatnonzero(groups == group)
            np.testing.assert_allclose(ours[p, at], _refit(X, Y, w, penalty, at), atol=1e-7)


def test_groups_of_one_are_leave_one_out():
    X, Y, w = _data(20, 30)
    factor = factorise(X, weights=w)
    np.testing.assert_allclose(
        loo(factor, Y, PENALTIES, groups=np.arange(20)), loo(factor, Y, PENALTIES), rtol=1e-9, atol=1e-12
    )


def test_left_out_means_are_what_a_fit_without_features_predicts():
    X, Y, w = _data(20, 4)
    groups = np.random.default_rng(1).integers(0, 6, 20)
    factor, empty = factorise(X, weights=w), factorise(np.zeros((20, 1)), weights=w)
    np.testing.assert_allclose(left_out_means(factor, Y), loo(empty, Y, [1.0])[0])
    expected = loo(empty, Y, [1.0], groups=groups)[0]
    np.testing.assert_allclose(left_out_means(factor, Y, groups=groups), expected)


def test_loo_error_is_ridgecv_error():
    X, Y, _ = _data(40, 12)
    oracle = RidgeCV(alphas=PENALTIES, store_cv_results=True).fit(X, Y)
    ours = (loo(factorise(X), Y, PENALTIES) - Y) ** 2
    np.testing.assert_allclose(np.moveaxis(ours, 0, -1), oracle.cv_results_, atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(25, 6), (14, 40)])
def test_coefficients_are_ridge_coefficients(n, d):
    X, Y, w = _data(n, d)
    for penalty in PENALTIES:
        W, b = coefficients(factorise(X, weights=w), Y, penalty)
        oracle = Ridge(alpha=penalty, solver="svd").fit(X, Y, sample_weight=w)
        np.testing.assert_allclose(W.T, oracle.coef_, atol=1e-8)
        np.testing.assert_allclose(b, oracle.intercept_, atol=1e-8)


def test_a_whole_weight_is_a_repeated_item():
    X, Y, _ = _data(10, 4)
    times = np.array([1, 2, 3, 1, 1, 2, 1, 1, 4, 1])
    W, b = coefficients(factorise(X, weights=times.astype(float)), Y, 2.0)
    W2, b2 = coefficients(factorise(np.repeat(X, times, axis=0)), np.repeat(Y, times, axis=0), 2.0)
    np.testing.assert_allclose(W, W2, atol=1e-10)
    np.testing.assert_allclose(b, b2, atol=1e-10)


def test_constant_and_repeated_columns_add_no_rank():
    X, _, _ = _data(30, 4)
    wide = np.hstack([X, np.full((30, 3), 1e6), X])
    assert factorise(wide).eigenvalues.shape == (4,)
    assert factorise(np.full((5, 3), 0.1)).eigenvalues.shape == (0,)
    assert factorise(X[:3] + 0 * X[:3, :1]).components.shape == (3, 2)


def test_nothing_to_learn_from_predicts_the_mean_of_the_others():
    Y = np.array([[1.0], [2.0], [6.0]])
    np.testing.assert_allclose(loo(factorise(np.ones((3, 2))), Y, [1.0])[0, :, 0], [4.0, 3.5, 1.5])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 30), d=st.integers(1, 40), scale=st.sampled_from([1e-3, 7.0, 1e4]))
def test_scaling_features_by_a_constant_changes_nothing(seed, n, d, scale):
    X, Y, w = _data(n, d, seed=seed)
    a, b = factorise(X, weights=w), factorise(scale * X + 3.0, weights=w)
    np.testing.assert_allclose(loo(a, Y, penalty_grid(a)), loo(b, Y, penalty_grid(b)), atol=1e-4)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.array([4, 4, 9, 4, 0, 9, 4])
    np.testing.assert_allclose(balanced_weights(y), compute_sample_weight("balanced", y))


@pytest.mark.parametrize("X", [np.zeros(3), np.zeros((1, 3)), np.array([[0.0], [np.nan]]), np.array([[np.inf], [0.0]])])
def test_what_cannot_be_factorised_is_refused(X):
    with pytest.raises(DataError, match="finite matrix"):
        factorise(X)


@pytest.mark.parametrize("weights", [np.array([1.0, 0.0]), np.array([1.0, np.nan]), np.ones(3)])
def test_weights_are_checked(weights):
    with pytest.raises(DataError, match="weights"):
        factorise(np.eye(2), weights=weights)


@pytest.mark.parametrize("penalties", [[0.0], [1.0, -1.0], [np.nan], [np.inf]])
def test_penalties_are_checked(penalties):
    with pytest.raises(OptionError, match="penalty"):
        loo(factorise(np.eye(3)), np.eye(3), penalties)


def test_one_group_is_refused():
    with pytest.raises(DataError, match="one group"):
        loo(factorise(np.eye(3)), np.eye(3), [1.0], groups=np.zeros(3, int))


def test_one_factorisation_serves_every_penalty_and_target(monkeypatch):
    X, Y, w = _data(40, 12)
    factor = factorise(X, weights=w)
    grid = penalty_grid(factor, count=30)

    def no_more(*_, **__):
        raise AssertionError("a second factorisation")

    for name in ("eigh", "svd", "solve", "inv", "cholesky", "qr", "lstsq"):
        monkeypatch.setattr(np.linalg, name, no_more)
    assert loo(factor, Y, grid).shape == (30, 40, 3)
    assert coefficients(factor, Y, grid[0])[0].shape == (12, 3)
