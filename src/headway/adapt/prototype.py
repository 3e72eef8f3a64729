"""Prototypes: each class is the mean of its items, and an item goes to the nearest mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.linear.coding import class_numbers
from headway.linear.head import standardise, unit_head
from headway.linear.solve import balanced_weights
from headway.types import Adapted, Features, IntArray, Link, Method

REFERENCE = (
    "Snell, Swersky and Zemel (2017), Prototypical Networks for Few-shot Learning, arXiv 1703.05175, eq. 1 and 8"
)
LINKS: tuple[Link, ...] = ("softmax",)


def fit(features: Features, /, *, seed: int) -> Adapted:
    """``score_c(z) = z·μ_c - ‖μ_c‖²/2``: a linear head that orders classes by Euclidean distance to their means.

    Out-of-fold scores are exact: the items of the left-out fold, or group, are taken out of their classes' means.
    """
    y = class_numbers(features.y)
    Z, mean, scale = standardise(features.X, features.blocks, weights=balanced_weights(y))
    sums, counts = _class_sums(Z, y, features.classes)
    centres = sums / np.maximum(counts, 1)[:, None]
    bias = -0.5 * (centres**2).sum(1)
    bias[counts == 0] = -1e6  # a class that has no item is never the nearest
    head = unit_head(features.blocks, mean=mean, scale=scale, weight=centres.T, bias=bias)
    return Adapted(head=head, out_of_fold=_left_out(Z, y, features, sums, counts))


def _class_sums(Z: NDArray[np.float32], y: IntArray, classes: int) -> tuple[NDArray[np.float64], IntArray]:
    sums = np.zeros((classes, Z.shape[1]))
    np.add.at(sums, y, Z)
    return sums, np.bincount(y, minlength=classes)


def _left_out(
    Z: NDArray[np.float32], y: IntArray, features: Features, sums: NDArray[np.float64], counts: IntArray
) -> NDArray[np.float32]:
    groups = features.folds if features.folds is not None else features.groups
    groups = np.arange(len(Z)) if groups is None else groups
    out = np.empty((len(Z), features.classes), np.float32)
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        own_sums, own_counts = _class_sums(Z[mine], y[mine], features.classes)
        left = counts - own_counts
        centres = (sums - own_sums) / np.maximum(left, 1)[:, None]
        scores = Z[mine] @ centres.T - 0.5 * (centres**2).sum(1)
        scores[:, left == 0] = scores.min() - 1.0
        out[mine] = scores
    return out


METHOD = Method(name="prototype", reference=REFERENCE, fit=fit)
