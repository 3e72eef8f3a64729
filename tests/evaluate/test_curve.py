"""Learning curves: known laws are found again, intervals cover, and nothing is said that the data do not say."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares
from sklearn.metrics import balanced_accuracy_score

from headway.adapt import ridge
from headway.errors import DataError, OptionError
from headway.evaluate.curve import Curve, catch_up, fit_curve, gain_of, held_out_curve, learning_curve, probe_curve
from headway.linear.head import linear_scores
from headway.types import Features

SIZES = np.array([16.0, 32, 64, 128, 256, 512])
N, MORE = 512, 100


def err(law, n):
    a, b, c = law
    return a + b * np.asarray(n, float) ** -c


def exact(law, draws=3, sizes=SIZES):
    return Curve(sizes=sizes, scores=1 - np.repeat(err(law, sizes)[None], draws, 0))


def noisy(law, seed, draws=5, items=400, sizes=SIZES):
    wrong = np.random.default_rng(seed).binomial(items, err(law, sizes), size=(draws, len(sizes)))
    return Curve(sizes=sizes, scores=1 - wrong / items)


# --- the law ------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [(0.05, 2, 0.7), (0.1, 3, 1.0), (0.0, 1, 0.35), (0.2, 0.8, 0.5), (0.0, 30, 1.9)])
def test_an_exact_law_is_found_again_and_its_numbers_follow(law):
    fit = fit_curve(exact(law))
    assert (fit.a, fit.b, fit.c) == pytest.approx(law, rel=1e-3, abs=1e-4)
    gain = gain_of(fit, N, MORE)
    assert gain.value == pytest.approx(err(law, N) - err(law, N + MORE), rel=1e-3)
    assert gain.low <= gain.value <= gain.high
    assert gain_of(fit, N, 0).value == 0


def test_noisy_errors_are_fitted_as_well_as_by_a_general_solver():
    for seed in range(5):
        curve = noisy((0.05, 2, 0.7), seed)
        fit = fit_curve(curve, resamples=10)
        errors = 1 - curve.scores.mean(0)

        def residuals(p, errors=errors):
            return (err(p, SIZES) - errors) / np.sqrt(errors * (1 - errors))

        starts = [(0.01, 1, c) for c in (0.1, 0.3, 0.7, 1.2, 1.8)]
        bounds = ([0, 0, 0.01], [1, np.inf, 2])
        best = min(least_squares(residuals, start, bounds=bounds, x_scale=(0.1, 1, 1)).cost for start in starts)
        assert (residuals((fit.a, fit.b, fit.c)) ** 2).sum() / 2 <= best * (1 + 1e-4) + 1e-9


@pytest.mark.parametrize("law", [(0.05, 2, 0.7), (0.0, 1, 0.35), (0.3, 0, 1.0)])
def test_nine_of_ten_intervals_of_the_gain_hold_the_truth(law):
    truth = err(law, N) - err(law, N + MORE)
    held = []
    for seed in range(100):
        gain = gain_of(fit_curve(noisy(law, seed), resamples=300, seed=seed), N, MORE)
        if gain is not None:
            held.append(gain.low <= truth <= gain.high)
    assert len(held) >= 90
    assert np.mean(held) >= 0.9


def test_items_that_all_draws_share_widen_the_interval():
    rng = np.random.default_rng(0)
    hard = rng.random(60)
    items = (hard > err((0.05, 2, 0.7), SIZES)[:, None]).astype(float)[None].repeat(4, 0)
    # The same in every draw: draws alone show no scatter at all.
    without = gain_of(fit_curve(Curve(sizes=SIZES, scores=items.mean(2))), N, MORE)
    with_items = gain_of(fit_curve(Curve(sizes=SIZES, scores=items.mean(2), items=items)), N, MORE)
    assert without.high - without.low < 1e-4
    assert with_items.high - with_items.low > 50 * (without.high - without.low)


def test_fewer_draws_give_wider_intervals():
    def width(draws):
        gains = [gain_of(fit_curve(noisy((0.05, 2, 0.7), s, draws=draws), resamples=300), N, MORE) for s in range(10)]
        return np.median([g.high - g.low for g in gains if g])

    assert width(3) > 1.5 * width(20)


@pytest.mark.parametrize(
    ("curve", "why"),
    [
        (exact((0.1, 1, 1), sizes=SIZES[:3]), "3 numbers of labels are too few"),
        (exact((0.1, 1, 1), draws=1), "single draw"),
        (Curve(sizes=SIZES, scores=1 - np.linspace(0.1, 0.3, 6)[None].repeat(3, 0)), "grows"),
    ],
)
def test_where_the_law_cannot_be_told_nothing_is_said_but_why(curve, why):
    fit = fit_curve(curve)
    assert why in fit.why
    assert gain_of(fit, N, MORE) is None
    good = fit_curve(exact((0.1, 3, 1.0)))
    for pair in ((good, fit), (fit, good)):
        number, said = catch_up(*pair)
        assert number is None and why in said


def test_a_flat_curve_promises_little_and_all_right_is_not_taken_for_certain():
    gain = gain_of(fit_curve(noisy((0.3, 0, 1), 3), seed=1), N, MORE)
    assert gain.low == 0 and gain.high < 0.02
    items = np.ones((3, 6, 50))
    gain = gain_of(fit_curve(Curve(sizes=SIZES, scores=items.mean(2), items=items)), N, MORE)
    assert gain.low == gain.value == 0 and gain.high == pytest.approx(1 - 0.05 ** (1 / 50))


def test_too_far_is_not_answered():
    fit = fit_curve(exact((0.1, 3, 1.0)))
    assert gain_of(fit, N, 999 * N) is not None
    assert gain_of(fit, N, 1000 * N) is None
    with pytest.raises(OptionError):
        gain_of(fit, 0, 10)


# --- catching up ----------------------------------------------------------------------------------


def test_scratch_catches_up_where_the_laws_say():
    transfer, scratch = (0.05, 0.2, 0.5), (0.0, 2, 0.4)
    number, why = catch_up(fit_curve(exact(transfer)), fit_curve(exact(scratch)))
    assert why == ""
    assert number.value == pytest.approx((2 / err(transfer, N)) ** (1 / 0.4), rel=1e-2)
    earlier, _ = catch_up(fit_curve(exact(transfer)), fit_curve(exact(scratch)), n=64)
    assert earlier.value == pytest.approx((2 / err(transfer, 64)) ** (1 / 0.4), rel=1e-2)
    for interval in (number, earlier):  # nothing scatters; the replicates' exponents are those of a grid
        assert interval.low > 0.8 * interval.value and interval.high < 1.2 * interval.value


def test_never_and_too_far_are_said():
    transfer = fit_curve(exact((0.02, 0.2, 0.5)))
    for law in ((0.2, 1, 0.5), (0.0, 1, 0.15)):  # above it for ever; and there only after millions
        number, why = catch_up(transfer, fit_curve(exact(law)))
        assert number is None and "not within 100 times" in why


def test_an_interval_that_cannot_end_is_open():
    found = [
        catch_up(fit_curve(exact((0.0, 0.5, 0.35))), fit_curve(noisy((0.0, 1.5, 0.35), s, items=100))) for s in range(8)
    ]
    intervals = [number for number, _ in found if number]
    assert intervals and any(math.isinf(number.high) for number in intervals)
    assert all(number.low <= number.value <= number.high for number in intervals)


def test_intervals_of_the_catching_up_hold_the_truth():
    transfer = fit_curve(exact((0.1, 0, 1)))
    truth = (0.9 / 0.1) ** (1 / 0.35)
    held = []
    for seed in range(60):
        number, _ = catch_up(transfer, fit_curve(noisy((0.0, 0.9, 0.35), seed), resamples=300, seed=seed))
        held.append(number is None or number.low <= truth <= number.high)
    assert np.mean(held) >= 0.9


# --- measuring ------------------------------------------------------------------------------------


def test_a_curve_asks_for_nested_rows_and_for_all_of_them_once():
    y, asked = np.arange(40) % 4, []

    def score(rows):
        asked.append(set(rows.tolist()))
        return 1 - 1 / len(rows)

    curve = learning_curve(score, y, sizes=(8, 20, 40), draws=3, seed=0)
    assert [len(rows) for rows in asked] == [8, 20, 40, 8, 20, 8, 20]
    assert asked[0] < asked[1] and asked[3] < asked[4] and asked[0] != asked[3]
    assert curve.scores == pytest.approx(1 - 1 / np.array([[8, 20, 40]] * 3))
    assert curve.items is None


def test_more_draws_leave_the_first_as_they_were():
    def score(rows):
        return float(np.cos(rows).mean())

    few, many = (learning_curve(score, np.arange(30) % 3, sizes=(6, 12), draws=d, seed=4).scores for d in (2, 5))
    assert many[:2].tolist() == few.tolist()


def test_scores_of_items_are_kept():
    curve = learning_curve(lambda rows: np.eye(10)[0] * len(rows) / 8, np.arange(8) % 2, sizes=(4, 8), draws=2, seed=0)
    assert curve.items.shape == (2, 2, 10)
    assert curve.scores.tolist() == [[0.05, 0.1]] * 2


def test_scores_that_are_no_numbers_and_no_draws_are_refused():
    with pytest.raises(DataError, match="finite"):
        learning_curve(lambda rows: math.nan, np.arange(8) % 2, sizes=(4,), draws=1, seed=0)
    with pytest.raises(OptionError, match="draws"):
        learning_curve(lambda rows: 1.0, np.arange(8) % 2, sizes=(4,), draws=0, seed=0)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [120, 80, 20])
    X = (rng.normal(size=(220, 40)) + 0.5 * rng.normal(size=(3, 40))[y]).astype(np.float32)
    order = rng.permutation(220)
    features = Features(X=X[order], y=y[order], classes=3, blocks=(40,))
    rows = np.arange(220)
    return features, tuple((rows[rows % 4 != f], rows[rows % 4 == f]) for f in range(4))


def test_a_probe_learns_more_from_more(problem):
    features, folds = problem
    curve = probe_curve(features, ridge.fit, folds=folds, sizes=(10, 20, 40, 80, 160, 500), draws=3, seed=0)
    assert curve.sizes.tolist() == [10, 20, 40, 80, 160]  # a fold has 165 to learn from
    means = curve.scores.mean(0)
    assert means[-1] > means[0] + 0.1
    gain = gain_of(fit_curve(curve), 160, 100)
    assert 0 <= gain.low <= gain.value <= gain.high < 0.3
    points = curve.points()
    assert [point["n"] for point in points] == curve.sizes.tolist()
    assert all(point["low"] <= point["value"] <= point["high"] <= 1 for point in points)


def test_with_all_rows_it_is_the_balanced_accuracy_of_held_out_folds(problem):
    features, folds = problem
    curve = probe_curve(features, ridge.fit, folds=folds, sizes=(165,), draws=2, seed=0)
    predicted = np.empty(220, int)
    for learnt, asked in folds:
        of_fold = Features(X=features.X[learnt], y=features.y[learnt], classes=3, blocks=(40,))
        predicted[asked] = linear_scores(ridge.fit(of_fold, seed=0).head, features.X[asked]).argmax(1)
    expected = balanced_accuracy_score(features.y, predicted)
    assert curve.scores[:, 0] == pytest.approx([expected] * 2, abs=1e-12)
    assert abs(expected - np.mean(features.y == predicted)) > 0.005


def test_a_probe_never_sees_what_it_is_scored_on(problem):
    features, folds = problem
    seen = []

    def spy(given, /, *, seed):
        seen.append({row.tobytes() for row in given.X})
        return ridge.fit(given, seed=seed)

    probe_curve(features, spy, folds=folds, sizes=(12, 165), draws=1, seed=0)
    held_out = [{row.tobytes() for row in features.X[rows]} for _, rows in folds]
    assert [bool(rows & held_out[i // 2]) for i, rows in enumerate(seen)] == [False] * 8


def test_folds_too_small_for_every_size_are_said(problem):
    features, folds = problem
    with pytest.raises(DataError, match="up to 165"):
        probe_curve(features, ridge.fit, folds=folds, sizes=(200,), draws=1, seed=0)


def test_what_was_said_of_held_out_items_is_balanced_accuracy():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [30, 8, 2])
    said = np.where(rng.random((4, 40)) < 0.6, y, rng.integers(0, 3, (4, 40)))
    curve = held_out_curve([5, 10, 20, 40], said, y)
    assert curve.scores[0] == pytest.approx([balanced_accuracy_score(y, line) for line in said])
    assert curve.items.shape == (1, 4, 40)
    with pytest.raises(DataError, match="not of these items"):
        held_out_curve([5, 10], said, y)
