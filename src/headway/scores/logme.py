"""The log evidence of a Bayesian linear model, maximised over both precisions."""

from __future__ import annotations

import numpy as np

from headway.linear.solve import Array
from headway.scores._check import checked, one_hot
from headway.types import FloatArray, IntArray

REFERENCE = (
    "You, Liu, Wang and Long (2021), LogME, arXiv 2102.11005: the log evidence and its fixed point (algorithm 1), "
    "with ½(D - k) ln α kept when N < D"
)

_STEPS = 2000
_CONVERGED = 1e-10


def score(X: FloatArray, y: IntArray, /) -> float:
    """Maximum log evidence an item, averaged over the 0/1 target of each class; any real number.

    ``X [n, d]`` as it is, without an intercept. The evidence keeps the ``½(d - rank) ln α`` of the directions that the
    data do not reach, so that noise scores the same at every width: about -0.87 for three classes.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> y = np.arange(60) % 3
    >>> round(score(np.random.default_rng(0).normal(size=(60, 512)), y), 1)
    -0.9
    """
    features, codes, counts = checked(X, y)
    targets = one_hot(codes, len(counts))
    squares, onto = _spectrum(features, targets)
    return float(_evidence(squares, onto**2, (targets**2).sum(axis=0), len(features)).mean())


def _spectrum(F: Array, targets: Array) -> tuple[Array, Array]:
    """Non-zero squared singular values ``[k]`` of ``F = U S Vᵀ``, and ``Uᵀ`` times the targets ``[k, C]``."""
    n, d = F.shape
    dual = n < d
    values, vectors = np.linalg.eigh(F @ F.T if dual else F.T @ F)
    keep = values > max(n, d) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    squares, vectors = values[keep], vectors[:, keep]
    onto = vectors.T @ targets if dual else (vectors.T @ (F.T @ targets)) / np.sqrt(squares)[:, None]
    return squares, onto


def _evidence(squares: Array, onto: Array, total: Array, n: int) -> Array:
    """Maximum evidence an item ``[C]`` by the fixed point of α and β, with t = α/β; ``onto`` holds ``(Uᵀy)²``."""
    k = len(squares)
    if not k:
        nothing: Array = 0.5 * (np.log(n / total) - 1.0 - np.log(2 * np.pi))
        return nothing
    # Beyond the span of F; with as many directions as items there is no beyond.
    rest = np.zeros_like(total) if k == n else np.maximum(total - onto.sum(axis=0), 1e-12 * total)
    t = np.full(len(total), squares.mean())
    evidence: Array = np.full(len(total), -np.inf)
    for _ in range(_STEPS):
        shrunk = 1.0 / (squares[:, None] + t)
        m = (squares[:, None] * onto * shrunk**2).sum(axis=0)  # ‖weights‖²
        e = (onto * (t * shrunk) ** 2).sum(axis=0) + rest  # ‖residual‖²
        # At a given t the best β is n/(e + t m), and the last two terms of the evidence are then -n.
        determinant = np.log1p(squares[:, None] / t).sum(axis=0)
        last, evidence = evidence, 0.5 * (n * np.log(n / (e + t * m)) - determinant - n - n * np.log(2 * np.pi)) / n
        if np.all(np.abs(evidence - last) < _CONVERGED):
            break
        gamma = (squares[:, None] * shrunk).sum(axis=0)
        free = np.maximum(n - gamma, np.finfo(np.float64).tiny)
        t = np.clip(gamma * e / (np.maximum(m, 1e-300) * free), 1e-12 * squares.max(), 1e12 * squares.max())
    return evidence
