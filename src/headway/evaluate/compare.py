"""Paired comparisons: two models on the same items, two methods on the same splits, several arms at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import DataError, OptionError
from headway.evaluate import bootstrap
from headway.evaluate.bootstrap import Sums
from headway.evaluate.checks import class_indices
from headway.evaluate.metrics import metric_named
from headway.types import FloatArray, IntArray, Interval

_ENUMERATED = 200_000  # sums of signs held at once; beyond this the sign flips are drawn
_FLIPS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """A two-sided test of "no difference": ``p`` in 0..1, the ``effect`` it is about, and ``n`` pairs that spoke."""

    p: float
    effect: float
    n: int


# --- one test set -------------------------------------------------------------------------------


def mcnemar_exact(a_right: ArrayLike, b_right: ArrayLike) -> PairedTest:
    """Are a and b right equally often? ``[n]`` booleans each, same items.

    Of the discordant pairs (one right, one wrong) each side wins half under the null: a two-sided binomial test,
    McNemar, Psychometrika 12 (1947). Exact at every count, so the chi-square approximation that textbooks take above
    25 discordant pairs is not needed. ``effect`` = accuracy of a - accuracy of b; ``n`` = discordant pairs.

    >>> mcnemar_exact([True] * 6 + [False], [False] * 6 + [False]).p
    0.03125
    """
    from scipy.special import bdtr

    a, b = _right(a_right), _right(b_right)
    if a.shape != b.shape:
        raise OptionError(
            "both sides need the same items", given=f"{len(a)} and {len(b)} items", allowed="equal numbers"
        )
    wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
    p = min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5))) if wins + losses else 1.0
    return PairedTest(p=p, effect=(wins - losses) / len(a), n=wins + losses)


def mcnemar_balanced(y: ArrayLike, a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> PairedTest:
    """McNemar's test for balanced accuracy: ``y``, and two predictions ``a`` and ``b``, ``[n]`` class indices.

    McNemar compares accuracies, so with uneven classes it can favour the model with the *lower* balanced accuracy. Here
    a discordant item of a class of n_c items weighs 1 / n_c, and its sign is flipped with probability 1/2: the paired
    permutation test of the balanced accuracies' difference. With classes of equal size all weights are equal and this
    is :func:`mcnemar_exact`, number for number. Exact up to some hundred thousand distinct sums, then 100,000 draws.

    >>> round(mcnemar_balanced([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]).p, 5)
    0.03125
    """
    y, a, b = same_items(y, a, b)
    _, index, size = np.unique(y, return_inverse=True, return_counts=True)
    signs = (a == y).astype(np.int64) - (b == y)
    differences = signs / size[index]
    p = flipped_p(differences, seed=seed)
    return PairedTest(p=p, effect=float(differences.sum() / len(size)), n=int(np.count_nonzero(signs)))


def bca_interval(
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    metric: str = "balanced_accuracy",
    resamples: int = 4000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """``metric(a) - metric(b)`` on the same items, with its BCa interval: items are resampled, both models at once.

    ``a`` and ``b`` are class indices ``[n]`` (probabilities ``[n, C]`` for a probability metric).
    Efron, JASA 82 (1987). Where the two never differ it has width 0: :func:`effect_interval` does not.

    >>> bca_interval([0, 1] * 20, [0, 1] * 20, [0, 0] * 20).value
    0.5
    """
    found = metric_named(metric)
    assert found.terms is not None and found.combine is not None  # those of classes all have terms
    combine = found.combine
    if found.probabilities:
        y, left, right = class_indices(y, "the true classes"), np.asarray(a), np.asarray(b)
    else:
        y, left, right = same_items(y, a, b)
    of_a, of_b = found.terms(y, left), found.terms(y, right)
    width = of_a.shape[1]

    def difference(sums: Sums) -> NDArray[np.float64]:
        value: NDArray[np.float64] = combine(sums[..., :width]) - combine(sums[..., width:])
        return value

    value, low, high = bootstrap.bca(
        np.concatenate([of_a, of_b], axis=1), difference, resamples=resamples, seed=seed, confidence=confidence
    )
    value = 0.0 if abs(value) < 1e-12 else value  # so that a tie is a tie, whatever the order of the sums
    return Interval(value=value, low=low, high=high)


def effect_interval(
    y: ArrayLike, a: ArrayLike, b: ArrayLike, *, resamples: int = 4000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Difference of balanced accuracies: the BCa interval, widened where it is narrower than n items can justify.

    With few discordant pairs a bootstrap is too sure (none at all: width 0). The limits are therefore the outer ones of
    :func:`bca_interval` and of the class-weighted :func:`.bootstrap.bonett_price`.

    >>> found = effect_interval([0, 1] * 50, [0, 1] * 50, [0, 1] * 50)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.0, -0.027, 0.027)
    """
    found = bca_interval(y, a, b, resamples=resamples, confidence=confidence, seed=seed)
    y, a, b = same_items(y, a, b)
    _, index, size = np.unique(y, return_inverse=True, return_counts=True)
    signs = (a == y).astype(np.int64) - (b == y)
    gains, losses = (np.bincount(index, signs == sign, len(size)).astype(np.float64) for sign in (1, -1))
    low, high = bootstrap.bonett_price(gains, losses, size.astype(np.float64), confidence=confidence)
    return Interval(value=found.value, low=min(low, found.low), high=max(high, found.high))


def tost(
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    margin: float,
    alpha: float = 0.05,
    resamples: int = 4000,
    seed: int = 0,
) -> tuple[bool, Interval]:
    """Are two balanced accuracies equal within ``±margin`` (0..1)? And the ``1 - 2 alpha`` interval that says so.

    Two one-sided tests at ``alpha`` each: equivalent when that whole interval lies inside ``(-margin, margin)``.
    Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987).

    >>> tost([0, 1] * 100, [0, 1] * 100, [0, 1] * 100, margin=0.02)[0]
    True
    """
    if not 0 < margin < 1 or not 0 < alpha < 0.5:
        raise OptionError("the margin or alpha is off", given=f"{margin}, {alpha}", allowed="margin 0..1, alpha 0..0.5")
    found = effect_interval(y, a, b, confidence=1 - 2 * alpha, resamples=resamples, seed=seed)
    return -margin < found.low and found.high < margin, found


# --- several splits, several arms ---------------------------------------------------------------


def corrected_resampled_t(
    differences: ArrayLike, *, n_train: int, n_test: int, confidence: float = 0.95
) -> tuple[PairedTest, Interval]:
    """Did one method beat another over J random splits of one data set? ``differences [J]``, J >= 2.

    The splits share training items, so the variance is corrected: t = mean / sqrt((1/J + n_test/n_train) s²), J - 1
    degrees of freedom. Nadeau & Bengio, Machine Learning 52 (2003), eq. 5.

    >>> test, interval = corrected_resampled_t([0.03, 0.05, 0.02, 0.04, 0.06], n_train=90, n_test=10)
    >>> round(test.p, 4), round(interval.low, 4), round(interval.high, 4)
    (0.0105, 0.0155, 0.0645)
    """
    from scipy.stats import t

    d = _finite(differences, at_least=2, why="the spread of one difference is unknown")
    if n_train < 1 or n_test < 1:
        raise OptionError("a split side is empty", given=f"{n_train} and {n_test} items", allowed="1 or more each")
    mean = float(d.mean())
    error = math.sqrt((1 / len(d) + n_test / n_train) * float(d.var(ddof=1)))
    half = error * float(t.ppf((1 + confidence) / 2, len(d) - 1))
    p = 2 * float(t.sf(abs(mean) / error, len(d) - 1)) if error > 0 else float(mean == 0)
    return PairedTest(p=p, effect=mean, n=len(d)), Interval(value=mean, low=mean - half, high=mean + half)


def sign_flip(differences: ArrayLike, *, seed: int = 0) -> PairedTest:
    """Is the mean of paired ``differences [n]`` other than 0? Every sign flip is counted. Needs n >= 6.

    Fisher's permutation test (The Design of Experiments, 1935, §21): assumes only that, under the null, a difference is
    as likely as its negative. With 5 pairs p cannot go below 2/32, so :class:`DataError` says so. Exact where the sums
    can be listed, else 100,000 draws.

    >>> round(sign_flip([1, 2, 3, 4, 5, 6]).p, 5)
    0.03125
    """
    d = _finite(differences, at_least=6, why="with fewer than 6 pairs no sign-flip test can reach p < 0.05")
    return PairedTest(p=flipped_p(d, seed=seed), effect=float(d.mean()), n=len(d))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p values, in the order given. Holm, Scandinavian J. Statistics 6 (1979).

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    given = np.asarray(p, np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise OptionError("p values are off", given=list(p), allowed="numbers in 0..1")
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(steps, 1.0)
    return tuple(adjusted.tolist())


# --- inside -------------------------------------------------------------------------------------


def flipped_p(differences: FloatArray, *, seed: int) -> float:
    """Two-sided p of the sum under random signs. Equal sizes are one binomial, so ties cost nothing."""
    from scipy.stats import binom

    scale = float(np.abs(differences).max())
    if scale == 0:
        return 1.0
    sizes, counts = np.unique(np.abs(np.round(differences / scale, 12)), return_counts=True)
    sizes, counts = sizes[sizes > 0], counts[sizes > 0]
    seen = abs(float(differences.sum())) / scale - 1e-9
    if float(np.prod(counts + 1.0)) > _ENUMERATED:
        rng = np.random.default_rng(seed)
        sums = np.zeros(_FLIPS)
        for size, count in zip(sizes, counts, strict=True):
            sums += size * (2 * rng.binomial(count, 0.5, _FLIPS) - count)
        return float((np.count_nonzero(np.abs(sums) >= seen) + 1) / (_FLIPS + 1))
    sums, weights = np.zeros(1), np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        heads = np.arange(count + 1)
        sums = np.add.outer(sums, size * (2 * heads - count)).ravel()
        weights = np.multiply.outer(weights, binom.pmf(heads, count, 0.5)).ravel()
    return min(1.0, float(weights[np.abs(sums) >= seen].sum()))


def same_items(y: ArrayLike, *predictions: ArrayLike) -> tuple[IntArray, ...]:
    """``y`` and every prediction as class indices ``[n]`` of one length.

    >>> [len(column) for column in same_items([0, 1], [1, 1])]
    [2, 2]
    """
    columns = (class_indices(y, "the true classes"), *(class_indices(p, "the predictions") for p in predictions))
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise OptionError(
            "predictions must be of the same test items", given=f"lengths {lengths}", allowed="one length"
        )
    return columns


def _right(values: ArrayLike) -> NDArray[np.bool_]:
    right: NDArray[Any] = np.asarray(values)
    if right.ndim != 1 or right.dtype != np.bool_ or not len(right):
        raise OptionError(
            "right or wrong is one boolean an item",
            given=f"{right.dtype} {right.shape}",
            allowed="bool, shape [n], n >= 1",
        )
    return right


def _finite(values: ArrayLike, *, at_least: int, why: str) -> FloatArray:
    d = np.asarray(values, np.float64)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise OptionError("differences are off", given=f"shape {d.shape}", allowed="finite numbers, shape [n]")
    if len(d) < at_least:
        raise DataError(
            why, given=f"{len(d)} pairs", allowed=f"{at_least} or more", todo="Repeat on more splits or items"
        )
    return d
