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
    refuse_empty(array)
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


def labels(Y: ArrayLike, P: ArrayLike) -> tuple[IntArray, FloatArray]:
    """Truth ``[n, C]`` of 0 and 1 and probabilities in 0..1 of the same shape.

    >>> labels([[0, 1]], [[0.2, 0.7]])[0]
    array([[0, 1]])
    """
    truth, said = np.asarray(Y), np.asarray(P)
    if truth.ndim != 2 or truth.dtype.kind not in "biu" or not np.isin(truth, (0, 1)).all():
        raise OptionError(
            "the true labels are not on or off", given=f"{truth.dtype} {truth.shape}", allowed="0 and 1, shape [n, C]"
        )
    if said.shape != truth.shape or said.dtype.kind not in "biuf" or not ((said >= 0) & (said <= 1)).all():
        raise OptionError(
            "the probabilities do not fit the labels",
            given=f"{said.dtype} {said.shape}",
            allowed=f"numbers in 0..1, shape {truth.shape}",
            todo="Apply a sigmoid to scores first",
        )
    return truth.astype(np.int64), said.astype(np.float64)


def numbers(y: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Truth and prediction as finite floats ``[n]``; a prediction may be ``[n, 1]``.

    >>> numbers([1.0, 2.0], [[1.0], [3.0]])[1]
    array([1., 3.])
    """
    truth, said = np.asarray(y), np.asarray(prediction)
    said = said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said
    for what, array in (("the true numbers", truth), ("the predictions", said)):
        if (
            array.shape != truth.shape
            or array.ndim != 1
            or array.dtype.kind not in "biuf"
            or not np.isfinite(array).all()
        ):
            raise OptionError(
                f"{what} are off", given=f"{array.dtype} {array.shape}", allowed=f"finite numbers, shape [{len(truth)}]"
            )
    return truth.astype(np.float64), said.astype(np.float64)


def refuse_empty(truth: NDArray[Any]) -> None:
    """Raise :class:`DataError` where there is no item."""
    if not truth.size:
        raise DataError(
            "there is nothing to measure", given="0 items", allowed="1 or more", todo="Give a larger test set"
        )


def texts(y: ArrayLike, prediction: ArrayLike) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Truth and prediction ``[n]`` of ``str``."""
    truth, said = (np.asarray(side, object).ravel() for side in (y, prediction))
    if len(said) != len(truth):
        raise OptionError("as many predictions as items are needed", given=len(said), allowed=len(truth))
    if not all(isinstance(text, str) for side in (truth, said) for text in side):
        raise OptionError("truth and predictions of this task are texts", given="something else among them")
    return truth, said


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
