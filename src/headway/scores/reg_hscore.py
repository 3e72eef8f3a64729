"""Regularised H-score: the covariance is shrunk as Ledoit and Wolf prescribe."""

from __future__ import annotations

from headway.linear.solve import Factor, factorise
from headway.scores._check import checked, one_hot
from headway.types import FloatArray, IntArray

REFERENCE = (
    "Ibrahim, Ponomareva and Mazumder (2021), Newer is not always better, arXiv 2110.06893: tr(Σ_a⁻¹ (1 - a) Σ_E[F|y])"
)


def score(X: FloatArray, y: IntArray, /) -> float:
    """``tr(Σ_a⁻¹ (1 - a) Σ_E[F|y])`` with Ledoit–Wolf's ``a`` and ``Σ_a``: 0..C - 1, for ``X [n, d]``, ``y [n]``.

    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> import numpy as np
    >>> round(score(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])), 6)
    1.0
    """
    features, codes, counts = checked(X, y)
    n, d = features.shape
    factor = factorise(features)
    if not factor.eigenvalues.size:
        return 0.0
    shrinkage, target = _ledoit_wolf(factor, n, d)
    means = one_hot(codes, len(counts)).T @ factor.components / counts[:, None]
    variances = (1 - shrinkage) * factor.eigenvalues / n + shrinkage * target
    return float((1 - shrinkage) * ((counts / n) @ (means**2 / variances)).sum())


def _ledoit_wolf(factor: Factor, n: int, d: int) -> tuple[float, float]:
    """The shrinkage, 0..1, and the variance shrunk towards, after Ledoit and Wolf (2004)."""
    variances = factor.eigenvalues / n
    mean = float(variances.sum()) / d
    square = float((variances**2).sum())
    distance = square / d - mean**2
    noise = (float(((factor.rows**2).sum(axis=1) ** 2).sum()) / n - square) / (d * n)
    return (min(noise, distance) / distance if distance > 1e-12 * mean**2 else 0.0), mean
