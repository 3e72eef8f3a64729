"""The logistic probe against scikit-learn's, at the same penalty, weights and folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from headway.adapt import logistic
from headway.adapt.logistic import PENALTIES, fit
from headway.linear.head import linear_scores, probabilities, standardise
from headway.linear.solve import balanced_weights

ROUGH = 0.02  # of a probability, out of fold, where penalties are compared
SHAPES = [(90, 12, 3), (40, 100, 3), (60, 10, 2), (150, 8, 6)]


def _Z(features):
    return standardise(features.X, features.blocks, weights=balanced_weights(features.y))[0].astype(np.float64)


def _oracle(Z, y, penalty):
    # With two classes scikit-learn has one column where we have two that mirror each other: half the penalty.
    halves = 2.0 if len(np.unique(y)) == 2 else 1.0
    model = LogisticRegression(C=halves / penalty, solver="newton-cholesky", tol=1e-8)
    return model.fit(Z, y, sample_weight=balanced_weights(y))


@pytest.mark.parametrize(("n", "d", "classes"), SHAPES)
@pytest.mark.parametrize("penalty", [PENALTIES[0], PENALTIES[4], PENALTIES[-1]])
def test_each_penalty_gives_scikit_learns_probabilities(penalty, n, d, classes, make, monkeypatch):
    monkeypatch.setattr(logistic, "PENALTIES", np.array([penalty]))
    monkeypatch.setattr(logistic, "ROUGHLY", logistic.EXACTLY)
    features = make(n, d, classes)
    found, Z = fit(features, seed=0), _Z(features)
    assert found.params == {"penalty": pytest.approx(penalty)}
    ours = probabilities(linear_scores(found.head, features.X))
    np.testing.assert_allclose(ours, _oracle(Z, features.y, penalty).predict_proba(Z), atol=1e-3)
    for fold in range(4):
        left = features.folds == fold
        model = _oracle(Z[~left], features.y[~left], penalty)
        P = probabilities(found.out_of_fold[left])
        np.testing.assert_allclose(P[:, model.classes_], model.predict_proba(Z[left]), atol=1e-3)


def test_the_whole_path_ends_where_each_penalty_alone_does(make):
    features = make(90, 12, 3, apart=0.4)
    found, Z = fit(features, seed=0), _Z(features)
    ours = probabilities(linear_scores(found.head, features.X))
    np.testing.assert_allclose(ours, _oracle(Z, features.y, found.params["penalty"]).predict_proba(Z), atol=1e-3)


def test_rough_out_of_fold_scores_say_the_same_as_exact_ones(make, monkeypatch):
    for seed in range(4):
        features = make(90, 40, 3, apart=0.5, seed=seed)
        rough = fit(features, seed=0)
        with monkeypatch.context() as patch:
            patch.setattr(logistic, "ROUGHLY", logistic.EXACTLY)
            exact = fit(features, seed=0)
        assert rough.params == exact.params
        found, expected = probabilities(rough.out_of_fold), probabilities(exact.out_of_fold)
        np.testing.assert_allclose(found, expected, atol=ROUGH)


def test_the_penalty_has_the_least_balanced_log_loss_over_the_folds(make):
    features = make(80, 30, apart=0.5)
    Z, weights, losses = _Z(features), balanced_weights(features.y), []
    for penalty in PENALTIES:
        total = 0.0
        for fold in range(4):
            left = features.folds == fold
            P = _oracle(Z[~left], features.y[~left], penalty).predict_proba(Z[left])
            total -= weights[left] @ np.log(P[np.arange(left.sum()), features.y[left]])
        losses.append(total)
    assert fit(features, seed=0).params["penalty"] == pytest.approx(PENALTIES[int(np.argmin(losses))])


def test_rows_outside_all_folds_are_learnt_from_and_not_scored(make):
    features = make()
    folds = np.where(features.folds == 0, 0, -1)
    found, Z = fit(replace(features, folds=folds), seed=0), _Z(features)
    model = _oracle(Z[folds < 0], features.y[folds < 0], found.params["penalty"])
    np.testing.assert_allclose(
        probabilities(found.out_of_fold[folds == 0]), model.predict_proba(Z[folds == 0]), atol=ROUGH
    )


def test_its_own_folds_keep_groups_whole_and_spread_classes(make):
    features = make(100, 6, 2, folds=None)
    features = replace(features, groups=np.arange(100) // 3)
    folds = logistic._folds(features, 0)
    assert all(len(set(folds[features.groups == g].tolist())) == 1 for g in range(34))
    assert sorted(set(folds.tolist())) == list(range(5))
    single = logistic._folds(replace(features, groups=None), 0)
    for c in (0, 1):
        counts = np.bincount(single[features.y == c], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_separable_classes_are_no_trouble(make):
    found = fit(make(apart=50.0), seed=0)
    assert np.isfinite(found.out_of_fold).all()
    assert np.isfinite(found.head.weight).all()
