"""Temperature scaling against scipy's minimiser and scikit-learn, and what it must never do."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from headway.errors import DataError, OptionError
from headway.evaluate.calibrate import fit_temperature
from headway.evaluate.metrics import ece
from headway.linear.head import probabilities


def drawn(seed, n=400, classes=4, sharpness=1.5, scale=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    return scale * (rng.normal(size=(n, classes)) + sharpness * np.eye(classes)[y]), y


def plain_loss(scores, y, temperature):
    return -log_softmax(scores / temperature, axis=1)[np.arange(len(y)), y].mean()


def _calibrated(scores, y):
    return probabilities(scores, temperature=fit_temperature(scores, y))


@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_equals_scipys_minimiser(seed, scale):
    scores, y = drawn(seed, n=5000, scale=scale)
    best = minimize_scalar(
        lambda log_t: plain_loss(scores, y, np.exp(log_t)), bounds=(-10, 10), method="bounded", options={"xatol": 1e-8}
    )
    assert fit_temperature(scores, y) == pytest.approx(np.exp(best.x), rel=0.01)  # the smoothing moves it a little


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 5), st.floats(-3, 6), st.floats(0.01, 100))
@settings(max_examples=150, deadline=None)
def test_never_a_worse_log_loss_never_another_prediction(seed, n, classes, sharpness, scale):
    scores, y = drawn(seed, n, classes, sharpness, scale)
    for balanced in (False, True):
        temperature = fit_temperature(scores, y, balanced=balanced)
        assert 0 < temperature < np.inf
        P = probabilities(scores, temperature=temperature)
        assert P.sum(axis=1) == pytest.approx(1.0)
        assert (P[np.arange(n), scores.argmax(axis=1)] == P.max(axis=1)).all()
        weight = 1 / np.bincount(y)[y] if balanced else np.ones(n)
        before, after = (
            np.average(-log_softmax(scores / t, axis=1)[np.arange(n), y], weights=weight) for t in (1.0, temperature)
        )
        assert after <= before + 1e-9


@given(st.integers(0, 10**6), st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_follows_the_scale_of_the_scores(seed, scale):
    scores, y = drawn(seed, n=300)
    one, other = fit_temperature(scores, y), fit_temperature(scale * scores, y)
    assume(one != 1.0 and other != 1.0)
    assert other == pytest.approx(scale * one, rel=1e-4)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("n", [3, 30, 3000])
def test_separable_scores_claim_no_more_than_n_to_one(scale, n):
    y = np.arange(n) % 3
    P = _calibrated(scale * np.eye(3)[y], y)
    if scale < 50:  # beyond that T = 1 is surer still, and has the smaller log loss on these rows
        assert 1 - 2 / n < P.max() < 1 - 0.3 / n


def test_scores_that_mislead_become_flat():
    y = np.arange(200) % 2
    P = _calibrated(5 * np.eye(2)[1 - y], y)
    assert np.abs(P - 0.5).max() < 1e-3


def test_overconfident_scores_are_calibrated():
    scores, y = drawn(0, n=4000, scale=6.0)
    temperature = fit_temperature(scores, y)
    before, after = (ece(y, probabilities(scores, temperature=t)) for t in (1.0, temperature))
    assert temperature > 2 and before > 0.1 and after < 0.03
    assert log_loss(y, probabilities(scores, temperature=temperature)) < log_loss(y, probabilities(scores))


def test_balanced_weights_are_repeated_rows():
    scores, y = drawn(1, n=300, classes=2)
    keep = (y == 0) | (np.arange(300) % 4 == 0)
    scores, y = scores[keep], y[keep]
    few, many = np.bincount(y)[1], np.bincount(y)[0]
    again = np.concatenate([np.repeat(np.flatnonzero(y == 0), few), np.repeat(np.flatnonzero(y == 1), many)])
    balanced, plain = fit_temperature(scores, y, balanced=True), fit_temperature(scores, y)
    assert balanced == pytest.approx(fit_temperature(scores[again], y[again]), rel=0.04)  # they smooth by n
    assert balanced != pytest.approx(plain, rel=0.08)


def test_missing_classes_one_item_and_flat_scores():
    scores, y = drawn(2, n=50, classes=6)
    assert 0 < fit_temperature(scores, np.minimum(y, 2)) < np.inf
    assert 0 < fit_temperature([[3.0, 1.0]], [0]) < np.inf
    assert fit_temperature(np.ones((4, 3)), [0, 1, 2, 0]) == 1.0


def test_extreme_scores_do_not_overflow():
    scores = np.array([[1e30, -1e30], [-1e30, 1e30], [1e30, 0.0]])
    temperature = fit_temperature(scores, [0, 1, 1])
    assert np.isfinite(probabilities(scores, temperature=temperature)).all()
    assert probabilities(np.array([[1.0, 3.0]]), temperature=2.0) == pytest.approx(softmax([[0.5, 1.5]], axis=1))


@pytest.mark.parametrize(
    ("scores", "y", "error"),
    [
        ([[1.0, np.nan]], [0], OptionError),
        ([1.0, 2.0], [0, 1], OptionError),
        ([[1.0, 2.0]], [0, 1], OptionError),
        ([[1.0, 2.0]], [2], OptionError),
        (np.empty((0, 2)), [], DataError),
    ],
)
def test_refuses_scores_that_do_not_fit(scores, y, error):
    with pytest.raises(error):
        fit_temperature(scores, y)
