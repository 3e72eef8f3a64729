"""The law ``err(n) = a + b * n**-c`` with ``a, b >= 0`` and ``0 < c <= 2``, by weighted least squares.

Laws are rows ``(a, b, c)``; errors are rows over the same numbers of labels. Given ``c`` the rest is linear, so a grid
of exponents fits a thousand rows at once.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]

EXPONENTS: Doubles = np.geomspace(0.01, 2.0, 64)


def law(laws: Doubles, n: float) -> Doubles:
    """Expected errors ``[R]`` with ``n`` labels."""
    a, b, c = laws.T
    return np.asarray(a + b * n**-c)


def reaching(laws: Doubles, errors: Doubles) -> Doubles:
    """Labels ``[R]`` with which each law has come down to each error; infinite where it never does."""
    a, b, c = laws.T
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(errors > a, (np.maximum(b, 0) / np.maximum(errors - a, 1e-300)) ** (1 / c), np.inf)


def _solve(
    errors: Doubles, sizes: Doubles, weights: Doubles, exponents: Doubles, *, bounded: bool
) -> tuple[Doubles, Doubles]:
    """``a, b`` of least weighted squares, and the squares they leave: ``[R, G, 2]`` and ``[R, G]``.

    ``errors [R, S]``, ``exponents [G]``. With two unknowns the cases of which of them is 0 are tried at once.
    """
    x = sizes[None] ** -exponents[:, None]  # [G, S]
    w = weights / weights.sum()
    sx, sxx = x @ w, (x * x) @ w
    se, sxe, see = (errors @ w)[:, None], errors @ (x * w).T, (errors**2 @ w)[:, None]
    slope = (sxe - sx * se) / np.maximum(sxx - sx**2, 1e-300)
    nought = np.zeros_like(sxe)
    cases = [(se - slope * sx, slope), (nought, sxe / sxx), (se + nought, nought)][: 3 if bounded else 1]
    ab = np.stack([np.stack(case, -1) for case in cases])  # [cases, R, G, 2]
    a, b = ab[..., 0], ab[..., 1]
    left = see - 2 * (a * se + b * sxe) + a * a + 2 * a * b * sx + b * b * sxx
    best = np.where((a >= 0) & (b >= 0) | (not bounded), left, np.inf).argmin(0)
    chosen = np.take_along_axis(ab, best[None, ..., None], 0)[0]
    return chosen, np.take_along_axis(left, best[None], 0)[0]


def on_grid(errors: Doubles, sizes: Doubles, weights: Doubles) -> Doubles:
    """Laws ``[R, 3]`` of ``errors [R, S]``, with the exponent from a grid of 64, and ``a`` and ``b`` of any sign.

    Bounds would pull replicates of a true law at a bound to one side of it, and their interval with them.
    """
    unit = sizes[-1]  # numbers of labels relative to the largest keep the powers near 1
    ab, left = _solve(errors, sizes / unit, weights, EXPONENTS, bounded=False)
    best = left.argmin(1)
    a, b = ab[np.arange(len(errors)), best].T
    return np.stack([a, b * unit ** EXPONENTS[best], EXPONENTS[best]], 1)


def exactly(errors: Doubles, sizes: Doubles, weights: Doubles) -> tuple[float, float, float]:
    """``a, b, c`` of ``errors [S]``, within the law's bounds, the exponent refined on from the grid."""
    from scipy.optimize import minimize_scalar

    unit = sizes[-1]

    def left(exponent: float) -> float:
        return float(_solve(errors[None], sizes / unit, weights, np.array([exponent]), bounded=True)[1][0, 0])

    place = int(np.argmin([left(c) for c in EXPONENTS]))
    bounds = (EXPONENTS[max(place - 1, 0)], EXPONENTS[min(place + 1, len(EXPONENTS) - 1)])
    found = minimize_scalar(left, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x
    c = float(min((found, EXPONENTS[place]), key=left))
    a, b = _solve(errors[None], sizes / unit, weights, np.array([c]), bounded=True)[0][0, 0]
    return float(a), float(b * unit**c), c
