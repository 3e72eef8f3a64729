"""Targets as least squares takes them: columns of numbers, and a weight an item."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from headway.errors import DataError
from headway.linear.solve import Array, balanced_weights
from headway.tasks import classification, multilabel, regression, seq2seq
from headway.types import IntArray, Link, Targets

_TASKS: dict[Link, ModuleType] = {
    "softmax": classification,
    "sigmoid": multilabel,
    "identity": regression,
    "text": seq2seq,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """``target = columns * scale + shift``: what is fitted, and how to come back to the scores that a head gives."""

    columns: Array  # [n, C]
    weights: Array  # [n], summing to n
    shift: Array  # [C]
    scale: Array  # [C], > 0


def link_of(y: Targets) -> Link:
    """What targets are, by shape and kind: ``[n]`` whole numbers, ``[n, C]`` of 0 and 1, ``[n]`` floats, or texts.

    >>> link_of(np.array([0, 1])), link_of(np.array([[0, 1]])), link_of(np.array([0.5]))
    ('softmax', 'sigmoid', 'identity')
    """
    array = np.asarray(y)
    if array.dtype.kind in "OU":
        return "text"
    if array.ndim == 2:
        return "sigmoid"
    return "identity" if array.dtype.kind == "f" else "softmax"


def task_of(y: Targets) -> ModuleType:
    """The task that such targets belong to."""
    return _TASKS[link_of(y)]


def class_numbers(y: Targets) -> IntArray:
    """Targets that must be class numbers ``[n]``; raises :class:`DataError` where they are of another task."""
    if link_of(y) != "softmax":
        raise DataError(
            "this is for one class an item",
            given=f"targets of {task_of(y).__name__.rpartition('.')[2]}, shape {np.shape(y)}",
            allowed="class numbers, shape [n]",
        )
    return np.asarray(y).astype(np.int64, copy=False)


def strata_of(y: Targets) -> IntArray:
    """Numbers ``[n]`` of what a part of the items should have in proportion; see the tasks' ``strata``."""
    found: IntArray = task_of(y).strata(y)
    return found


def coded(y: Targets, classes: int) -> Coded:
    """Columns to fit by least squares.

    Classes are ±1 columns, and items weigh so that each class counts the same. Labels and numbers are standardised
    columns of equal weights: one factorisation serves all labels, so items cannot weigh for each label differently,
    and average precision does not depend on how often a label occurs; standardised, rare labels have the same say in
    the choice of the penalty. A column that never changes is all zeros.

    >>> coded(np.array([1.0, 3.0]), 1).columns.ravel().tolist()
    [-1.0, 1.0]
    """
    link, n = link_of(y), len(y)
    if link == "softmax":
        one, none, weights = np.ones(classes), np.zeros(classes), balanced_weights(class_numbers(y))
        return Coded(columns=2.0 * np.eye(classes)[y] - 1.0, weights=weights, shift=none, scale=one)
    target = np.asarray(y, np.float64).reshape(n, -1)
    target = 2.0 * target - 1.0 if link == "sigmoid" else target
    shift, spread = target.mean(axis=0), target.std(axis=0)
    scale = np.where(spread > 1e-12 * np.maximum(np.abs(shift), 1e-300), spread, 1.0)
    return Coded(columns=(target - shift) / scale, weights=np.ones(n), shift=shift, scale=scale)
