"""Probes on labels and on numbers: against scikit-learn, against refits, and against what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from headway import plugins
from headway.errors import DataError
from headway.linear.head import answers, linear_scores, standardise
from headway.types import Features

FEW = settings(max_examples=6, deadline=None)


def labelled(n=80, d=10, C=4, *, apart=1.5, folds=4, seed=0):
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, C)) < np.linspace(0.15, 0.6, C)).astype(np.int64)
    Y[0], Y[1] = 1, 0
    X = rng.normal(size=(n, d)) + apart * Y @ rng.normal(size=(C, d))
    return Features(
        X=X.astype(np.float32), y=Y, classes=C, blocks=(d // 2, d - d // 2), folds=rng.permutation(n) % folds
    )


def numbers(n=80, d=10, *, noise=0.5, folds=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    y = 40 + 3 * (X @ rng.normal(size=d) + noise * rng.normal(size=n))
    return Features(X=X, y=y, classes=1, blocks=(d // 2, d - d // 2), folds=rng.permutation(n) % folds)


MADE = {"sigmoid": labelled, "identity": numbers}
PAIRS = [
    (name, link)
    for name in plugins.names("adapt")
    for link in getattr(plugins.load("adapt", name), "LINKS", ())
    if link != "softmax"
]
EVERY = pytest.mark.parametrize(("name", "link"), PAIRS)


def fit(name, features, seed=0):
    return plugins.load("adapt", name).METHOD.fit(features, seed=seed)


def test_every_frozen_probe_says_what_it_learns():
    assert set(PAIRS) == {
        ("ridge", "sigmoid"),
        ("ridge", "identity"),
        ("logistic", "sigmoid"),
        ("prior", "sigmoid"),
        ("prior", "identity"),
    }


@EVERY
@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("d", [1, 10, 120])
def test_it_gives_a_head_and_a_score_for_every_row(name, link, d, folds):
    features = MADE[link](d=d)
    if d == 1:
        features = replace(features, blocks=(1,))
    if not folds:
        features = replace(features, folds=None)
    found = fit(name, features)
    C = features.classes
    assert found.head.link == link
    assert (found.head.weight.shape, found.head.bias.shape, found.out_of_fold.shape) == ((d, C), (C,), (80, C))
    assert {a.dtype for a in (found.head.weight, found.head.bias, found.out_of_fold)} == {np.dtype("f")}
    assert np.isfinite(found.out_of_fold).all() and np.isfinite(linear_scores(found.head, features.X)).all()


@EVERY
@FEW
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_and_of_labels_does_not_matter(name, link, seed):
    features = MADE[link](seed=seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(80), rng.permutation(features.classes)
    y = features.y[rows][:, columns] if link == "sigmoid" else features.y[rows]
    turned = replace(features, X=features.X[rows], y=y, folds=features.folds[rows])
    plain, other = fit(name, features), fit(name, turned)
    scale = np.abs(plain.out_of_fold).max()
    np.testing.assert_allclose(other.out_of_fold, plain.out_of_fold[rows][:, columns], atol=2e-3 * scale)
    said = linear_scores(plain.head, features.X)[:, columns]
    np.testing.assert_allclose(linear_scores(other.head, features.X), said, atol=2e-3 * scale)


@FEW
@given(seed=st.integers(0, 1000), unit=st.sampled_from([1e-6, 0.5, -3.0, 1e5]), zero=st.sampled_from([-1e4, 0.0, 7.0]))
@pytest.mark.parametrize("name", ["ridge", "prior"])
def test_the_unit_and_the_zero_of_numbers_do_not_matter(name, seed, unit, zero):
    features = numbers(seed=seed)
    plain, moved = fit(name, features), fit(name, replace(features, y=unit * features.y + zero))
    atol = 1e-4 * abs(unit) * np.abs(features.y).max() + 1e-6 * abs(zero)
    np.testing.assert_allclose(moved.out_of_fold, unit * plain.out_of_fold + zero, atol=atol)
    said = unit * linear_scores(plain.head, features.X) + zero
    np.testing.assert_allclose(linear_scores(moved.head, features.X), said, atol=atol)
    assert moved.params == pytest.approx(plain.params)


@pytest.mark.parametrize("link", ["sigmoid", "identity"])
def test_ridge_is_scikit_learns(link):
    """The head, and the out-of-fold scores by refits without the fold, at the penalty that was chosen."""
    features = MADE[link]()
    found = fit("ridge", features)
    Z, _, _ = standardise(features.X, features.blocks, weights=np.ones(80))
    target = (2.0 * features.y - 1 if link == "sigmoid" else features.y).reshape(80, -1)
    peer = Ridge(alpha=found.params["penalty"]).fit(Z.astype(float), target)
    said = peer.predict(Z).reshape(80, -1)
    np.testing.assert_allclose(linear_scores(found.head, features.X), said, rtol=1e-3, atol=1e-3)
    for fold in range(4):
        seen, left = features.folds != fold, features.folds == fold
        refit = Ridge(alpha=found.params["penalty"]).fit(Z[seen].astype(float), target[seen])
        expected = refit.predict(Z[left]).reshape(left.sum(), -1)
        if link == "sigmoid":  # labels have the others' mean taken off and that of all put in
            expected = expected - target[seen].mean(0) + target.mean(0)
        np.testing.assert_allclose(found.out_of_fold[left], expected, rtol=1e-3, atol=1e-3)


def test_ridge_chooses_the_penalty_that_leaves_out_best():
    noisy, clear = numbers(d=60, noise=20.0), numbers(d=10, noise=0.01)
    assert fit("ridge", noisy).params["penalty"] > 20 * fit("ridge", clear).params["penalty"]


def test_logistic_is_scikit_learns_one_label_at_a_time():
    features = labelled()
    found = fit("logistic", features)
    Z, _, _ = standardise(features.X, features.blocks, weights=np.ones(80))
    for c in range(4):
        peer = LogisticRegression(C=1 / found.params["penalty"], tol=1e-10, max_iter=5000).fit(Z, features.y[:, c])
        said = peer.decision_function(Z.astype(float))
        np.testing.assert_allclose(linear_scores(found.head, features.X)[:, c], said, rtol=2e-3, atol=5e-3)


def test_the_prior_says_how_often_and_the_mean():
    features = labelled()
    head = fit("prior", features).head
    said = answers(head, linear_scores(head, features.X))[0]
    np.testing.assert_allclose(said, (features.y.sum(0) + 0.5) / 81, rtol=1e-5)
    features = numbers()
    found = fit("prior", features)
    assert found.head.bias[0] == pytest.approx(features.y.mean(), rel=1e-6)
    assert found.out_of_fold[0, 0] == pytest.approx(features.y[features.folds != features.folds[0]].mean(), rel=1e-6)


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_labels_are_learnt_where_there_is_something_and_not_where_not(name):
    from sklearn.metrics import average_precision_score

    clear = labelled(150, 20, apart=2.0)
    assert average_precision_score(clear.y, fit(name, clear).out_of_fold) > 0.85
    found = []
    for seed in range(6):
        noise = labelled(150, 60, apart=0.0, seed=seed)
        found.append(average_precision_score(noise.y, fit(name, noise).out_of_fold) - noise.y.mean())
    assert np.mean(found) == pytest.approx(0, abs=0.05)


def test_numbers_are_learnt_where_there_is_something_and_not_where_not():
    from sklearn.metrics import r2_score

    clear = numbers(150, 20)
    assert r2_score(clear.y, fit("ridge", clear).out_of_fold[:, 0]) > 0.9
    rng = np.random.default_rng(0)
    noise = replace(clear, y=rng.permutation(clear.y))
    assert -0.2 < r2_score(noise.y, fit("ridge", noise).out_of_fold[:, 0]) < 0.05


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_a_label_that_never_changes_is_no_trouble(name):
    features = labelled()
    Y = features.y.copy()
    Y[:, 0], Y[:, 1] = 0, 1
    found = fit(name, replace(features, y=Y))
    said = answers(found.head, linear_scores(found.head, features.X))
    assert np.isfinite(found.out_of_fold).all()
    assert (said[:, 0] < 0.5).all() and (said[:, 1] > 0.5).all()


def test_prototypes_are_of_classes_only():
    for features in (labelled(), numbers()):
        with pytest.raises(DataError, match="one class an item"):
            fit("prototype", features)
