"""Ridge regression from one factorisation: every penalty, every column of targets, exact leave-one-out.

For rows ``x_i`` with weights ``w_i > 0`` and targets ``y_i``, minimise over ``W`` and the unpenalised ``b``

    Σ_i w_i ‖y_i − x_iᵀW − b‖² + λ ‖W‖²_F

With ``A = diag(√w)(X − mean_w)`` and ``A = U S Vᵀ``, the hat matrix of the scaled rows is
``H = U S²/(S² + λ) Uᵀ + √w √wᵀ / Σw``, and the residual of item ``i`` under the fit on all others is
``(y_i − ŷ_i)/(1 − H_ii)``; for a group ``g`` left out together it is ``(I − H_gg)⁻¹ r_g``. Nothing is ever refitted.

Sources: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, eq. 7.64 (exact leave-one-out of
a linear fit); Rifkin and Lippert (2007), Notes on Regularized Least Squares, MIT-CSAIL-TR-2007-025 (dual form, and all
penalties from one decomposition).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError, OptionError
from headway.types import FloatArray, IntArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """``A = diag(root)(X − mean) = U S Vᵀ``, held as what the solutions need. Everything is float64."""

    rows: Array  # [n, d] A itself
    mean: Array  # [d] weighted mean of X's rows
    root: Array  # [n] √w
    eigenvalues: Array  # [k] S², largest first, numerically non-zero ones only; k = rank(A) <= min(n - 1, d)
    components: Array  # [n, k] U S = A V


def factorise(X: FloatArray, /, *, weights: FloatArray | None = None) -> Factor:
    """Factorise features once, by the eigenvalues of the smaller Gram matrix (``A Aᵀ`` when n < d, else ``Aᵀ A``).

    ``X [n, d]`` finite, any float type, n >= 2; ``weights [n]`` positive (all 1 when absent) count an item ``w`` times.
    The penalty is absolute: with weights that sum to ``n``, the same penalties suit weighted and plain fits.
    Raises :class:`DataError` where ``X`` is not a finite matrix of at least two rows or a weight is not positive.

    >>> factorise(np.array([[0.0, 1.0], [2.0, 1.0]])).eigenvalues  # the constant column adds nothing
    array([2.])
    """
    from threadpoolctl import threadpool_limits

    X64 = np.asarray(X, dtype=np.float64)
    if X64.ndim != 2 or X64.shape[0] < 2 or not np.isfinite(X64).all():
        raise DataError("the features are not a finite matrix", given=f"shape {X64.shape}", allowed="[n >= 2, d]")
    n, d = X64.shape
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not (np.isfinite(w).all() and (w > 0).all()):
        raise DataError("weights must be positive, one an item", given=f"shape {w.shape}", allowed=f"[{n}], > 0")
    root, mean = np.sqrt(w), w @ X64 / w.sum()
    rows = X64 - mean
    rows *= root[:, None]
    dual = n < d
    gram = rows @ rows.T if dual else rows.T @ rows
    with threadpool_limits(1, user_api="blas"):  # beside other processes its threads wait for each other
        values, vectors = np.linalg.eigh(gram)
    # What rounding leaves of a constant column is judged against the size X had before it was centred.
    scale = max(float(values[-1]) if values.size else 0.0, np.finfo(np.float64).eps * float(w @ (X64**2).sum(axis=1)))
    keep = np.flatnonzero(values > max(n, d) * np.finfo(np.float64).eps * scale)[::-1]
    eigenvalues, vectors = values[keep], vectors[:, keep]
    components = vectors * np.sqrt(eigenvalues) if dual else rows @ vectors
    return Factor(rows=rows, mean=mean, root=root, eigenvalues=eigenvalues, components=components)


def loo(factor: Factor, Y: FloatArray, penalties: Sequence[float] | Array, *, groups: IntArray | None = None) -> Array:
    """Exact leave-one-out predictions ``[p, n, C]`` of targets ``Y [n, C]`` for each of ``p`` penalties (each > 0).

    Row ``i`` is predicted by the ridge fit, intercept included, on every row but ``i`` with the weights of the others
    as they are; with ``groups [n]``, on every row outside the group of ``i``. Takes ``8 p n C`` bytes for its result.
    Raises :class:`OptionError` for a penalty that is not positive and :class:`DataError` for one group alone.

    >>> X, Y = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([[0.0], [1.0], [2.0], [5.0]])
    >>> loo(factorise(X), Y, [1e-9])[0, :, 0].round(6)
    array([0., 1., 2., 5.])
    """
    lambdas, target = _penalties(penalties), np.asarray(Y, dtype=np.float64)
    w = factor.root**2
    mean = w @ target / w.sum()
    scaled = (target - mean) * factor.root[:, None]
    gains = 1.0 / (factor.eigenvalues[None, :] + lambdas[:, None])  # [p, k]
    onto = factor.components.T @ scaled  # [k, C]
    shrunk = (gains[:, :, None] * onto).transpose(1, 0, 2)  # [k, p, C]
    # One product for all penalties.
    fitted = np.tensordot(factor.components, shrunk, axes=1).transpose(1, 0, 2)
    residuals = scaled - fitted
    hat = (factor.components**2) @ gains.T + (w / w.sum())[:, None]  # [n, p]
    out = residuals / np.maximum(1.0 - hat, np.finfo(np.float64).eps).T[:, :, None]
    if groups is not None:
        _leave_groups_out(factor, residuals, gains, np.asarray(groups), out)
    predicted: Array = target - out / factor.root[None, :, None]
    return predicted


def left_out_means(factor: Factor, Y: FloatArray, *, groups: IntArray | None = None) -> Array:
    """The weighted mean target ``[n, C]`` of all rows but ``i``, or of all rows outside the group of ``i``.

    With class-balanced weights the mean target is the same for every class, so taking it off changes no decision of a
    fit on all rows. Without item ``i`` its own class has the least mean: decisions on :func:`loo` that do not take
    these means off lean away from the truth, down to 0 % correct on noise.

    >>> left_out_means(factorise(np.array([[0.0], [1.0], [2.0]])), np.array([[0.0], [3.0], [6.0]])).ravel()
    array([4.5, 3. , 1.5])
    """
    target, w = np.asarray(Y, dtype=np.float64), factor.root**2
    unit = np.arange(len(w)) if groups is None else np.unique(groups, return_inverse=True)[1]
    mass, sums = np.bincount(unit, weights=w), np.zeros((int(unit.max()) + 1, target.shape[1]))
    np.add.at(sums, unit, w[:, None] * target)
    means: Array = (w @ target - sums[unit]) / (w.sum() - mass[unit])[:, None]
    return means


def coefficients(factor: Factor, Y: FloatArray, penalty: float) -> tuple[Array, Array]:
    """The fit on all rows: ``W [d, C]`` and ``b [C]``, so that ``X @ W + b`` predicts ``Y [n, C]``; ``penalty`` > 0.

    >>> W, b = coefficients(factorise(np.array([[0.0], [1.0], [2.0]])), np.array([[1.0], [3.0], [5.0]]), 1e-9)
    >>> [round(float(W[0, 0]), 6), round(float(b[0]), 6)]
    [2.0, 1.0]
    """
    (value,) = _penalties([penalty])
    target, w = np.asarray(Y, dtype=np.float64), factor.root**2
    mean = w @ target / w.sum()
    scaled = (target - mean) * factor.root[:, None]
    onto = factor.components.T @ scaled
    residual = scaled - factor.components @ (onto / (factor.eigenvalues + value)[:, None])
    # The normal equations say λW = Aᵀ(residual): no eigenvector of the d x d side is ever needed.
    weight = factor.rows.T @ residual / value
    return weight, mean - factor.mean @ weight


def penalty_grid(factor: Factor, *, count: int = 13) -> Array:
    """``count`` penalties, smallest first, spread evenly in the logarithm over 1e-4..1e2 times the mean eigenvalue.

    Tied to the mean non-zero eigenvalue, so that scaling the features by a constant changes no leave-one-out result.

    >>> penalty_grid(factorise(np.array([[0.0], [2.0]])), count=3).round(6).tolist()
    [0.0002, 0.2, 200.0]
    """
    scale = float(factor.eigenvalues.mean()) if factor.eigenvalues.size else 1.0
    return scale * np.logspace(-4, 2, count)


def balanced_weights(codes: IntArray) -> Array:
    """Item weights ``[n]`` that sum to ``n`` and give every class that occurs the same total.

    >>> balanced_weights(np.array([0, 0, 0, 1])).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    weights: Array = len(codes) / (len(counts) * counts[inverse].astype(np.float64))
    return weights


def _penalties(penalties: Sequence[float] | Array) -> Array:
    values = np.asarray(penalties, dtype=np.float64)
    if values.ndim != 1 or not (np.isfinite(values).all() and (values > 0).all()):
        raise OptionError("a ridge penalty must be positive", given=penalties, allowed="finite numbers above 0")
    return values


def _leave_groups_out(factor: Factor, residuals: Array, gains: Array, groups: IntArray, out: Array) -> None:
    """Put into ``out [p, n, C]`` the residuals of the scaled rows when groups of several items are left out whole."""
    from threadpoolctl import threadpool_limits

    total, order = float(factor.root @ factor.root), np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    if len(members) < 2:
        raise DataError("all items are in one group, so none can be predicted without it", allowed="two groups or more")
    with threadpool_limits(1, user_api="blas"):
        for at in members:
            if len(at) == 1:
                continue
            own, root = factor.components[at], factor.root[at]
            base = np.eye(len(at)) - np.outer(root, root) / total
            for p, gain in enumerate(gains):
                out[p, at] = np.linalg.solve(base - (own * gain) @ own.T, residuals[p, at])
