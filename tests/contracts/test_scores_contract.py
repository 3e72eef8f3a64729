"""What holds for every score. A new file under scores/ is tested here once its row is added to the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import plugins
from headway.errors import DataError

# score: the changes of X that its formula does not see.
BLIND_TO = {
    "gbc": {"scale", "shift", "rotation"},
    "hscore": {"scale", "shift", "rotation"},
    "logme": {"scale", "rotation"},
    "loo_knn": {"scale", "rotation"},
    "loo_ridge": {"scale", "shift", "rotation"},
    "nleep": {"scale", "shift", "rotation"},
    "parc": {"scale", "shift", "rotation"},
    "reg_hscore": {"scale", "shift", "rotation"},
    "transrate": {"shift", "rotation"},
}
EVERY = pytest.mark.parametrize("name", sorted(BLIND_TO))
MORE = settings(max_examples=15, deadline=None)


def _score(name: str, X, y) -> float:
    return plugins.load("scores", name).score(X, y)


def _features(seed: int, n: int, d: int, classes: int, *, apart: float = 1.0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[y], y


problems = st.builds(
    _features,
    st.integers(0, 10_000),
    st.integers(12, 40),
    st.integers(2, 50),
    st.integers(2, 5),
    apart=st.sampled_from([0.0, 0.5, 2.0]),
)


def test_the_table_lists_every_score():
    ours = [name for name in plugins.names("scores") if plugins.load("scores", name).__name__.startswith("headway.")]
    assert ours == sorted(BLIND_TO)
    assert len(ours) == 9


@EVERY
def test_it_names_its_source(name):
    assert len(plugins.load("scores", name).REFERENCE) > 20


@EVERY
@MORE
@given(problem=problems, seed=st.integers(0, 100))
def test_row_order_does_not_matter(name, problem, seed):
    X, y = problem
    order = np.random.default_rng(seed).permutation(len(y))
    assert _score(name, X[order], y[order]) == pytest.approx(_score(name, X, y), rel=1e-6, abs=1e-6)


@EVERY
@MORE
@given(problem=problems, seed=st.integers(0, 100))
def test_names_of_labels_do_not_matter(name, problem, seed):
    X, y = problem
    names = np.random.default_rng(seed).permutation(1000)[: y.max() + 1] - 500
    assert _score(name, X, names[y]) == pytest.approx(_score(name, X, y), rel=1e-6, abs=1e-6)


@EVERY
@MORE
@given(problem=problems, factor=st.sampled_from([1 / 64, 8.0, 1024.0]))
def test_scale_does_not_matter_where_the_formula_says_so(name, problem, factor):
    X, y = problem
    if "scale" in BLIND_TO[name]:
        assert _score(name, factor * X, y) == pytest.approx(_score(name, X, y), rel=1e-6, abs=1e-6)


@EVERY
@MORE
@given(problem=problems)
def test_a_shift_does_not_matter_where_the_formula_says_so(name, problem):
    X, y = problem
    if "shift" in BLIND_TO[name]:
        moved = X + np.linspace(-3, 5, X.shape[1])
        assert _score(name, moved, y) == pytest.approx(_score(name, X, y), rel=1e-5, abs=1e-5)


@EVERY
@MORE
@given(problem=problems, seed=st.integers(0, 100))
def test_a_rotation_does_not_matter_where_the_formula_says_so(name, problem, seed):
    X, y = problem
    if "rotation" in BLIND_TO[name]:
        d = X.shape[1]
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
        assert _score(name, X @ turn, y) == pytest.approx(_score(name, X, y), rel=1e-5, abs=1e-5)


@EVERY
@MORE
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), d=st.integers(4, 60))
def test_more_separable_is_larger(name, seed, classes, d):
    rng = np.random.default_rng(seed)
    y = np.arange(20 * classes) % classes
    centres = np.linalg.qr(rng.normal(size=(max(d, classes), classes)))[0].T[:, :d]
    noise = rng.normal(size=(len(y), d)) / np.sqrt(d)
    far, none = noise + 6 * centres[y], noise
    blind = {"transrate": classes == 2, "hscore": len(y) < 3 * d}  # as their docstrings say
    if d >= classes and not blind.get(name, False):
        assert _score(name, far, y) > _score(name, none, y)


@EVERY
def test_float32_features_score_as_float64(name):
    X, y = _features(0, 40, 12, 3)
    X = X.astype(np.float32)
    assert _score(name, X, y) == pytest.approx(_score(name, X.astype(np.float64), y), rel=1e-9)


@EVERY
@pytest.mark.parametrize(
    ("X", "y"),
    [
        pytest.param(*_features(1, 30, 6, 3), id="plain"),
        pytest.param(np.ones((12, 4)), np.arange(12) % 3, id="constant"),
        pytest.param(np.zeros((12, 4)), np.arange(12) % 3, id="zero"),
        pytest.param(
            np.hstack([_features(2, 20, 3, 2)[0], np.full((20, 2), 1e3)]), np.arange(20) % 2, id="some-constant"
        ),
        pytest.param(_features(3, 12, 100, 2)[0], np.arange(12) % 2, id="wide"),
        pytest.param(_features(4, 15, 5, 2)[0], np.array([0] * 14 + [1]), id="class-of-one"),
        pytest.param(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1]), id="two-items"),
        pytest.param(_features(5, 20, 1, 2)[0], np.arange(20) % 2, id="one-column"),
        pytest.param(np.repeat(_features(6, 10, 4, 2)[0], 2, axis=0), np.repeat(np.arange(10) % 2, 2), id="copies"),
        pytest.param(_features(7, 1300, 16, 1000)[0], np.arange(1300) % 1000, id="thousand-classes"),
        pytest.param(_features(8, 20, 4, 2)[0] * 1e-15, np.arange(20) % 2, id="minute"),
        pytest.param(_features(9, 20, 4, 2)[0] * 1e15, np.arange(20) % 2, id="vast"),
        pytest.param(np.eye(3)[np.arange(30) % 3], np.arange(30) % 3, id="perfect"),
    ],
)
def test_awkward_data_has_a_finite_score_and_leaves_its_input_alone(name, X, y):
    before = X.copy()
    value = _score(name, X, y)
    assert isinstance(value, float)
    assert np.isfinite(value)
    np.testing.assert_array_equal(X, before)


@EVERY
@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (np.array([[0.0], [np.nan], [1.0]]), np.array([0, 1, 0]), "row 1"),
        (np.array([[0.0], [np.inf], [1.0]]), np.array([0, 1, 0]), "infinity"),
        (np.eye(3), np.zeros(3, int), "one class"),
        (np.eye(1), np.zeros(1, int), "matrix"),
        (np.zeros((3, 0)), np.array([0, 1, 0]), "matrix"),
        (np.zeros(3), np.array([0, 1, 0]), "matrix"),
        (np.eye(3), np.array([0, 1]), "length"),
    ],
)
def test_bad_data_is_refused_in_words(name, X, y, says):
    with pytest.raises(DataError, match=says):
        _score(name, X, y)
