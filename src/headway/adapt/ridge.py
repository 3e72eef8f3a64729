"""The ridge probe: class-balanced least squares on ±1 targets, its penalty chosen by exact leave-one-out."""

from __future__ import annotations

import numpy as np

from headway.linear.head import standardise, unit_head
from headway.linear.solve import balanced_weights, coefficients, factorise, left_out_means, loo, penalty_grid
from headway.types import Adapted, Features, Method

REFERENCE = (
    "Rifkin and Lippert (2007), Notes on Regularized Least Squares, MIT-CSAIL-TR-2007-025; leave-one-out by Hastie, "
    "Tibshirani and Friedman (2009), eq. 7.64"
)


def fit(features: Features, /, *, seed: int) -> Adapted:
    """One factorisation serves every penalty, every class and every left-out row; nothing is random.

    ``features.X [n, d]``, ``features.y [n]``. The penalty is the one with the least class-balanced squared error when
    each row (its whole group, where there are groups) is left out; the out-of-fold scores at that penalty leave out
    whole folds. Both are exact. The columns' mean and scale, which no label enters but the class weights, are those of
    all rows.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(40) % 2
    >>> X = (rng.normal(size=(40, 8)) + 3 * y[:, None]).astype(np.float32)
    >>> adapted = fit(Features(X=X, y=y, classes=2, blocks=(8,)), seed=0)
    >>> bool((adapted.out_of_fold.argmax(1) == y).mean() > 0.9)
    True
    """
    weights = balanced_weights(features.y)
    Z, mean, scale = standardise(features.X, features.blocks, weights=weights)
    Y = 2.0 * np.eye(features.classes)[features.y] - 1.0
    factor = factorise(Z, weights=weights)
    penalties = penalty_grid(factor)
    left_out = loo(factor, Y, penalties, groups=features.groups)
    errors = np.einsum("n,pnc->p", weights, (left_out - Y) ** 2)
    best = int(np.argmin(errors))
    together = features.groups if features.folds is None else features.folds
    scores = loo(factor, Y, penalties[[best]], groups=together)[0]
    # Without an item the others' class shares lean away from its class; the fit on all rows has no such lean.
    scores -= left_out_means(factor, Y, groups=together)
    weight, bias = coefficients(factor, Y, float(penalties[best]))
    return Adapted(
        head=unit_head(features.blocks, mean=mean, scale=scale, weight=weight, bias=bias),
        out_of_fold=scores.astype(np.float32),
        params={"penalty": float(penalties[best])},
    )


METHOD = Method(name="ridge", reference=REFERENCE, fit=fit)
