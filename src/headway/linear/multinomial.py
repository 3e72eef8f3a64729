"""Multinomial logistic regression on many rows, dense or sparse: every row weighs the same.

Tagging has tens of thousands of words and tags that are rare by nature, so, unlike ``adapt/logistic.py``, classes are
not balanced, and the columns may be a sparse matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.linear.head import probabilities
from headway.types import IntArray

Array = NDArray[np.float64]
Rows: TypeAlias = Any
"""``[n, d]``: a float array, or a ``scipy.sparse`` CSR matrix."""

STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """``scores = X @ weight + bias``: ``[d, C]`` and ``[C]``."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def path(
    X: Rows,
    y: IntArray,
    classes: int,
    penalties: Sequence[float],
    *,
    tolerance: float = 1e-5,
    steps: int = STEPS,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[Solution]:
    """``Σ_i ℓ_i + λ/2 ‖W‖²`` for each penalty in turn, largest first; the intercept is not penalised.

    Every solution starts from the one before. L-BFGS on columns scaled by the diagonal of the Hessian where nothing is
    known yet, ``Σ_i x_ij² / C + λ``; at most ``steps`` a penalty, and no more where the loss falls by less than
    ``tolerance`` of itself. ``go_on`` is asked after every step, and a no ends the penalty with what was
    reached. Hastie, Tibshirani and Friedman (2009), section 4.4.

    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> found = next(path(X, np.array([0, 0, 1, 1]), 2, [0.1]))
    >>> scores(X, found).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    from scipy.optimize import minimize

    n, d = X.shape
    squares = np.asarray(X.multiply(X).sum(axis=0)).ravel() if hasattr(X, "multiply") else np.einsum("nd,nd->d", X, X)
    across = X.T.tocsr() if hasattr(X, "tocsr") else X.T
    hot = np.zeros((n, classes), np.float32)
    hot[np.arange(n), y] = 1.0
    state = np.zeros((d + 1, classes))
    for penalty in penalties:
        curve = np.sqrt(np.append(squares.astype(np.float64) / classes + penalty, n / classes))[:, None]

        def objective(flat: Array, penalty: float = penalty, curve: Array = curve) -> tuple[float, Array]:
            V = flat.reshape(d + 1, classes) / curve
            S = X @ V[:-1].astype(np.float32) + V[-1].astype(np.float32)
            S -= S.max(axis=1, keepdims=True)
            own = S[np.arange(n), y].sum(dtype=np.float64)
            np.exp(S, out=S)
            total = S.sum(axis=1, keepdims=True)
            loss = float(np.log(total, dtype=np.float64).sum() - own)
            S /= total
            S -= hot
            slope = np.vstack([across @ S + penalty * V[:-1], S.sum(axis=0, dtype=np.float64)[None]]) / curve
            return loss + 0.5 * penalty * float((V[:-1] ** 2).sum()), slope.ravel()

        def halt(_: Array) -> None:
            if not go_on():
                raise StopIteration

        found = minimize(
            objective,
            (state * curve).ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=halt,
            options={"maxiter": steps, "maxfun": 2 * steps, "ftol": tolerance, "gtol": 1e-4 * np.sqrt(n)},
        )
        state = found.x.reshape(d + 1, classes) / curve
        yield Solution(weight=state[:-1].astype(np.float32), bias=state[-1].astype(np.float32))


def scores(X: Rows, found: Solution) -> NDArray[np.float32]:
    """Scores ``[n, C]``."""
    S: NDArray[np.float32] = np.asarray(X @ found.weight + found.bias, np.float32)
    return S


def log_loss(S: NDArray[np.float32], y: IntArray) -> float:
    """Mean log loss of scores ``[n, C]``, >= 0.

    >>> round(log_loss(np.zeros((3, 2), np.float32), np.array([0, 1, 1])), 4)
    0.6931
    """
    P = probabilities(S)[np.arange(len(y)), y]
    return -float(np.log(np.maximum(P, 1e-12)).mean())
