"""Gaussian Bhattacharyya coefficient: how much the classes, taken as Gaussians, overlap."""

from __future__ import annotations

import numpy as np

from headway.scores._check import checked, one_hot, principal_components
from headway.types import FloatArray, IntArray

REFERENCE = (
    "Pándy et al. (2022), Transferability Estimation using Bhattacharyya Class Separability, arXiv 2111.12780: "
    "-Σ_{i≠j} exp(-D_B(i, j))"
)

_COMPONENTS = 64
_FLOOR = 1e-4  # least variance of a class along a component, the features' total variance being 1


def score(X: FloatArray, y: IntArray, /) -> float:
    """``-Σ_{i≠j} exp(-D_B(i, j))`` over ordered pairs of classes, -C(C - 1)..0, for ``X [n, d]``, labels ``y [n]``.

    Each class is a Gaussian with a diagonal covariance on the 64 leading principal components. A second opinion only.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> round(score(np.array([[0.0], [0.1], [9.0], [9.1]]), np.array([0, 0, 1, 1])), 6)
    0.0
    """
    features, codes, counts = checked(X, y)
    Z, hot = principal_components(features, most=_COMPONENTS), one_hot(codes, len(counts))
    means = hot.T @ Z / counts[:, None]
    variances = np.maximum(hot.T @ (Z - means[codes]) ** 2 / counts[:, None], _FLOOR)
    overlap = 0.0
    for mean, variance in zip(means, variances, strict=True):
        middle = (variance + variances) / 2
        apart = ((mean - means) ** 2 / middle).sum(axis=1) / 8
        unlike = 0.5 * (np.log(middle) - 0.5 * (np.log(variance) + np.log(variances))).sum(axis=1)
        overlap += float(np.exp(-(apart + unlike)).sum())
    return min(len(counts) - overlap, 0.0) + 0.0  # a class overlaps itself by exactly 1, which is no pair
