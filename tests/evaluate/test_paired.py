"""Two models of labels or of numbers on one test set: the test, the effect, equivalence and the verdict."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import OptionError
from headway.evaluate import compare, paired
from headway.evaluate.metrics import measure
from headway.evaluate.verdict import decide

AP, R2 = "mean_average_precision", "r2"
EVERY = pytest.mark.parametrize("metric", [AP, R2])
FEW = settings(max_examples=5, deadline=None)


def made(metric, seed, n=80, *, skill=1.0, other=0.0):
    """Truth and the answers of two models of different skill."""
    rng = np.random.default_rng(seed)
    if metric == R2:
        y = rng.normal(size=n)
        return y, *(s * y + np.sqrt(1.0001 - s**2) * rng.normal(size=n) * s for s in (skill, other))
    Y = (rng.random((n, 3)) < 0.3).astype(np.int64)
    return Y, *(np.clip(0.5 * s * Y + 0.5 * rng.random((n, 3)), 0, 1) for s in (skill, other))


@EVERY
def test_the_effect_is_the_difference_and_swapping_the_sides_turns_it_round(metric):
    y, a, b = made(metric, 0, skill=0.9, other=0.5)
    one, other = (paired.effect(metric, y, *sides, resamples=500) for sides in ((a, b), (b, a)))
    assert one.value == pytest.approx(measure(metric, y, a) - measure(metric, y, b))
    assert one.low < one.value < one.high
    assert other.value == pytest.approx(-one.value)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=0.02)
    test, back = (paired.paired_test(metric, y, *sides) for sides in ((a, b), (b, a)))
    assert test.effect == pytest.approx(one.value) and test.effect == pytest.approx(-back.effect)
    assert test.p == pytest.approx(back.p, abs=0.01)


@EVERY
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_p_value_is_that_of_all_swaps_listed(metric, seed):
    y, a, b = made(metric, seed, 10, skill=0.8, other=0.2)
    if metric == AP:
        y[0], y[1] = 1, 0
    column = (10,) if metric == R2 else (10, 1)
    swaps = (np.reshape(swap, column) for swap in product([False, True], repeat=10))
    sides = ((np.where(swap, b, a), np.where(swap, a, b)) for swap in swaps)
    found = np.array([measure(metric, y, one) - measure(metric, y, other) for one, other in sides])
    exact = (np.abs(found) >= abs(found[0]) - 1e-9).mean()
    assert paired.swap_test(metric, y, a, b).p == pytest.approx(exact, abs=1e-12 if metric == R2 else 0.02)


@EVERY
def test_p_values_are_spread_evenly_under_the_null(metric):
    found = np.array([paired.swap_test(metric, *made(metric, seed, 30, skill=0.5, other=0.5)).p for seed in range(60)])
    assert (found < 0.05).mean() < 0.12
    assert found.mean() == pytest.approx(0.5, abs=0.11)


@EVERY
def test_two_models_that_agree_differ_by_nothing_but_not_for_certain(metric):
    y, a, _ = made(metric, 0)
    assert paired.paired_test(metric, y, a, a) == compare.PairedTest(p=1.0, effect=0.0, n=0)
    found = paired.effect(metric, y, a, a, resamples=300)
    assert found.value == 0 and found.low < -0.02 < 0.02 < found.high
    y, a, _ = made(metric, 0, 400)
    assert paired.tost(metric, y, a, a, margin=0.02, resamples=300)[0]
    assert not paired.tost(metric, y[:50], a[:50], a[:50], margin=0.02, resamples=300)[0]


@EVERY
def test_five_items_prove_nothing(metric):
    for seed in range(10):
        y, a, b = made(metric, seed, 5)
        if metric == AP:
            y[0], y[1] = 1, 0
        assert paired.swap_test(metric, y, a, b).p > 0.05


def test_a_large_test_set_takes_fewer_draws_and_still_seconds():
    import time

    y, a, b = made(AP, 0, 4000)
    started = time.perf_counter()
    assert paired.swap_test(AP, y, a, b).p == pytest.approx(0.001)
    paired.effect(AP, y, a, b)
    assert time.perf_counter() - started < 30


def test_the_margin_is_checked():
    y, a, b = made(R2, 0)
    with pytest.raises(OptionError, match="margin"):
        paired.tost(R2, y, a, b, margin=0)


# --- the verdict --------------------------------------------------------------------------------


def verdict(metric, y, transfer, classical, *, validation=None, seed=0):
    prior = np.broadcast_to(y.mean(axis=0), y.shape)
    arms = {"classical": classical, "prior": np.array(prior, float)}
    return decide(
        y,
        transfer=transfer,
        arms=arms,
        validation=validation or {"classical": 0.5, "prior": 0.0},
        seed=seed,
        resamples=500,
        metric=metric,
        wording={"prior": "always guessing the mean"},
    )


@EVERY
def test_helps_and_harms(metric):
    y, a, b = made(metric, 0, 120, skill=0.95, other=0.3)
    good, bad = verdict(metric, y, a, b), verdict(metric, y, b, a)
    assert (good.outcome, good.against, good.metric) == ("helps", "classical", metric)
    assert (bad.outcome, bad.effect) == ("harms", pytest.approx(-good.effect))
    assert good.arms["transfer"].value == pytest.approx(measure(metric, y, a))
    assert good.arms["prior"].value == pytest.approx(0 if metric == R2 else y.mean())
    assert ("of R²" if metric == R2 else "points") in good.advice


@EVERY
def test_equal_models_are_equivalent_on_many_items_and_undecided_on_few(metric):
    y, a, _ = made(metric, 0, 400, skill=0.9)
    assert verdict(metric, y, a, a).outcome == "equivalent"
    few = verdict(metric, y[:40], a[:40], a[:40])
    assert few.outcome == "undecided" and "more test items" in few.advice


@EVERY
def test_no_better_than_chance_does_not_help(metric):
    y, a, b = made(metric, 0, 80, skill=0.0, other=0.0)
    worse = b - 5 * y if metric == R2 else 1 - np.clip(y + 0.1 * b, 0, 1)
    assert verdict(metric, y, a, worse).outcome != "helps"


@EVERY
@FEW
@given(st.integers(0, 10_000))
def test_shuffled_test_targets_never_help(metric, seed):
    y, a, b = made(metric, seed, 60, skill=0.95, other=0.3)
    shuffled = np.random.default_rng(seed + 1).permutation(y)
    assert verdict(metric, shuffled, a, b, seed=seed).outcome != "helps"


@EVERY
@FEW
@given(st.integers(0, 1000))
def test_the_order_of_items_and_of_labels_does_not_matter(metric, seed):
    y, a, b = made(metric, seed, 40, skill=0.8, other=0.5)
    order = np.random.default_rng(seed).permutation(40)
    turned = (column[order] if metric == R2 else column[order][:, ::-1] for column in (y, a, b))
    one, other = verdict(metric, y, a, b), verdict(metric, *turned)
    assert other.effect == pytest.approx(one.effect)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.1)


def test_the_unit_of_numbers_does_not_matter_to_the_verdict():
    y, a, b = made(R2, 0, 60, skill=0.8, other=0.6)
    one, other = verdict(R2, y, a, b), verdict(R2, 1e5 * y + 7, 1e5 * a + 7, 1e5 * b + 7)
    assert (other.outcome, other.p) == (one.outcome, one.p)
    assert (other.effect, other.low, other.high) == pytest.approx((one.effect, one.low, one.high), rel=1e-6)
