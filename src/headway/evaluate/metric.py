"""What a metric is: a function of sums over items, or of item weights, so that resampling it costs a product.

numpy only, as everything that prediction loads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.bootstrap import Combine, Sums
from headway.tasks._measures import Weighted
from headway.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Metric:
    """``combine(sum over items of terms(y, prediction))`` is the metric's value; or ``weighted`` gives it by weights.

    ``y`` and the prediction are those of the task: class numbers ``[n]`` and class numbers or probabilities ``[n, C]``;
    labels ``[n, C]`` and decisions or probabilities ``[n, C]``; numbers ``[n]`` and numbers ``[n]``.
    """

    name: str
    terms: Callable[[Any, Any], Sums] | None  # to [n, k]
    combine: Combine | None
    bounds: tuple[float, float]
    probabilities: bool = False
    larger_is_better: bool = True
    proportions: Callable[[Sums], tuple[Sums, Sums]] | None = None  # sums -> successes [G], totals [G]
    weighted: Callable[[Any, Any], Weighted] | None = None  # where there are no terms

    def by_weights(self, y: Any, prediction: Any) -> Weighted:
        """The metric of these items as a function of their weights ``[R, n]``."""
        if self.weighted is not None:
            return self.weighted(y, prediction)
        assert self.terms is not None and self.combine is not None
        terms, combine = self.terms(y, prediction), self.combine
        return lambda W: combine(W @ terms)


def one_hot(index: IntArray, columns: int) -> Sums:
    """``[n, columns]``: 1 in the column of the index."""
    hot: Sums = (index[:, None] == np.arange(columns)).astype(np.float64)
    return hot


def with_ones(values: FloatArray | NDArray[np.bool_]) -> Sums:
    """``[n, 2]``: the terms of a mean over items."""
    return np.column_stack([np.ones(len(values)), values.astype(np.float64)])


def per_item(sums: Sums) -> NDArray[np.float64]:
    """The mean, from the sums of :func:`with_ones`."""
    value: NDArray[np.float64] = sums[..., 1] / sums[..., 0]
    return value


def mean_ratio(numerator: Sums, denominator: Sums) -> NDArray[np.float64]:
    """Mean of the ratios whose denominator is not 0."""
    there = denominator > 1e-9
    ratio = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=there)
    count = there.sum(axis=-1)
    mean: NDArray[np.float64] = np.divide(ratio.sum(axis=-1), count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean
