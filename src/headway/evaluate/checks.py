"""What metrics and comparisons refuse: arrays that are not class indices, probabilities or weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import DataError, OptionError
from headway.types import FloatArray, IntArray

_SLACK = 1e-3  # float16 softmax rows sum to 1 within this


def class_indices(values: ArrayLike, what: str) -> IntArray:
    """``[n]`` integers >= 0, n >= 1, as int64. Raises :class:`DataError` when there are none.

    >>> class_indices([0, 2], "the classes")
    array([0, 2])
    """
    array = np.asarray(values)
    if not array.size:
        raise DataError(
            "there is nothing to measure", given="0 items", allowed="1 or more", todo="Give a larger test set"
        )
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0:
        raise OptionError(
            f"{what} are not class indices",
            given=f"{array.dtype} {array.shape}",
            allowed="whole numbers >= 0, shape [n]",
        )
    return array.astype(np.int64)


def probabilities(P: NDArray[Any], truth: IntArray) -> FloatArray:
    """``[n, C]`` floats in 0..1, every row summing to 1, with a column for every true class."""
    if P.shape[0] != len(truth) or P.dtype.kind != "f" or P.shape[1] <= truth.max():
        raise OptionError(
            "the probabilities do not fit the items",
            given=f"{P.dtype} {P.shape}",
            allowed=f"floats [{len(truth)}, {int(truth.max()) + 1} or more]",
        )
    rows = P.sum(axis=1, dtype=np.float64)
    if not (np.abs(rows - 1) < _SLACK).all() or P.min() < -_SLACK:
        raise OptionError(
            "these are not probabilities",
            given=f"smallest {P.min():g}, row sums {rows.min():g} to {rows.max():g}",
            allowed="0..1, every row summing to 1",
            todo="Apply a softmax to scores first",
        )
    return P


def item_weights(weight: ArrayLike, n: int) -> FloatArray:
    """``[n]`` finite numbers >= 0, the largest scaled to 1.

    >>> item_weights([1, 4], 2)
    array([0.25, 1.  ])
    """
    w: FloatArray = np.array(weight, np.float64)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise OptionError(
            "the item weights are off",
            given=f"shape {w.shape}, sum {w.sum():g}",
            allowed=f"{n} finite numbers >= 0, not all 0",
        )
    w /= w.max()
    return w
