"""Metrics of labels and of numbers: against scikit-learn and scipy, under resampling, and at their edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn import metrics as sk

from headway.errors import DataError, OptionError
from headway.evaluate.metrics import evaluate_probabilities, measure, metric_interval, metric_named
from headway.tasks import multilabel, regression

FEW = settings(max_examples=25, deadline=None)
THRESHOLDS = np.array([0.3, 0.5, 0.7, 0.5])


def labels(seed, n=40, C=4, *, ties=True):
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, C)) < np.linspace(0.1, 0.6, C)).astype(np.int64)
    Y[0] = 1
    P = np.clip(0.3 * Y + 0.7 * rng.random((n, C)), 0, 1)
    return Y, np.round(P, 1) if ties else P


def numbers(seed, n=40):
    rng = np.random.default_rng(seed)
    y = np.round(rng.normal(5, 2, n), 1)
    return y, np.round(y + rng.normal(size=n), 1)


# --- labels -------------------------------------------------------------------------------------


@FEW
@given(st.integers(0, 10_000), st.booleans())
def test_label_metrics_equal_scikit_learn(seed, ties):
    Y, P = labels(seed, ties=ties)
    said = P >= THRESHOLDS
    expected = {
        "mean_average_precision": sk.average_precision_score(Y, P),
        "macro_f1": sk.f1_score(Y, said, average="macro", zero_division=np.nan),
        "micro_f1": sk.f1_score(Y, said, average="micro"),
        "hamming_loss": sk.hamming_loss(Y, said),
        "subset_accuracy": sk.accuracy_score(Y, said),
        "log_loss": np.mean(
            [sk.log_loss(Y[:, c], np.clip(P[:, c], 1.2e-7, 1 - 1.2e-7), labels=[0, 1]) for c in range(4)]
        ),
    }
    for name, value in expected.items():
        assert measure(name, Y, P, thresholds=THRESHOLDS) == pytest.approx(value, abs=1e-6), name


@FEW
@given(st.integers(0, 10_000))
@pytest.mark.parametrize("name", multilabel.METRICS)
def test_a_weight_is_a_repetition(name, seed):
    Y, P = labels(seed)
    weight = np.random.default_rng(seed).integers(0, 4, 40)
    weight[0] = 1
    repeated = measure(name, np.repeat(Y, weight, 0), np.repeat(P, weight, 0))
    assert measure(name, Y, P, weight=weight) == pytest.approx(repeated, abs=1e-9)


def test_a_label_that_no_item_has_is_left_out_of_the_mean():
    Y, P = labels(0)
    more, said = np.hstack([Y, np.zeros((40, 1), np.int64)]), np.hstack([P, np.full((40, 1), 0.9)])
    assert measure("mean_average_precision", more, said) == measure("mean_average_precision", Y, P)
    assert measure("macro_f1", more, np.hstack([P, np.zeros((40, 1))])) == measure("macro_f1", Y, P)
    assert measure("macro_f1", more, said) == pytest.approx(measure("macro_f1", Y, P) * 4 / 5)  # wrongly on everywhere
    assert np.isnan(measure("mean_average_precision", np.zeros((3, 2), int), np.full((3, 2), 0.5)))


def test_average_precision_of_one_answer_for_all_is_how_often_the_label_occurs():
    Y, _ = labels(0)
    same = np.broadcast_to(Y.mean(0), Y.shape)
    assert measure("mean_average_precision", Y, same) == pytest.approx(Y.mean())


@FEW
@given(st.integers(0, 10_000))
def test_only_the_order_of_scores_counts_for_average_precision(seed):
    Y, P = labels(seed)
    assert measure("mean_average_precision", Y, P**3 / 2) == measure("mean_average_precision", Y, P)


def test_ece_is_the_gap_between_said_and_true():
    Y = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
    assert measure("ece", Y, np.full((4, 2), 0.5)) == pytest.approx(0.0)
    assert measure("ece", Y, np.full((4, 2), 0.9)) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    P = rng.random((5000, 3))
    assert measure("ece", (rng.random((5000, 3)) < P).astype(int), P) < 0.02


# --- numbers ------------------------------------------------------------------------------------


@FEW
@given(st.integers(0, 10_000))
def test_number_metrics_equal_scikit_learn_and_scipy(seed):
    y, said = numbers(seed)
    expected = {
        "r2": sk.r2_score(y, said),
        "mae": sk.mean_absolute_error(y, said),
        "rmse": sk.root_mean_squared_error(y, said),
        "pearson": stats.pearsonr(y, said)[0],
        "spearman": stats.spearmanr(y, said)[0],
    }
    for name, value in expected.items():
        assert measure(name, y, said) == pytest.approx(value, abs=1e-9), name
        assert measure(name, y, said[:, None]) == measure(name, y, said)


@FEW
@given(st.integers(0, 10_000))
@pytest.mark.parametrize("name", regression.METRICS)
def test_a_weight_is_a_repetition_of_numbers(name, seed):
    y, said = numbers(seed)
    weight = np.random.default_rng(seed).integers(0, 4, 40)
    repeated = measure(name, np.repeat(y, weight), np.repeat(said, weight))
    assert measure(name, y, said, weight=weight) == pytest.approx(repeated, abs=1e-9)


@FEW
@given(st.integers(0, 10_000), st.sampled_from([1e-6, 0.1, 1e6]), st.sampled_from([-1e6, 0.0, 3.0]))
def test_the_unit_and_the_zero_matter_where_they_should(seed, unit, zero):
    y, said = numbers(seed)
    for name in ("r2", "pearson", "spearman"):
        assert measure(name, unit * y + zero, unit * said + zero) == pytest.approx(measure(name, y, said), abs=1e-3)
    for name in ("mae", "rmse"):
        expected = unit * measure(name, y, said)
        assert measure(name, unit * y + zero, unit * said + zero) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_numbers_that_say_nothing():
    y, _ = numbers(0)
    same = np.full(40, y.mean())
    assert [measure(name, y, same) for name in ("r2", "pearson", "spearman")] == pytest.approx([0, 0, 0], abs=1e-12)
    assert measure("r2", y, -y) < 0
    for name in ("r2", "pearson", "spearman"):
        assert np.isnan(measure(name, np.ones(5), np.arange(5.0)))
    assert measure("mae", np.ones(5), np.ones(5)) == 0


# --- intervals ----------------------------------------------------------------------------------


def _made(task, seed, n=40):
    return labels(seed, n) if task is multilabel else numbers(seed, n)


EVERY = pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task in (multilabel, regression) for name in task.METRICS]
)


@EVERY
@pytest.mark.parametrize("n", [2, 5, 40])
def test_an_interval_holds_the_value_and_stays_in_range(task, name, n):
    y, said = _made(task, 1, n)
    found = metric_interval(name, y, said, resamples=300)
    low, high = metric_named(name, task.LINK).bounds
    assert low <= found.low <= found.value <= found.high <= high
    assert found.value == pytest.approx(measure(name, y, said))
    if n == 40:
        assert found.low < found.high


@pytest.mark.parametrize("name", multilabel.METRICS)
def test_all_right_is_not_certainty(name):
    Y, _ = labels(0)
    found = metric_interval(name, Y, Y.astype(float), resamples=300)
    best = metric_named(name, "sigmoid").bounds[int(metric_named(name, "sigmoid").larger_is_better)]
    assert found.value == pytest.approx(best, abs=1e-6)
    assert found.high - found.low > 0.005


@pytest.mark.parametrize("name", ["mean_average_precision", "spearman", "r2", "rmse", "hamming_loss"])
def test_the_bootstrap_is_scipys_bca(name):
    y, said = _made(multilabel if name in multilabel.METRICS else regression, 3, 60)
    found = metric_interval(name, y, said, resamples=4000)

    def statistic(rows):
        return measure(name, y[rows], said[rows])

    rows = np.arange(60)
    peer = scipy_bootstrap(
        (rows,), statistic, n_resamples=4000, vectorized=False, rng=np.random.default_rng(0)
    ).confidence_interval
    width = peer.high - peer.low
    assert found.low == pytest.approx(peer.low, abs=0.08 * width)
    assert found.high == pytest.approx(peer.high, abs=0.08 * width)


@pytest.mark.parametrize("name", ["mean_average_precision", "r2"])
def test_coverage_is_close_to_95_percent(name):
    task = multilabel if name in multilabel.METRICS else regression
    y, said = _made(task, 0, 200_000)
    truth, inside = measure(name, y, said), 0
    rng = np.random.default_rng(1)
    for seed in range(150):
        rows = rng.integers(len(y), size=100)
        found = metric_interval(name, y[rows], said[rows], resamples=400, seed=seed)
        inside += found.low <= truth <= found.high
    assert 0.88 <= inside / 150 <= 0.99


def test_many_items_leave_blocks_out_and_agree_with_leaving_items_out(monkeypatch):
    from headway.evaluate import bootstrap

    Y, P = labels(0, 300)
    blocks = metric_interval("mean_average_precision", Y, P)
    monkeypatch.setattr(bootstrap, "BLOCKS", 50)
    fewer = metric_interval("mean_average_precision", Y, P)
    assert (fewer.low, fewer.high) != (blocks.low, blocks.high)
    assert (fewer.low, fewer.high) == pytest.approx((blocks.low, blocks.high), abs=0.004)


# --- what is reported, and refused --------------------------------------------------------------


def test_what_evaluate_reports():
    Y, P = labels(0)
    found = evaluate_probabilities(P, Y, thresholds=THRESHOLDS)
    assert list(found) == ["n", *multilabel.METRICS] and found["n"] == 40
    assert found["subset_accuracy"] == sk.accuracy_score(Y, P >= THRESHOLDS)
    y, said = numbers(0)
    assert list(evaluate_probabilities(said[:, None], y)) == ["n", *regression.METRICS]


@pytest.mark.parametrize(
    ("name", "y", "said", "error", "says"),
    [
        ("mean_average_precision", np.zeros((0, 2), int), np.zeros((0, 2)), DataError, "nothing to measure"),
        ("mean_average_precision", np.array([[0, 2]]), np.array([[0.1, 0.2]]), OptionError, "on or off"),
        ("mean_average_precision", np.array([[0, 1]]), np.array([[0.1]]), OptionError, "do not fit"),
        ("mean_average_precision", np.array([[0, 1]]), np.array([[0.1, 1.2]]), OptionError, "sigmoid"),
        ("mean_average_precision", np.array([[0, 1]]), np.array([[0.1, np.nan]]), OptionError, "do not fit"),
        ("accuracy", np.array([[0, 1]]), np.array([[0.1, 0.2]]), OptionError, "subset_accuracy"),
        ("r2", np.array([0.5, 1.0]), np.array([0.5]), OptionError, "predictions are off"),
        ("r2", np.array([0.5, np.nan]), np.array([0.5, 1.0]), OptionError, "true numbers are off"),
        ("rmsd", np.array([0.5, 1.0]), np.array([0.5, 1.0]), OptionError, "Did you mean rmse"),
    ],
)
def test_refuses_what_does_not_fit(name, y, said, error, says):
    with pytest.raises(error, match=says):
        measure(name, y, said)
