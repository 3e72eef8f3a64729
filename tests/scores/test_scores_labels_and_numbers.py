"""Scores on labels and on numbers: against scikit-learn's refits, and against what must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.metrics import average_precision_score, r2_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from headway import plugins
from headway.errors import DataError
from headway.linear.solve import factorise, penalty_grid
from headway.scores import logme, loo_knn, loo_ridge

FEW = settings(max_examples=8, deadline=None)
SUITED = ("logme", "loo_knn", "loo_ridge")


def _problem(kind, seed=0, n=40, d=6):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    S = X @ rng.normal(size=(d, 3)) + rng.normal(size=(n, 3))
    return X, (S > [0.0, 1.0, -0.5]).astype(np.int64) if kind == "labels" else 10 + 2 * S[:, 0]


KINDS = pytest.mark.parametrize("kind", ["labels", "numbers"])
EVERY = pytest.mark.parametrize("name", SUITED)


def _score(name, X, y):
    return plugins.load("scores", name).score(X, y)


def test_which_scores_suit_labels_and_numbers():
    for name in plugins.names("scores"):
        links = getattr(plugins.load("scores", name), "LINKS", ("softmax",))
        assert links == (("softmax", "sigmoid", "identity") if name in SUITED else ("softmax",))


@pytest.mark.parametrize("name", sorted(set(plugins.names("scores")) - set(SUITED)))
@KINDS
def test_a_score_of_classes_refuses_other_targets_in_words(name, kind):
    with pytest.raises(DataError, match="one class an item"):
        _score(name, *_problem(kind))


@EVERY
@KINDS
@FEW
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_and_labels_does_not_matter(name, kind, seed):
    X, y = _problem(kind, seed)
    order = np.random.default_rng(seed).permutation(40)
    turned = y[order][:, [2, 0, 1]] if kind == "labels" else y[order]
    assert _score(name, X[order], turned) == pytest.approx(_score(name, X, y), rel=1e-9)


@EVERY
@FEW
@given(seed=st.integers(0, 1000), unit=st.sampled_from([1e-3, 8.0, 1e4]), zero=st.sampled_from([-50.0, 0.0]))
def test_the_unit_and_the_zero_of_numbers_do_not_matter(name, seed, unit, zero):
    X, y = _problem("numbers", seed)
    assert _score(name, X, unit * y + zero) == pytest.approx(_score(name, X, y), rel=1e-6)


@EVERY
@KINDS
def test_features_that_say_more_score_more(name, kind):
    X, y = _problem(kind, n=120)
    noise = np.random.default_rng(1).normal(size=X.shape)
    assert _score(name, X, y) > _score(name, noise, y)


def test_left_out_numbers_are_scikit_learns():
    X, y = _problem("numbers")
    best = max(
        r2_score(y, cross_val_predict(Ridge(alpha=alpha), X, y, cv=LeaveOneOut()))
        for alpha in penalty_grid(factorise(X))
    )
    assert loo_ridge.score(X, y) == pytest.approx(best, rel=1e-9)


def test_left_out_labels_are_scikit_learns():
    X, Y = _problem("labels")
    Z = (Y - Y.mean(0)) / Y.std(0)
    tried = {
        alpha: cross_val_predict(Ridge(alpha=alpha), X, Z, cv=LeaveOneOut()) for alpha in penalty_grid(factorise(X))
    }
    best = min(tried.values(), key=lambda said: ((said - Z) ** 2).sum())
    left = (Z.sum(0) - Z) / 39
    assert loo_ridge.score(X, Y) == pytest.approx(average_precision_score(Y, best - left), rel=1e-9)


@KINDS
def test_neighbours_are_scikit_learns(kind):
    X, y = _problem(kind)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    found = []
    for k in loo_knn.NEIGHBOURS:
        said = cross_val_predict(KNeighborsRegressor(k, metric="cosine"), unit, y.astype(float), cv=LeaveOneOut())
        found.append(average_precision_score(y, said) if kind == "labels" else r2_score(y, said))
    assert loo_knn.score(X, y) == pytest.approx(max(found), rel=1e-9)


def test_evidence_of_numbers_is_scikit_learns():
    X, y = _problem("numbers", n=80)
    target = (y - y.mean()) / y.std()
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    peer = BayesianRidge(compute_score=True, fit_intercept=False, max_iter=5000, tol=1e-12, **flat).fit(X, target)
    assert logme.score(X, y) == pytest.approx(peer.scores_[-1] / 80, rel=1e-6)


def test_evidence_of_labels_is_the_mean_over_those_that_change():
    X, Y = _problem("labels")
    never = np.hstack([Y, np.zeros((40, 1), np.int64)])
    assert logme.score(X, never) == pytest.approx(logme.score(X, Y), rel=1e-12)
    alone = [logme.score(X, Y[:, [c]]) for c in range(3)]
    assert logme.score(X, Y) == pytest.approx(np.mean(alone), rel=1e-9)


@EVERY
@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (np.eye(3), np.ones(3), "never change"),
        (np.eye(3), np.ones((3, 2), int), "never change"),
        (np.eye(3), np.array([0.0, np.nan, 1.0]), "finite"),
        (np.array([[0.0], [np.nan], [1.0]]), np.array([0.0, 1.0, 2.0]), "row 1"),
        (np.eye(3), np.zeros((2, 2), int), "length"),
    ],
)
def test_bad_data_is_refused_in_words(name, X, y, says):
    with pytest.raises(DataError, match=says):
        _score(name, X, y)


def test_copies_and_groups_do_not_vouch_for_each_other():
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(30, 60)), 2, axis=0), np.repeat(rng.normal(size=30), 2)
    X += 1e-3 * rng.normal(size=X.shape)
    groups = np.repeat(np.arange(30), 2)
    assert loo_knn.score(X, y) > 0.9 > 0.2 > loo_knn.score(X, y, groups=groups)
    alone = r2_score(y, loo_ridge.left_out_scores(X, y)[:, 0])
    apart = r2_score(y, loo_ridge.left_out_scores(X, y, groups=groups)[:, 0])
    assert alone > 0.9 > 0.2 > apart
