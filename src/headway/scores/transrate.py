"""TransRate: the coding rate of all features less that within the classes."""

from __future__ import annotations

import numpy as np

from headway.linear.solve import Array
from headway.scores._check import checked
from headway.types import FloatArray, IntArray

REFERENCE = "Huang et al. (2022), Frustratingly Easy Transferability Estimation, arXiv 2106.09362: R(Z) - R(Z|y)"

_PRECISION = 1e-4


def score(X: FloatArray, y: IntArray, /) -> float:
    """``R(Z) - Σ_c (n_c/n) R(Z_c)`` in nats, >= 0, for ``Z`` the centred ``X [n, d]`` and labels ``y [n]``.

    ``R(Z) = ½ ln det(I + ZᵀZ/(nε))``, ε = 1e-4. It depends on the features' scale: compare like with like.
    The classes are not centred on their own, as published, so two classes of one shape on either side of the mean
    are not told apart: with two classes prefer any other score.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> round(score(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 1, 0, 1])), 6)
    0.0
    """
    features, codes, counts = checked(X, y)
    Z = features - features.mean(axis=0)
    within = sum(count * _rate(Z[codes == c]) for c, count in enumerate(counts))
    return _rate(Z) - float(within) / len(Z)


def _rate(Z: Array) -> float:
    gram = Z @ Z.T if Z.shape[0] < Z.shape[1] else Z.T @ Z
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (len(Z) * _PRECISION))[1])
