"""Paired tests against statsmodels, mlxtend, baycomp and scipy, and their error rates by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from headway.errors import DataError, OptionError
from headway.evaluate import bootstrap, compare


def rights(both, wins, losses, neither):
    a = [True] * (both + wins) + [False] * (losses + neither)
    b = [True] * both + [False] * wins + [True] * losses + [False] * neither
    return np.array(a), np.array(b)


counts = st.integers(0, 60)


@given(counts, counts, counts, counts)
def test_mcnemar_equals_statsmodels_exact(both, wins, losses, neither):
    if both + wins + losses + neither == 0:
        return
    ours = compare.mcnemar_exact(*rights(both, wins, losses, neither))
    expected = sm_mcnemar([[both, wins], [losses, neither]], exact=True).pvalue if wins + losses else 1.0
    assert ours.p == pytest.approx(expected, rel=1e-9)
    assert ours.n == wins + losses
    assert ours.effect == pytest.approx((wins - losses) / (both + wins + losses + neither))


@pytest.mark.parametrize("table", [(50, 9, 2, 10), (20, 30, 12, 5), (100, 0, 0, 4), (10, 24, 24, 1)])
def test_mcnemar_equals_mlxtend(table):
    theirs = pytest.importorskip("mlxtend.evaluate")
    both, wins, losses, neither = table
    p = compare.mcnemar_exact(*rights(*table)).p
    if wins + losses:
        assert p == pytest.approx(min(theirs.mcnemar(np.array([[both, wins], [losses, neither]]), exact=True)[1], 1.0))


def test_mcnemar_agrees_with_the_chi_square_where_pairs_are_many():
    ours = compare.mcnemar_exact(*rights(500, 120, 80, 100)).p
    chi_square = sm_mcnemar([[500, 120], [80, 100]], exact=False, correction=True).pvalue
    assert ours == pytest.approx(chi_square, rel=0.05)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_balanced_mcnemar_is_mcnemar_where_classes_are_of_equal_size(seed, classes, size):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), size)
    a, b = rng.integers(classes, size=(2, len(y)))
    assert compare.mcnemar_balanced(y, a, b).p == pytest.approx(compare.mcnemar_exact(a == y, b == y).p, abs=1e-9)


def test_balanced_mcnemar_is_the_permutation_test_of_the_balanced_accuracies():
    rng = np.random.default_rng(5)
    y = np.array([0] * 10 + [1] * 4)
    a, b = np.where(rng.random(14) < 0.8, y, 1 - y), np.where(rng.random(14) < 0.4, y, 1 - y)
    gap = balanced_accuracy_score(y, a) - balanced_accuracy_score(y, b)
    swaps = [[bool(i >> j & 1) for j in range(14)] for i in range(2**14)]
    right = (a == y).astype(float) - (b == y)
    weight = np.where(y == 0, 1 / 20, 1 / 8)
    every = np.abs(np.where(swaps, -right, right) @ weight)
    found = compare.mcnemar_balanced(y, a, b)
    assert found.effect == pytest.approx(gap)
    assert found.p == pytest.approx(np.mean(every >= abs(gap) - 1e-12), abs=1e-9)


def test_balanced_mcnemar_sees_what_mcnemar_gets_backwards():
    y = np.array([0] * 180 + [1] * 20)
    always_0 = np.zeros(200, int)
    fair = y.copy()
    fair[:40] = 1  # 140 of 180 and 20 of 20 right: less accurate, yet far better balanced
    plain, balanced = compare.mcnemar_exact(fair == y, always_0 == y), compare.mcnemar_balanced(y, fair, always_0)
    assert plain.effect < 0 and plain.p < 0.05
    assert balanced.effect > 0.3 and balanced.p < 0.001


def test_drawn_sign_flips_agree_with_listed_ones():
    rng = np.random.default_rng(0)
    d = rng.normal(0.4, 1, size=17)  # 2^17 sums are listed
    listed = compare.sign_flip(d).p
    ours, compare._ENUMERATED = compare._ENUMERATED, 10
    try:
        drawn = compare.sign_flip(d, seed=1).p
    finally:
        compare._ENUMERATED = ours
    assert drawn == pytest.approx(listed, abs=4 * np.sqrt(listed * (1 - listed) / 100_000))


@pytest.mark.parametrize("n", [6, 9, 12])
def test_sign_flip_equals_scipys_permutation_test(n):
    d = np.random.default_rng(n).normal(0.5, 1, size=n)
    theirs = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, axis=0)
    assert compare.sign_flip(d).p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sign_flip_needs_six_pairs_and_says_so():
    with pytest.raises(DataError, match=r"fewer than 6 pairs.*Given: 5 pairs"):
        compare.sign_flip([1.0] * 5)
    assert compare.sign_flip([0.0] * 6).p == 1.0


# --- resampled splits ---------------------------------------------------------------------------


def test_corrected_t_equals_baycomp_and_the_formula():
    d = np.random.default_rng(0).normal(0.02, 0.03, size=10)
    test, interval = compare.corrected_resampled_t(d, n_train=90, n_test=10)
    t = d.mean() / np.sqrt((1 / 10 + 10 / 90) * d.var(ddof=1))
    assert test.p == pytest.approx(2 * stats.t.sf(abs(t), 9), rel=1e-12)
    assert (interval.low <= 0 <= interval.high) == (test.p >= 0.05)
    single = pytest.importorskip("baycomp.single")
    # Their posterior has the same variance when runs are the number of repetitions of a 10-fold split.
    mean, var, df = single.CorrelatedTTest.compute_statistics(d, np.zeros(10), runs=1)[:3]
    assert (abs(mean), df) == (pytest.approx(abs(test.effect)), 9)
    half = stats.t.ppf(0.975, 9) * np.sqrt(var)
    assert interval.high - interval.value == pytest.approx(half, rel=1e-9)


def test_corrected_t_keeps_its_error_rate_where_the_naive_t_does_not():
    naive = ours = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        d = rng.normal(0, 1, size=100)  # one measured difference an item; splits overlap
        splits = np.array([rng.permutation(100)[:50].tolist() for _ in range(15)])
        means = d[splits].mean(axis=1)
        ours += compare.corrected_resampled_t(means, n_train=50, n_test=50)[0].p < 0.05
        naive += stats.ttest_1samp(means, 0).pvalue < 0.05
    assert ours <= 400 * 0.08
    assert naive > 400 * 0.3


def test_corrected_t_of_no_spread_and_too_few():
    assert compare.corrected_resampled_t([0.0, 0.0], n_train=9, n_test=1)[0].p == 1.0
    assert compare.corrected_resampled_t([0.1, 0.1], n_train=9, n_test=1)[0].p == 0.0
    with pytest.raises(DataError, match="1 pairs"):
        compare.corrected_resampled_t([0.1], n_train=9, n_test=1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_holm_equals_statsmodels(p):
    assert compare.holm(p) == pytest.approx(tuple(multipletests(p, method="holm")[1]))


@pytest.mark.parametrize("p", [[1.2], [-0.1], [float("nan")]])
def test_holm_refuses_what_is_no_p(p):
    with pytest.raises(OptionError):
        compare.holm(p)


# --- the size of the effect ---------------------------------------------------------------------


def pair(seed, n=150, classes=4, a=0.8, b=0.7, skew=0.0):
    rng = np.random.default_rng(seed)
    prior = np.exp(-skew * np.arange(classes))
    y = rng.choice(classes, size=n, p=prior / prior.sum())
    wrong = (y + rng.integers(1, classes, size=n)) % classes
    luck = 0.5 * rng.random(n) + 0.5 * rng.random(n)  # shared, so that the two agree more than by chance
    return y, np.where(luck < a, y, wrong), np.where(0.5 * luck + 0.5 * rng.random(n) < b, y, wrong)


@pytest.mark.parametrize("skew", [0.0, 0.7])
def test_bca_of_the_difference_equals_scipys(skew):
    y, a, b = pair(0, n=120, classes=3, skew=skew)

    def difference(rows, a_rows, b_rows):
        return balanced_accuracy_score(rows, a_rows) - balanced_accuracy_score(rows, b_rows)

    theirs = stats.bootstrap(
        (y, a, b), difference, paired=True, vectorized=False, n_resamples=1500, rng=np.random.default_rng(0)
    )
    ours = compare.bca_interval(y, a, b, resamples=20_000)
    limits = theirs.confidence_interval
    tolerance = 0.08 * (limits.high - limits.low)  # 1,500 resamples: scikit-learn is slow
    assert ours.value == pytest.approx(difference(y, a, b))
    assert (ours.low, ours.high) == (
        pytest.approx(limits.low, abs=tolerance),
        pytest.approx(limits.high, abs=tolerance),
    )


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_swapping_the_models_turns_the_interval_round(seed):
    y, a, b = pair(seed, n=60)
    one, other = (compare.effect_interval(y, *order, resamples=500) for order in ((a, b), (b, a)))
    assert (one.value, one.low, one.high) == (
        pytest.approx(-other.value, abs=1e-12),
        pytest.approx(-other.high, abs=0.01),
        pytest.approx(-other.low, abs=0.01),
    )
    assert one.low <= one.value <= one.high and one.low < one.high
    assert compare.mcnemar_balanced(y, a, b).p == pytest.approx(compare.mcnemar_balanced(y, b, a).p, abs=0.005)


def test_one_class_gives_bonett_and_prices_interval():
    low, high = bootstrap.bonett_price(np.array([9.0]), np.array([2.0]), np.array([71.0]))
    p12, p21 = 10 / 73, 3 / 73
    half = 1.959963985 * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / 73)
    assert (low, high) == (pytest.approx(p12 - p21 - half), pytest.approx(p12 - p21 + half))


@pytest.mark.parametrize("n", [1, 2, 10])
def test_a_few_items_say_little(n):
    y = np.arange(n) % 2
    found = compare.effect_interval(y, y, 1 - y)
    assert found.value == 1.0 and found.low < 1 - 0.5 / n and found.high == 1.0
    same = compare.effect_interval(y, y, y)
    assert same.low < -1 / (n + 2) and same.high > 1 / (n + 2)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "classes", "skew"), [(60, 2, 0.0), (100, 5, 1.0), (260, 13, 0.0), (40, 13, 0.0)])
def test_coverage_and_error_rate_when_there_is_no_difference(n, classes, skew):
    covered = alone = rejected = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        prior = np.exp(-skew * np.arange(classes))
        y = rng.choice(classes, size=n, p=prior / prior.sum())
        a, b = (np.where(rng.random(n) < 0.8, y, (y + 1) % classes) for _ in range(2))
        found = compare.effect_interval(y, a, b, resamples=1000, seed=seed)
        covered += found.low <= 0 <= found.high
        bca = compare.bca_interval(y, a, b, resamples=1000, seed=seed)
        alone += bca.low <= 0 <= bca.high
        rejected += compare.mcnemar_balanced(y, a, b, seed=seed).p < 0.05
    assert covered >= 300 * 0.92, (covered, alone)
    assert rejected <= 300 * 0.08


def test_type_one_error_of_the_balanced_test_with_uneven_classes():
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = np.array([0] * 60 + [1] * 15 + [2] * 7)
        a, b = (np.where(rng.random(82) < 0.7, y, (y + 1) % 3) for _ in range(2))
        rejected += compare.mcnemar_balanced(y, a, b, seed=seed).p < 0.05
    assert rejected <= 200 * 0.09  # 99.5 % of Binomial(200, 0.05) is at most 18
    assert rejected >= 1


# --- equivalence --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.2])
def test_tost_agrees_with_statsmodels_where_the_answer_is_clear(seed, margin):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], 400)
    a = np.where(rng.random(800) < 0.9, y, 1 - y)
    b = np.where(rng.random(800) < 0.1, 1 - a, a)
    p = ttost_paired((a == y).astype(float), (b == y).astype(float), -margin, margin)[0]
    equal, interval = compare.tost(y, a, b, margin=margin)
    if p < 0.02 or p > 0.15:
        assert equal == (p < 0.05)
    assert equal == (-margin < interval.low and interval.high < margin)


def test_tost_seldom_calls_a_difference_of_the_margin_equal():
    called = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = np.repeat([0, 1], 150)
        a = np.where(rng.random(300) < 0.9, y, 1 - y)
        b = np.where(
            rng.random(300) < 0.1 / 0.9, 1 - y, a
        )  # a loses 10 points of its right answers, keeps its wrong ones
        called += compare.tost(y, a, b, margin=0.1, resamples=400, seed=seed)[0]
    assert called <= 200 * 0.09


def test_tost_refuses_a_margin_that_is_none():
    with pytest.raises(OptionError):
        compare.tost([0, 1], [0, 1], [0, 1], margin=0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: compare.mcnemar_exact([True], [True, False]),
        lambda: compare.mcnemar_exact([1], [0]),
        lambda: compare.mcnemar_balanced([0, 1], [0], [0, 1]),
        lambda: compare.bca_interval([0, 1], [0, 1], [0, 1, 1]),
        lambda: compare.corrected_resampled_t([0.1, np.nan], n_train=1, n_test=1),
        lambda: compare.corrected_resampled_t([0.1, 0.2], n_train=0, n_test=1),
    ],
)
def test_refuses_what_does_not_pair(call):
    with pytest.raises(OptionError):
        call()
