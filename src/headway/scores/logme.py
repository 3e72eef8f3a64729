"""The log evidence of a Bayesian linear model, maximised over both precisions."""

from __future__ import annotations

import numpy as np

from headway.linear.coding import link_of
from headway.linear.solve import Array
from headway.scores._check import checked, checked_columns, one_hot
from headway.types import FloatArray, Link, Targets

REFERENCE = (
    "You, Liu, Wang and Long (2021), LogME, arXiv 2102.11005: the log evidence and its fixed point (algorithm 1), "
    "with ½(D - k) ln α kept when N < D"
)

LINKS: tuple[Link, ...] = ("softmax", "sigmoid", "identity")

_STEPS = 2000
_CONVERGED = 1e-11


def score(X: FloatArray, y: Targets, /) -> float:
    """Maximum log evidence an item, averaged over the 0/1 target of each class or label; any real number.

    Numbers are one target, standardised, so that neither their unit nor their zero counts. Labels that never change
    are left out.

    ``X [n, d]`` as it is, without an intercept. The evidence keeps the ``½(d - rank) ln α`` of the directions that the
    data do not reach, so that noise scores the same at every width: about -0.87 for three classes.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> y = np.arange(60) % 3
    >>> round(score(np.random.default_rng(0).normal(size=(60, 512)), y), 1)
    -0.9
    """
    link = link_of(y)
    if link == "softmax":
        features, codes, counts = checked(X, y)
        targets = one_hot(codes, len(counts))
    else:
        features, targets = checked_columns(X, y)
        if link == "identity":
            targets = (targets - targets.mean(axis=0)) / targets.std(axis=0)
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
    moving = np.arange(len(total))  # a class that has converged costs no further steps, however long another takes
    for _ in range(_STEPS):
        found, following = _step(squares, onto, rest, t, n)
        still = np.abs(found - evidence[moving]) >= _CONVERGED
        evidence[moving] = found
        if not still.any():
            break
        if not still.all():
            onto, rest = onto[:, still], rest[still]
        moving, t = moving[still], following[still]
    return evidence


def _step(squares: Array, onto: Array, rest: Array, t: Array, n: int) -> tuple[Array, Array]:
    """The evidence an item at each ``t [C]``, and the ``t`` to try next."""
    shrunk = 1.0 / (squares[:, None] + t)
    share = onto * shrunk**2
    m = squares @ share  # ‖weights‖²
    e = t**2 * share.sum(axis=0) + rest  # ‖residual‖²
    # At a given t the best β is n/(e + t m), and the last two terms of the evidence are then -n.
    determinant = np.log1p(squares[:, None] / t).sum(axis=0)
    evidence = 0.5 * (n * np.log(n / (e + t * m)) - determinant - n - n * np.log(2 * np.pi)) / n
    gamma = squares @ shrunk
    free = np.maximum(n - gamma, np.finfo(np.float64).tiny)
    return evidence, np.clip(gamma * e / (np.maximum(m, 1e-300) * free), 1e-12 * squares.max(), 1e12 * squares.max())
