"""Ridge with whole folds left out, from the folds' own Gram matrices: many rows cost one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.types import FloatArray, IntArray

Array = NDArray[np.float64]


def left_out(X: FloatArray, Y: FloatArray, folds: IntArray, penalties: Sequence[float]) -> NDArray[np.float32]:
    """Predictions ``[p, n, C]`` of targets ``Y [n, C]``, each row by the fit on all other folds, intercept included.

    Minimises ``Σ_i ‖y_i − x_iᵀW − b‖² + λ d̄ ‖W‖²`` where ``d̄`` is the mean of the Gram matrix's diagonal, so that a
    penalty means the same whatever the scale. Exact: a fold's Gram matrix is taken off the total. Costs one product
    ``Xᵀ X`` and one Cholesky factorisation a fold and penalty. Raises :class:`DataError` for one fold alone.

    >>> X = np.arange(6.0)[:, None]
    >>> left_out(X, X, np.array([0, 0, 1, 1, 2, 2]), [1e-9])[0, :, 0].round(3).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    from scipy.linalg import cho_factor, cho_solve
    from threadpoolctl import threadpool_limits

    names = np.unique(folds)
    if len(names) < 2:
        raise DataError("one fold cannot be predicted without itself", given=f"{len(names)} folds", allowed="2 or more")
    Z = np.asarray(X, np.float32) - np.asarray(X, np.float32).mean(axis=0)
    targets = np.asarray(Y, np.float32)
    members = [np.flatnonzero(folds == name) for name in names]
    parts = [_sums(Z[rows], targets[rows]) for rows in members]
    gram, cross, total, mark, count = (sum(part[i] for part in parts) for i in range(5))
    out = np.empty((len(penalties), *targets.shape), np.float32)
    for rows, own in zip(members, parts, strict=True):
        n = count - own[4]
        mean, level = (total - own[2]) / n, (mark - own[3]) / n
        G = gram - own[0] - n * np.outer(mean, mean)
        H = cross - own[1] - n * np.outer(mean, level)
        size = max(float(np.trace(G)) / len(G), 1e-12)
        for p, penalty in enumerate(penalties):
            ridge = G + penalty * size * np.eye(len(G))
            with threadpool_limits(1, user_api="blas"):  # beside other processes its threads wait for each other
                W = cho_solve(cho_factor(ridge, overwrite_a=True, check_finite=False), H, check_finite=False)
            out[p, rows] = (Z[rows] - mean.astype(np.float32)) @ W.astype(np.float32) + level.astype(np.float32)
    return out


def _sums(Z: NDArray[np.float32], Y: NDArray[np.float32]) -> tuple[Array, Array, Array, Array, int]:
    """Products are taken in float32, as the features are; sums of folds in float64."""
    return (
        (Z.T @ Z).astype(np.float64),
        (Z.T @ Y).astype(np.float64),
        Z.sum(axis=0, dtype=np.float64),
        Y.sum(axis=0, dtype=np.float64),
        len(Z),
    )
