"""What holds for every adaptation method that learns on features. A new file under adapt/ is tested here without an
edit but its count; the methods that tune a network have theirs in test_tuning_contract.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import plugins
from headway.linear.head import linear_scores
from headway.types import Features, Method

METHODS = tuple(n for n in plugins.names("adapt") if plugins.load("adapt", n).METHOD.works_on == "features")
LEARNS = [name for name in METHODS if name != "prior"]  # the prior is what the others are measured against
EVERY = pytest.mark.parametrize("name", METHODS)
EVERY_LEARNER = pytest.mark.parametrize("name", LEARNS)
FEW = settings(max_examples=8, deadline=None)
PROBLEMS = {
    "more items than columns": {"n": 60, "d": 6},
    "more columns than items": {"n": 20, "d": 90},
    "two classes": {"n": 30, "d": 8, "classes": 2},
    "many classes": {"n": 60, "d": 8, "classes": 20},
    "every class of one item": {"n": 8, "d": 5, "classes": 8, "folds": 4},
    "no folds": {"n": 40, "d": 8, "folds": None},
    "one column": {"n": 40, "d": 1},
}


def _features(n=60, d=12, classes=3, *, apart=1.0, folds=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    X = (rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[y]).astype(np.float32)
    blocks = (d // 2, d - d // 2) if d > 1 else (d,)
    return Features(
        X=X, y=y, classes=classes, blocks=blocks, folds=None if folds is None else rng.permutation(n) % folds
    )


def _method(name) -> Method:
    return plugins.load("adapt", name).METHOD


def _fit(name, features, seed=0):
    return _method(name).fit(features, seed=seed)


def _balanced_accuracy(scores, y):
    return float(np.mean([(scores[y == c].argmax(1) == c).mean() for c in np.unique(y)]))


def test_these_are_the_methods_we_know():
    assert METHODS == ("logistic", "prior", "prototype", "ridge")


@EVERY
def test_it_says_what_it_is(name):
    method = _method(name)
    assert (method.name, method.works_on) == (name, "features")
    assert len(method.reference) > 20


@EVERY
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_it_gives_a_head_and_a_score_for_every_row(name, problem):
    features = _features(**problem)
    n, d, classes = len(features.y), features.X.shape[1], features.classes
    kept = features.X.copy()
    found = _fit(name, features)
    np.testing.assert_array_equal(features.X, kept)
    head = found.head
    assert (head.weight.shape, head.bias.shape, head.mean.shape, head.scale.shape) == (
        (d, classes),
        (classes,),
        (d,),
        (d,),
    )
    assert {part.dtype for part in (head.weight, head.bias, head.mean, head.scale, found.out_of_fold)} == {
        np.dtype("f")
    }
    assert found.out_of_fold.shape == (n, classes)
    assert all(np.isfinite(part).all() for part in (head.weight, head.bias, head.mean, found.out_of_fold))
    assert (head.scale > 0).all()
    assert np.isfinite(linear_scores(head, features.X)).all()
    assert all(isinstance(value, float | int | str | bool) for value in found.params.values())


@EVERY
def test_the_same_seed_gives_the_same_bits(name):
    features = _features(folds=None)
    first, again = (_fit(name, features, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.out_of_fold, again.out_of_fold)
    np.testing.assert_array_equal(first.head.weight, again.head.weight)
    assert first.params == again.params


@EVERY
@FEW
@given(seed=st.integers(0, 1000))
def test_names_of_classes_do_not_matter(name, seed):
    features = _features(seed=seed)
    new = np.random.default_rng(seed).permutation(features.classes)
    plain, renamed = _fit(name, features), _fit(name, replace(features, y=new[features.y]))
    np.testing.assert_allclose(renamed.out_of_fold[:, new], plain.out_of_fold, atol=3e-3)
    found = linear_scores(renamed.head, features.X)[:, new]
    np.testing.assert_allclose(found, linear_scores(plain.head, features.X), atol=3e-3)


@EVERY
@FEW
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(name, seed):
    features = _features(seed=seed)
    order = np.random.default_rng(seed).permutation(len(features.y))
    turned = replace(features, X=features.X[order], y=features.y[order], folds=features.folds[order])
    plain, other = _fit(name, features), _fit(name, turned)
    np.testing.assert_allclose(other.out_of_fold, plain.out_of_fold[order], atol=3e-3)
    found = linear_scores(other.head, features.X)
    np.testing.assert_allclose(found, linear_scores(plain.head, features.X), atol=3e-3)


@EVERY
def test_the_scale_of_the_features_does_not_matter(name):
    features = _features()
    plain, scaled = _fit(name, features), _fit(name, replace(features, X=features.X * 1000))
    np.testing.assert_allclose(scaled.out_of_fold, plain.out_of_fold, atol=3e-3)


@EVERY_LEARNER
def test_it_learns_what_is_there_and_nothing_where_nothing_is(name):
    clear = _features(150, 20, apart=1.5)
    assert _balanced_accuracy(_fit(name, clear).out_of_fold, clear.y) > 0.9
    noise = [_features(150, 60, apart=0.0, folds=folds, seed=seed) for seed in range(6) for folds in (4, None)]
    found = [_balanced_accuracy(_fit(name, features).out_of_fold, features.y) for features in noise]
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.045)


@EVERY_LEARNER
def test_a_class_of_one_in_a_hundred_is_still_found(name):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [800, 8])
    X = rng.normal(size=(808, 6)).astype(np.float32)
    X[y == 1, 0] += 3.0
    folds = np.arange(808) % 4
    found = _fit(name, Features(X=X, y=y, classes=2, blocks=(6,), folds=folds))
    recalls = [(found.out_of_fold[y == c].argmax(1) == c).mean() for c in (0, 1)]
    assert min(recalls) > 0.6
    assert _balanced_accuracy(linear_scores(found.head, X), y) > 0.8


@EVERY
def test_a_class_that_some_fold_alone_has_is_no_trouble(name):
    features = _features(60, 6)
    folds = np.where(features.y == 2, 0, 1 + np.arange(60) % 3)  # all of class 2 is in fold 0
    found = _fit(name, replace(features, folds=folds))
    assert np.isfinite(found.out_of_fold).all()
    if name != "prior":
        seen = found.out_of_fold[folds > 0]
        assert (seen[:, :2].argmax(1) == features.y[folds > 0]).mean() > 0.6
    assert (found.out_of_fold[folds == 0].argmax(1) != 2).all()


@EVERY
def test_a_class_without_items_is_no_trouble(name):
    features = replace(_features(), classes=5)
    found = _fit(name, features)
    assert found.out_of_fold.shape == (60, 5)
    assert found.out_of_fold.argmax(1).max() < 3
    assert linear_scores(found.head, features.X).argmax(1).max() < 3


@EVERY
@pytest.mark.parametrize("spoil", ["constant", "zero", "repeated", "huge"])
def test_odd_columns_are_no_trouble(name, spoil):
    features = _features()
    X = features.X.copy()
    if spoil == "constant":
        X[:, :6] = 7.0
    elif spoil == "zero":
        X[:] = 0.0
    elif spoil == "repeated":
        X[:, 6:] = X[:, :6]
    else:
        X *= 1e12
    found = _fit(name, replace(features, X=X))
    assert np.isfinite(found.out_of_fold).all()
    assert np.isfinite(linear_scores(found.head, X)).all()


@EVERY_LEARNER
def test_copies_in_one_group_do_not_vouch_for_each_other(name):
    """Noise, each item twice, without folds: only whoever leaves the copy in knows the answer."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 100)).astype(np.float32), np.arange(60) % 3
    twice = Features(
        X=np.repeat(X, 2, 0), y=np.repeat(y, 2), classes=3, blocks=(100,), groups=np.repeat(np.arange(60), 2)
    )
    assert _balanced_accuracy(_fit(name, replace(twice, groups=None)).out_of_fold, twice.y) > 0.7
    assert _balanced_accuracy(_fit(name, twice).out_of_fold, twice.y) < 0.55
