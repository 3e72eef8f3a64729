"""BCa bootstrap intervals of ratios of sums, and the pseudo-count intervals that stand in where a bootstrap collapses.

Every metric here is a function of sums over items (right answers, class sizes, calibration-bin totals, ...). So a
resample is one row of weights, all resamples are one matrix product, and leaving one item out is one subtraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sums: TypeAlias = NDArray[np.float64]
Combine: TypeAlias = Callable[[Sums], NDArray[np.float64]]
"""``[..., k]`` sums over items to ``[...]`` values of a metric."""

_NORMAL = NormalDist()
BLOCKS = 400
_CHUNK = 4_000_000  # weights held at once: 32 MB


def resampled_sums(terms: Sums, *, resamples: int, seed: int) -> Sums:
    """Sums of ``terms [n, k]`` over ``resamples`` draws of n items with replacement: ``[resamples, k]``.

    >>> resampled_sums(np.ones((5, 1)), resamples=3, seed=0)[:, 0]
    array([5., 5., 5.])
    """
    return np.concatenate([W @ terms for W in _resamples(len(terms), resamples=resamples, seed=seed)])


def _resamples(n: int, *, resamples: int, seed: int) -> Iterator[Sums]:
    """How often each of n items is drawn, some ``[m, n]`` resamples at a time."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        cells = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def bca_limits(
    value: float,
    replicates: NDArray[np.floating[Any]],
    jackknife: NDArray[np.floating[Any]],
    *,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Bias-corrected and accelerated limits from replicates ``[R]`` and leave-one-out values ``[n]``.

    Efron, "Better Bootstrap Confidence Intervals", JASA 82 (1987), eqs. 2.3 and 6.6 (the jackknife's acceleration).
    Ties with ``value`` count half. A bias so large that no replicate lies beyond ``value`` is held at half a replicate.

    >>> low, high = bca_limits(0.0, np.linspace(-1, 1, 2001), np.zeros(9))
    >>> round(low, 2), round(high, 2)
    (-0.95, 0.95)
    """
    kept = replicates[np.isfinite(replicates)]
    left = jackknife[np.isfinite(jackknife)]
    if not len(kept):
        return value, value
    below = (np.count_nonzero(kept < value) + np.count_nonzero(kept <= value)) / (2 * len(kept))
    edge = 0.5 / len(kept)
    bias = _NORMAL.inv_cdf(min(max(below, edge), 1 - edge))
    pull = left.mean() - left if len(left) else np.zeros(1)
    spread = float((pull**2).sum())
    acceleration = float((pull**3).sum()) / (6 * spread**1.5) if spread > 1e-24 else 0.0

    def level(tail: float) -> float:
        shifted = bias + _NORMAL.inv_cdf(tail)
        scale = 1 - acceleration * shifted
        return _NORMAL.cdf(bias + shifted / scale) if scale > 0 else float(shifted > 0)

    tail = (1 - confidence) / 2
    low, high = np.quantile(kept, [level(tail), level(1 - tail)])
    return float(low), float(high)


def bca(
    terms: Sums, combine: Combine, *, resamples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``(value, low, high)`` of ``combine(sum of terms)``, resampling whole items (rows of ``terms [n, k]``).

    >>> bca(np.array([[1.0, 1.0], [1.0, 0.0]] * 50), lambda s: s[..., 1] / s[..., 0], resamples=999, seed=0)[0]
    0.5
    """
    total = terms.sum(axis=0)
    value = float(combine(total))
    if len(terms) < 2:
        return value, value, value
    replicates = combine(resampled_sums(terms, resamples=resamples, seed=seed))
    low, high = bca_limits(value, replicates, combine(total - terms), confidence=confidence)
    return value, min(low, value), max(high, value)


def bca_weighted(
    measure: Callable[[Sums], NDArray[np.float64]], n: int, *, resamples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``(value, low, high)`` of a statistic that is no function of sums: ``measure`` takes item weights ``[R, n]``.

    Past :data:`BLOCKS` items the acceleration comes from leaving out blocks of items by turns instead of single ones
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 11.5). Resamples that the statistic cannot
    tell (NaN: an average precision without any positive) are left out.

    >>> bca_weighted(lambda W: W @ np.array([0.0, 1.0] * 20) / W.sum(1), 40, resamples=999, seed=0)[0]
    0.5
    """
    value = float(measure(np.ones((1, n)))[0])
    if n < 2 or not math.isfinite(value):
        return value, value, value
    replicates = np.concatenate([measure(W) for W in _resamples(n, resamples=resamples, seed=seed)])
    blocks = min(n, BLOCKS)
    block = np.arange(n) % blocks
    rows = max(1, _CHUNK // n)
    left = [
        measure((block[None, :] != np.arange(k, min(k + rows, blocks))[:, None]).astype(np.float64))
        for k in range(0, blocks, rows)
    ]
    low, high = bca_limits(value, replicates, np.concatenate(left), confidence=confidence)
    return value, min(low, value), max(high, value)


def agresti_coull(successes: Sums, totals: Sums, *, confidence: float = 0.95, f1: bool = False) -> tuple[float, float]:
    """Limits of the mean of G proportions ``successes / totals`` (``[G]`` each), of nonzero width at 0 and at 1.

    Agresti & Coull, The American Statistician 52 (1998): z² pseudo-items, half of them successes; here they are spread
    evenly over the G groups, and each group past the first costs one item's freedom, also spread, as its own rate is
    estimated. One group of n items gives their interval. With ``f1`` each proportion p = tp/(tp+fp+fn)
    is carried to F1 = 2p/(1+p) by the delta method (the "indirect" route of Lam et al., arXiv 2309.14621); pseudo-items
    and variance then count twice, as one mistake is a false negative of one class and a false positive of another.

    >>> low, high = agresti_coull(np.array([50.0]), np.array([50.0]))
    >>> round(low, 3), high
    (0.915, 1.0)
    """
    groups = len(totals)
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    shared = 2 if f1 else 1
    n = totals + shared * z**2 / groups
    p = (successes + shared * z**2 / (2 * groups)) / n
    value, slope = (2 * p / (1 + p), 2 / (1 + p) ** 2) if f1 else (p, np.ones_like(p))
    centre = float(value.mean())
    free = n - (groups - 1) / groups
    half = z * math.sqrt(shared * float((slope**2 * p * (1 - p) / free).sum())) / groups
    return max(0.0, centre - half), min(1.0, centre + half)


def bonett_price(gains: Sums, losses: Sums, totals: Sums, *, confidence: float = 0.95) -> tuple[float, float]:
    """Limits of the mean over G classes of ``(gains - losses) / totals`` (``[G]`` each), for paired right and wrong.

    Bonett & Price, J. Educational and Behavioral Statistics 37 (2012): one pseudo-item on either side; here spread
    evenly over the classes, as is the freedom that each class past the first costs. One class gives their interval.
    Two models that never differ still get a width, about 2.8 / n: n items cannot show that they never will.

    >>> low, high = bonett_price(np.zeros(1), np.zeros(1), np.array([100.0]))
    >>> round(low, 3), round(high, 3)
    (-0.027, 0.027)
    """
    groups = len(totals)
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    n = totals + 2 / groups
    up, down = (gains + 1 / groups) / n, (losses + 1 / groups) / n
    centre = float((up - down).mean())
    free = n - (groups - 1) / groups
    half = z * math.sqrt(float(((up + down - (up - down) ** 2) / free).sum())) / groups
    return max(-1.0, centre - half), min(1.0, centre + half)


def unseen_limits(
    value: float, n: int, bounds: tuple[float, float], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Limits of a mean when all n items measured alike: a rare kind of item may not have been seen.

    With n alike, a kind of frequency up to q = 1 - (1 - confidence)^(1/n) may be missing (the "rule of three", Hanley
    & Lippman-Hand, JAMA 249, 1983), and each item of it could lie anywhere in ``bounds``.

    >>> low, high = unseen_limits(0.0, 100, (0.0, 2.0))
    >>> low, round(high, 3)
    (0.0, 0.059)
    """
    q = 1 - (1 - confidence) ** (1 / n)
    return value * (1 - q) + q * bounds[0], value * (1 - q) + q * bounds[1]
