"""Two models on one test set by the task's primary metric: the test, the size of the effect, and equivalence.

========================= ============================================== ==============================================
metric                    test of "no difference"                        interval of the difference
========================= ============================================== ==============================================
``balanced_accuracy``     :func:`.compare.mcnemar_balanced`              :func:`.compare.effect_interval`
``mean_average_precision`` :func:`swap_test`, drawn                       BCa, :func:`effect_interval`
``r2``                    :func:`swap_test`, by sign flips               BCa, :func:`effect_interval`
========================= ============================================== ==============================================
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import OptionError
from headway.evaluate import bootstrap, compare
from headway.evaluate.bootstrap import Sums
from headway.evaluate.compare import PairedTest
from headway.evaluate.metrics import prepared
from headway.types import Interval

CLASSES = "balanced_accuracy"
_DRAWS = 9_999
_LEAST_DRAWS = 999
_WORK = 2e7  # weights times columns that a distribution may cost: draws are fewer on large test sets


def paired_test(metric: str, y: ArrayLike, a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> PairedTest:
    """Are a and b equally good? ``effect`` is ``metric(a) - metric(b)``, ``n`` the items on which they differ."""
    if metric == CLASSES:
        return compare.mcnemar_balanced(y, a, b, seed=seed)
    return swap_test(metric, y, a, b, seed=seed)


def effect(
    metric: str,
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    resamples: int = 4000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """``metric(a) - metric(b)`` and its interval over items, never of width 0."""
    if metric == CLASSES:
        return compare.effect_interval(y, a, b, resamples=resamples, confidence=confidence, seed=seed)
    return effect_interval(metric, y, a, b, resamples=resamples, confidence=confidence, seed=seed)


def tost(
    metric: str,
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    margin: float,
    alpha: float = 0.05,
    resamples: int = 4000,
    seed: int = 0,
) -> tuple[bool, Interval]:
    """Are a and b equal within ``±margin``, in the metric's own unit (R² of 0.02: a fiftieth of the variance)?

    Two one-sided tests, as :func:`.compare.tost`; and the ``1 - 2 alpha`` interval that says so.
    """
    if not 0 < margin < 1 or not 0 < alpha < 0.5:
        raise OptionError("the margin or alpha is off", given=f"{margin}, {alpha}", allowed="margin 0..1, alpha 0..0.5")
    found = effect(metric, y, a, b, confidence=1 - 2 * alpha, resamples=resamples, seed=seed)
    return -margin < found.low and found.high < margin, found


def swap_test(metric: str, y: ArrayLike, a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> PairedTest:
    """The paired permutation test: under the null it does not matter which model gave which of an item's two answers.

    Fisher, The Design of Experiments (1935), §21; for average precision, Smucker, Allan and Carterette, CIKM (2007).
    The two answers of every item are swapped with probability 1/2 and the difference is taken again. For R² that is a
    sign flip of each item's difference of squared errors, exact where the sums can be listed. Otherwise 9,999 draws,
    999 on large test sets; the two answers of all items are ranked once, and a swap only moves weights.

    >>> y = np.arange(12.0)
    >>> round(swap_test("r2", y, y, np.full(12, 5.5)).p, 5)
    0.00049
    """
    found, truth, left = prepared(metric, y, a)
    right = prepared(metric, y, b)[2]
    by_a, by_b = found.by_weights(truth, left), found.by_weights(truth, right)
    everyone = np.ones((1, len(truth)))
    observed = float(by_a(everyone)[0] - by_b(everyone)[0])
    if metric == "r2":
        gains = (truth - right) ** 2 - (truth - left) ** 2
        return PairedTest(p=compare.flipped_p(gains, seed=seed), effect=observed, n=int(np.count_nonzero(gains)))
    differ = int((left != right).reshape(len(truth), -1).any(axis=1).sum())
    both = found.by_weights(np.concatenate([truth, truth]), np.concatenate([left, right]))
    rng, draws = np.random.default_rng(seed), _affordable(_DRAWS, 4 * truth.size)
    rows, beyond = max(1, 1_000_000 // len(truth)), 0
    for start in range(0, draws, rows):
        swap = rng.integers(2, size=(min(rows, draws - start), len(truth))).astype(np.float64)
        difference = both(np.hstack([1 - swap, swap])) - both(np.hstack([swap, 1 - swap]))
        beyond += int(np.count_nonzero(np.abs(difference) >= abs(observed) - 1e-9))
    return PairedTest(p=(beyond + 1) / (draws + 1) if differ else 1.0, effect=observed, n=differ)


def effect_interval(
    metric: str,
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    resamples: int = 4000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Difference of any metric: the BCa interval, items resampled and both models at once, and what n items leave open.

    Two models that agree everywhere have a bootstrap of width 0. So the limits are the outer ones of BCa and of
    :func:`.bootstrap.unseen_limits` with a difference of ±1: a rare kind of item may not have been seen. A resample
    without any item of a label leaves that label out of its mean; one that cannot tell at all is left out.

    >>> y = np.arange(200.0)
    >>> found = effect_interval("r2", y, y + 1, y + 1, resamples=200)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.0, -0.015, 0.015)
    """
    found, truth, left = prepared(metric, y, a)
    by_a, by_b = found.by_weights(truth, left), found.by_weights(truth, prepared(metric, y, b)[2])

    def difference(W: Sums) -> NDArray[np.float64]:
        value: NDArray[np.float64] = by_a(W) - by_b(W)
        return value

    value, low, high = bootstrap.bca_weighted(
        difference,
        len(truth),
        resamples=_affordable(resamples, 2 * truth.size),
        seed=seed,
        confidence=confidence,
    )
    value = 0.0 if abs(value) < 1e-12 else value
    least, most = bootstrap.unseen_limits(value, len(truth), (-1.0, 1.0), confidence=confidence)
    return Interval(value=value, low=min(low, least), high=max(high, most))


def _affordable(draws: int, work: int) -> int:
    """As many draws of a statistic that costs ``work`` numbers as time allows, and enough for a 95 % interval."""
    return int(max(min(draws, _LEAST_DRAWS), min(draws, _WORK / max(work, 1))))
