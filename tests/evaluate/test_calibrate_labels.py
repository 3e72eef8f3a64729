"""Labels' probabilities mean what they say, and thresholds are those of the best F1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score, f1_score

from headway.evaluate.calibrate_labels import fit_platt, fit_thresholds
from headway.evaluate.loop import calibrated
from headway.linear.head import answers, linear_scores, sigmoid, unit_head
from headway.types import Adapted

FEW = settings(max_examples=8, deadline=None)


def made(seed, n=200, C=3, *, slope=3.0, offset=-1.0):
    """Scores of which ``sigmoid(slope * score + offset)`` is the truth."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, C))
    Y = (rng.random((n, C)) < sigmoid(slope * scores + offset)).astype(np.int64)
    return scores, Y


@FEW
@given(st.integers(0, 1000), st.sampled_from([0.01, 1.0, 1e4]))
def test_platt_is_the_least_log_loss_against_smoothed_targets(seed, unit):
    scores, Y = made(seed, n=60)
    slope, offset = fit_platt(unit * scores, Y)
    for c in range(3):
        positive = Y[:, c].sum()
        if positive in (0, 60):
            continue
        target = np.where(Y[:, c] > 0, (positive + 1) / (positive + 2), 1 / (60 - positive + 2))

        def loss(at, c=c, target=target):
            s = at[0] * scores[:, c] + at[1]
            return float((np.logaddexp(0, s) - target * s).sum())

        peer = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-7})
        if peer.x[0] > 0.05:
            assert loss([slope[c] * unit, offset[c]]) <= peer.fun + 1e-6
            assert slope[c] * unit == pytest.approx(peer.x[0], rel=1e-3)


def test_probabilities_mean_what_they_say():
    scores, Y = made(0, n=20_000)
    slope, offset = fit_platt(scores, Y)
    np.testing.assert_allclose(slope, 3.0, atol=0.15)
    np.testing.assert_allclose(offset, -1.0, atol=0.1)


def test_scores_that_part_a_label_cleanly_stay_finite():
    Y = (np.arange(20) < 8).astype(np.int64)[:, None]
    scores = np.where(Y > 0, 1.0, -1.0)
    slope, offset = fit_platt(scores, Y)
    said = sigmoid(slope * scores + offset)
    assert said.max() == pytest.approx(9 / 10, abs=1e-3) and said.min() == pytest.approx(1 / 14, abs=1e-3)


@pytest.mark.parametrize("case", ["never", "always", "flat", "wrong way round"])
def test_scores_that_say_nothing_give_how_often(case):
    rng = np.random.default_rng(0)
    Y = (rng.random((100, 1)) < 0.3).astype(np.int64)
    scores = rng.normal(size=(100, 1))
    if case in ("never", "always"):
        Y[:] = case == "always"
    elif case == "flat":
        scores[:] = -0.7
    else:
        scores = -scores - 4.0 * Y
    slope, offset = fit_platt(scores, Y)
    said = sigmoid(slope * scores + offset)
    assert slope[0] > 0 and np.ptp(said) < 0.01
    assert said.mean() == pytest.approx(Y.mean(), abs=0.02)


@FEW
@given(st.integers(0, 1000), st.booleans())
def test_thresholds_are_those_of_the_best_f1(seed, ties):
    scores, Y = made(seed, n=40)
    P = sigmoid(scores)
    P = np.round(P, 1) if ties else P
    found = fit_thresholds(P, Y)
    for c in range(3):
        if Y[:, c].sum() in (0, 40):
            assert found[c] == 0.5
            continue
        best = max(f1_score(Y[:, c], P[:, c] >= threshold) for threshold in np.unique(P[:, c]))
        assert f1_score(Y[:, c], P[:, c] >= found[c]) == pytest.approx(best)
    assert ((found > 0) & (found < 1)).all()


def test_equally_good_thresholds_are_settled_towards_one_half():
    Y = np.array([[0], [1], [0], [1]])
    P = np.array([[0.1], [0.4], [0.45], [0.6]])
    # From 0.25 (F1 = 2 * 2 / (3 + 2)) all is best.
    assert fit_thresholds(P, Y)[0] == pytest.approx(0.25)
    assert fit_thresholds(np.array([[0.1], [0.9]]), np.array([[0], [1]]))[0] == pytest.approx(0.5)


def test_calibrating_folds_into_the_head_and_keeps_every_order():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5)).astype(np.float32)
    head = unit_head(
        (5,),
        mean=np.zeros(5),
        scale=np.ones(5),
        weight=rng.normal(size=(5, 3)),
        bias=rng.normal(size=3),
        link="sigmoid",
    )
    scores = linear_scores(head, X)
    Y = (rng.random((120, 3)) < sigmoid(4 * scores - 4 * scores.mean(0))).astype(np.int64)
    found = calibrated(Adapted(head=head, out_of_fold=scores), Y, np.arange(120))
    said = answers(found.head, linear_scores(found.head, X))
    np.testing.assert_allclose(said, answers(found.head, found.out_of_fold), atol=1e-5)
    assert average_precision_score(Y, said) == pytest.approx(average_precision_score(Y, scores))
    assert found.head.thresholds.shape == (3,) and found.head.thresholds.dtype == np.float32
    before, after = (-np.log(np.where(Y > 0, P, 1 - P)).mean() for P in (sigmoid(scores), said))
    assert after < before
