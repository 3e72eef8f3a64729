"""H-score: how much of the features' covariance lies between the classes."""

from __future__ import annotations

import numpy as np

from headway.linear.solve import factorise
from headway.scores._check import checked, one_hot
from headway.types import FloatArray, IntArray

REFERENCE = "Bao et al. (2019), An Information-Theoretic Approach to Transferability, ICIP: tr(Σ_F⁻¹ Σ_E[F|y])"


def score(X: FloatArray, y: IntArray, /) -> float:
    """``tr(Σ_F⁺ Σ_E[F|y])``, which is Pillai's trace, 0..min(C - 1, rank), for ``X [n, d]`` and labels ``y [n]``.

    Without regularisation it is near C - 1 for any features once ``d`` nears ``n``, noise too: prefer ``reg_hscore``.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> round(score(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])), 6)
    1.0
    """
    features, codes, counts = checked(X, y)
    factor = factorise(features)
    left = factor.components / np.sqrt(factor.eigenvalues)
    sums = one_hot(codes, len(counts)).T @ left
    return float(((sums**2).sum(axis=1) / counts).sum())
