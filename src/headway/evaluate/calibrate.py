"""Temperature scaling of out-of-fold scores: probabilities that mean what they say, predictions unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import OptionError
from headway.evaluate.checks import class_indices
from headway.linear.head import probabilities
from headway.types import IntArray

_REACH = 1e4  # score gap / temperature is kept within 1 / reach .. reach
_STEPS = 60


def fit_temperature(scores: ArrayLike, y: ArrayLike, *, balanced: bool = False) -> float:
    """The temperature T > 0 for which ``softmax(scores / T)`` predicts ``y`` best. ``scores [n, C]`` out of fold.

    Minimises log loss in 1/T, where it is convex (Guo et al., ICML 2017, §4.2), so there is one answer and bisection
    finds it. Each target gives 1/(n+2) of its mass to all classes alike (Platt 1999, after Laplace), so scores that
    separate the classes get a finite T and n items never claim more than about n : 1. If that smoothing would cost log
    loss against T = 1, T is 1: the plain log loss of the given rows is never worse than at T = 1. ``balanced`` gives
    every class present in y the same total weight. Scores that say nothing (every row flat) give 1.

    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(3, size=3000)
    >>> scores = rng.normal(size=(3000, 3)) + 2 * np.eye(3)[y]  # this needs T = 1 / 2
    >>> 0.45 < fit_temperature(scores, y) < 0.55
    True
    """
    s, truth = _checked(scores, y)
    share = 1 / (len(s) + 2)
    weight = _class_weights(truth) if balanced else np.full(len(s), 1 / len(s))
    gaps = s - s.max(axis=1, keepdims=True)
    spread = float(-gaps.min())
    if spread == 0:
        return 1.0
    target = (1 - share) * gaps[np.arange(len(s)), truth] + share * gaps.mean(axis=1)
    low, high = np.log(1 / _REACH / spread), np.log(_REACH / spread)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        P = probabilities(gaps * np.exp(middle))
        slope = float(weight @ ((P * gaps).sum(axis=1) - target))
        low, high = (low, middle) if slope > 0 else (middle, high)
        if high - low < 1e-6:
            break
    temperature = float(np.exp(-(low + high) / 2))
    better = _loss(gaps / temperature, truth, weight) <= _loss(gaps, truth, weight)
    return temperature if better else 1.0


def _loss(gaps: NDArray[np.float64], y: IntArray, weight: NDArray[np.float64]) -> float:
    return float(weight @ (np.log(np.exp(gaps).sum(axis=1)) - gaps[np.arange(len(y)), y]))


def _class_weights(y: IntArray) -> NDArray[np.float64]:
    """``[n]``, summing to 1, equal totals for every class present."""
    present, index, size = np.unique(y, return_inverse=True, return_counts=True)
    weight: NDArray[np.float64] = 1.0 / (size[index] * len(present))
    return weight


def _checked(scores: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], IntArray]:
    s, truth = _scores(scores), class_indices(y, "the true classes")
    if len(s) != len(truth) or truth.max() >= s.shape[1]:
        raise OptionError(
            "the scores do not fit the classes",
            given=f"scores {s.shape}, {len(truth)} items, largest class {truth.max()}",
            allowed="one row an item, one column a class",
        )
    return s, truth


def _scores(scores: ArrayLike) -> NDArray[np.float64]:
    s: NDArray[Any] = np.asarray(scores, np.float64)
    if s.ndim != 2 or not s.shape[1] or not np.isfinite(s).all():
        raise OptionError("the scores are off", given=f"shape {s.shape}", allowed="finite numbers, shape [n, C]")
    return s
