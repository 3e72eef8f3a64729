"""The ridge probe against scikit-learn's ridge, refitted without each fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from headway.adapt.ridge import fit
from headway.linear.head import linear_scores, standardise
from headway.linear.solve import balanced_weights, factorise, penalty_grid

SHAPES = [(60, 12, 3), (30, 80, 3), (40, 10, 2), (24, 24, 6)]


def _parts(features):
    weights = balanced_weights(features.y)
    Z, *_ = standardise(features.X, features.blocks, weights=weights)
    return Z.astype(np.float64), 2.0 * np.eye(features.classes)[features.y] - 1, weights


def _left_out(features, penalty, together):
    """Refit without each unit, less the mean target of the rest, which leans away from the class left out."""
    Z, Y, weights = _parts(features)
    out = np.empty_like(Y)
    for unit in np.unique(together):
        mine, rest = together == unit, together != unit
        model = Ridge(alpha=penalty, solver="svd").fit(Z[rest], Y[rest], sample_weight=weights[rest])
        out[mine] = model.predict(Z[mine]) - np.average(Y[rest], axis=0, weights=weights[rest])
    return out


@pytest.mark.parametrize(("n", "d", "classes"), SHAPES)
def test_out_of_fold_is_a_refit_without_the_fold(n, d, classes, make):
    features = make(n, d, classes)
    found = fit(features, seed=0)
    expected = _left_out(features, found.params["penalty"], features.folds)
    np.testing.assert_allclose(found.out_of_fold, expected, atol=1e-4)


def test_without_folds_it_is_leave_one_out_or_leave_group_out(make):
    features = make(folds=None)
    found = fit(features, seed=0)
    expected = _left_out(features, found.params["penalty"], np.arange(60))
    np.testing.assert_allclose(found.out_of_fold, expected, atol=1e-4)
    groups = np.random.default_rng(0).integers(0, 20, 60)
    grouped = replace(features, groups=groups)
    found = fit(grouped, seed=0)
    np.testing.assert_allclose(found.out_of_fold, _left_out(grouped, found.params["penalty"], groups), atol=1e-4)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_penalty_has_the_least_balanced_squared_error_of_leaving_out(grouped, make):
    features = make(40, 30, apart=0.6, seed=6)
    rare = (features.y == 0) | (np.arange(40) % 4 == 0)  # uneven classes: the weights of the errors matter
    features = replace(features, y=np.where(rare, features.y, 2))
    together = np.random.default_rng(0).integers(0, 12, 40) if grouped else np.arange(40)
    if grouped:
        features = replace(features, groups=together)
    Z, Y, weights = _parts(features)
    grid = penalty_grid(factorise(Z, weights=weights))
    errors = []
    for penalty in grid:
        out = np.empty_like(Y)
        for unit in np.unique(together):
            rest = together != unit
            model = Ridge(alpha=penalty, solver="svd").fit(Z[rest], Y[rest], sample_weight=weights[rest])
            out[~rest] = model.predict(Z[~rest])
        errors.append(weights @ ((out - Y) ** 2).sum(1))
    assert fit(features, seed=0).params["penalty"] == pytest.approx(grid[int(np.argmin(errors))])


@pytest.mark.parametrize(("n", "d", "classes"), SHAPES)
def test_the_head_is_the_fit_on_all_rows(n, d, classes, make):
    features = make(n, d, classes)
    found = fit(features, seed=0)
    Z, Y, weights = _parts(features)
    model = Ridge(alpha=found.params["penalty"], solver="svd").fit(Z, Y, sample_weight=weights)
    np.testing.assert_allclose(linear_scores(found.head, features.X), model.predict(Z), atol=1e-3)


def test_rows_outside_all_folds_are_learnt_from(make):
    """A validation part of the user's own is one fold, and what is in none is training only."""
    features = make()
    folds = np.where(features.folds == 0, 0, -1)
    found = fit(replace(features, folds=folds), seed=0)
    expected = _left_out(features, found.params["penalty"], folds)
    np.testing.assert_allclose(found.out_of_fold[folds == 0], expected[folds == 0], atol=1e-4)
