"""Metrics against scikit-learn and torchmetrics; intervals against scipy, their own coverage and the edge cases."""

import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from headway.errors import DataError, OptionError
from headway.evaluate import metrics
from headway.evaluate.metrics_classification import ECE_BINS

LABEL = ("accuracy", "balanced_accuracy", "macro_f1")
PROBABILITY = ("log_loss", "ece", "brier")


def sampled(seed, n=60, classes=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    P = rng.dirichlet(np.full(classes, 0.4), size=n) + 0.5 * np.eye(classes)[y] * (rng.random((n, 1)) < 0.5)
    return y, (P / P.sum(axis=1, keepdims=True)).astype(dtype)


cases = st.builds(sampled, st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 6))


def sklearn_value(name, y, P, weight=None):
    said, labels = P.argmax(axis=1), np.arange(P.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predictions that y lacks
        if name == "accuracy":
            return sk.accuracy_score(y, said, sample_weight=weight)
        if name == "balanced_accuracy":
            return sk.balanced_accuracy_score(y, said, sample_weight=weight)
        if name == "macro_f1":
            return sk.f1_score(y, said, average="macro", sample_weight=weight)
        if name == "log_loss":
            clipped = np.clip(P, np.finfo(np.float32).eps, 1)
            return -np.average(np.log(clipped[np.arange(len(y)), y]), weights=weight)
        return sk.brier_score_loss(y, P, labels=labels, sample_weight=weight, scale_by_half=False)


@given(cases)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("name", [*LABEL, "log_loss", "brier"])
def test_equals_scikit_learn(name, case):
    y, P = case
    if name == "brier" and P.shape[1] < 3:
        return  # scikit-learn takes one column for two classes
    assert metrics.measure(name, y, P) == pytest.approx(sklearn_value(name, y, P), abs=1e-12)


def test_log_loss_equals_scikit_learn_and_stays_finite():
    y, P = sampled(1, n=200)
    assert metrics.log_loss(y, P) == pytest.approx(sk.log_loss(y, P, labels=np.arange(4)), rel=1e-6)
    assert metrics.log_loss([0], [[0.0, 1.0]]) == pytest.approx(15.942, abs=1e-3)


@pytest.mark.parametrize("name", LABEL)
def test_weights_equal_scikit_learn_and_repetition(name):
    y, P = sampled(2)
    weight = np.random.default_rng(0).integers(0, 4, size=len(y))
    weight[[int(np.flatnonzero(y == c)[0]) for c in range(4)]] = 2  # scikit-learn keeps classes of weight 0
    ours = metrics.measure(name, y, P, weight=weight)
    assert ours == pytest.approx(sklearn_value(name, y, P, weight), abs=1e-12)
    assert ours == pytest.approx(metrics.measure(name, np.repeat(y, weight), np.repeat(P, weight, axis=0)), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_ece_is_the_weighted_gap_of_scikit_learns_calibration_curve(seed):
    y, P = sampled(seed, n=150)
    top, right = P.max(axis=1), P.argmax(axis=1) == y
    hits, confidence = calibration_curve(right, top, n_bins=ECE_BINS, strategy="uniform")
    count = np.histogram(top, bins=ECE_BINS, range=(0, 1))[0]
    assert metrics.ece(y, P) == pytest.approx(np.average(np.abs(hits - confidence), weights=count[count > 0]))


def test_ece_of_probabilities_drawn_from_themselves_is_small():
    rng = np.random.default_rng(0)
    P = rng.dirichlet([1.0, 1.0, 1.0], size=20_000)
    y = (rng.random((20_000, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert metrics.ece(y, P) < 0.01
    assert metrics.ece(y, np.eye(3)[P.argmax(axis=1)]) > 0.2  # the same guesses, each called certain


@given(cases, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("name", [*LABEL, *PROBABILITY])
def test_row_order_and_class_names_do_not_matter(name, case, random):
    y, P = case
    rows = random.sample(range(len(y)), len(y))
    to = np.array(random.sample(range(P.shape[1]), P.shape[1]))
    renamed = np.empty_like(P)
    renamed[:, to] = P
    value = metrics.measure(name, y, P)
    assert metrics.measure(name, y[rows], P[rows]) == pytest.approx(value, abs=1e-12)
    assert metrics.measure(name, to[y], renamed) == pytest.approx(value, abs=1e-12)


def test_confusion_matrix_equals_scikit_learn():
    y, P = sampled(3)
    said = P.argmax(axis=1)
    theirs = sk.confusion_matrix(y, said, labels=np.arange(5))
    assert (metrics.confusion_matrix(y, said, classes=5) == theirs).all()
    with pytest.raises(OptionError, match="too large"):
        metrics.confusion_matrix(y, said, classes=3)


def test_evaluate_probabilities_has_the_contracts_keys():
    y, P = sampled(4)
    found = metrics.evaluate_probabilities(P, y)
    assert list(found) == ["n", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"]
    assert found["n"] == 60
    assert all(found[name] == pytest.approx(sklearn_value(name, y, P)) for name in (*LABEL, "log_loss"))


@pytest.mark.parametrize(
    ("y", "P", "error"),
    [
        ([], np.empty((0, 2)), DataError),
        ([0, 1], [[0.5, 0.5]], OptionError),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], OptionError),
        ([0, 1], [[2.0, 1.0], [0.0, 1.0]], OptionError),
        ([0, 1], [[np.nan, 1.0], [0.0, 1.0]], OptionError),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], OptionError),
        ([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], OptionError),
        ([0, 1], [0, 1], OptionError),
    ],
)
def test_refuses_what_are_not_probabilities_of_these_items(y, P, error):
    with pytest.raises(error):
        metrics.log_loss(y, P)


def test_an_unknown_metric_names_the_closest():
    with pytest.raises(OptionError, match="Did you mean accuracy"):
        metrics.measure("acuracy", [0], [0])


# --- intervals ----------------------------------------------------------------------------------


@given(cases)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("name", [*LABEL, *PROBABILITY])
def test_an_interval_holds_the_value_and_has_a_width(name, case):
    y, P = case
    found = metrics.metric_interval(name, y, P, resamples=200)
    bounds = metrics.METRICS[name].bounds
    assert bounds[0] <= found.low <= found.value <= found.high <= bounds[1]
    assert found.low < found.high
    assert found.value == metrics.measure(name, y, P)


@pytest.mark.parametrize("name", [*LABEL, *PROBABILITY])
@pytest.mark.parametrize("n", [1, 2, 5, 40, 400])
@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_is_not_certainty(name, n, right):
    y = np.arange(n) % 2
    P = np.eye(2)[y if right else 1 - y]
    found = metrics.metric_interval(name, y, P)
    best, worst = metrics.METRICS[name].bounds[::-1] if name in LABEL else metrics.METRICS[name].bounds
    assert found.value == pytest.approx(best if right else worst, abs=1e-6)
    # The exact limit of a proportion never seen to fail (Clopper-Pearson, two-sided) is 1 - 0.025^(1/n).
    reach = (found.high - found.low) / abs(best - worst)
    exact = 1 - 0.025 ** (1 / n)
    slack = 3 if name == "macro_f1" and not right else 2  # a mistake costs two classes, so 0 is bounded more widely
    assert 0.5 * exact <= reach <= slack * exact


def test_a_perfect_accuracy_has_the_agresti_coull_limit():
    from statsmodels.stats.proportion import proportion_confint

    low, _ = proportion_confint(50, 50, method="agresti_coull")
    found = metrics.metric_interval("accuracy", np.zeros(50, int), np.zeros(50, int))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), 1.0)


@pytest.mark.parametrize("name", ["balanced_accuracy", "log_loss", "macro_f1"])
def test_the_bootstrap_is_scipys_bca(name):
    y, P = sampled(7, n=120, classes=3)
    metric = metrics.METRICS[name]
    terms = metric.terms(y, P if metric.probabilities else P.argmax(axis=1))
    theirs = scipy_bootstrap(
        (np.arange(120),),
        lambda rows, axis: metric.combine(terms[rows].sum(axis=-2)),
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(0),
        batch=2000,
    ).confidence_interval
    value, low, high = metrics.bootstrap.bca(terms, metric.combine, resamples=20_000, seed=0)
    assert value == pytest.approx(metrics.measure(name, y, P))
    tolerance = 0.04 * (theirs.high - theirs.low)
    assert (low, high) == (pytest.approx(theirs.low, abs=tolerance), pytest.approx(theirs.high, abs=tolerance))


def test_the_limits_are_the_bca_formula_with_bias_and_acceleration():
    rng = np.random.default_rng(0)
    x = rng.exponential(size=30)
    theirs = scipy_bootstrap((x,), np.mean, n_resamples=5000, rng=np.random.default_rng(1))
    jackknife = (x.sum() - x) / 29
    ours = metrics.bootstrap.bca_limits(x.mean(), theirs.bootstrap_distribution, jackknife)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=1e-12)


def draw(rng, n, prior, recall):
    y = rng.choice(len(prior), size=n, p=prior)
    wrong = (y + rng.integers(1, len(prior), size=n)) % len(prior)
    return y, np.where(rng.random(n) < recall, y, wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "prior", "recall"),
    [
        (30, [0.7, 0.3], 0.95),
        (100, [0.2] * 5, 0.9),
        (260, [1 / 13] * 13, 0.7),
        (260, [1 / 13] * 13, 0.98),
        (40, [1 / 13] * 13, 0.7),
    ],
)
def test_coverage_is_close_to_95_percent(n, prior, recall):
    covered = dict.fromkeys(LABEL[:2], 0)
    for seed in range(300):
        y, said = draw(np.random.default_rng(seed), n, prior, recall)
        for name in covered:
            found = metrics.metric_interval(name, y, said, resamples=1000, seed=seed)
            covered[name] += found.low <= recall <= found.high
    assert all(300 * 0.91 <= count <= 300 for count in covered.values()), covered


def test_coverage_near_certainty_where_the_bootstrap_alone_fails():
    covered = alone = 0
    for seed in range(120):
        y, said = draw(np.random.default_rng(seed), 60, [0.5, 0.5], 0.98)
        found = metrics.metric_interval("accuracy", y, said, resamples=400, seed=seed)
        covered += found.low <= 0.98 <= found.high
        terms = metrics.METRICS["accuracy"].terms(y, said)
        _, low, high = metrics.bootstrap.bca(terms, metrics.METRICS["accuracy"].combine, resamples=400, seed=seed)
        alone += low <= 0.98 <= high
    assert covered >= 0.93 * 120
    assert alone < 0.85 * 120  # this is why the interval is widened


def test_same_seed_same_interval_and_quick():
    y, P = sampled(9, n=300, classes=13)
    first = metrics.metric_interval("balanced_accuracy", y, P, seed=3)
    start = time.perf_counter()
    assert metrics.metric_interval("balanced_accuracy", y, P, seed=3) == first
    assert time.perf_counter() - start < 0.3  # about 0.013 s on one idle core
    assert metrics.metric_interval("balanced_accuracy", y, P, seed=4) != first


def test_importing_metrics_brings_neither_scipy_nor_scikit_learn():
    code = (
        "import sys; from headway.evaluate import metrics, calibrate; metrics.evaluate_probabilities([[1.0, 0]], [0]);"
        "metrics.metric_interval('ece', [0, 1], [[1.0, 0], [1.0, 0]]);"
        "print(sorted({'scipy', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
