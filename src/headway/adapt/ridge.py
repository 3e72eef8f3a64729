"""The ridge probe: least squares on coded targets of any task, its penalty chosen by exact leave-one-out."""

from __future__ import annotations

import numpy as np

from headway.linear.coding import coded, link_of
from headway.linear.head import standardise, unit_head
from headway.linear.solve import coefficients, factorise, left_out_means, loo, penalty_grid
from headway.types import Adapted, Features, Link, Method

REFERENCE = (
    "Rifkin and Lippert (2007), Notes on Regularized Least Squares, MIT-CSAIL-TR-2007-025; leave-one-out by Hastie, "
    "Tibshirani and Friedman (2009), eq. 7.64"
)
LINKS: tuple[Link, ...] = ("softmax", "sigmoid", "identity")


def fit(features: Features, /, *, seed: int) -> Adapted:
    """One factorisation serves every penalty, every column of targets and every left-out row; nothing is random.

    ``features.X [n, d]``, ``features.y`` of any task. Classes and labels are ±1 targets, class-balanced for classes;
    numbers are standardised, which is folded into the head (see :func:`headway.linear.coding.coded`). The penalty is
    the one with the least squared error when each row (its whole group, where there are groups) is left out; the
    out-of-fold scores at that penalty leave out whole folds. Both are exact. The columns' mean and scale, which no
    label enters but the class weights, are those of all rows.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(40) % 2
    >>> X = (rng.normal(size=(40, 8)) + 3 * y[:, None]).astype(np.float32)
    >>> adapted = fit(Features(X=X, y=y, classes=2, blocks=(8,)), seed=0)
    >>> bool((adapted.out_of_fold.argmax(1) == y).mean() > 0.9)
    True
    """
    link, code = link_of(features.y), coded(features.y, features.classes)
    weights, Y = code.weights, code.columns
    Z, mean, scale = standardise(features.X, features.blocks, weights=weights)
    factor = factorise(Z, weights=weights)
    penalties = penalty_grid(factor)
    left_out = loo(factor, Y, penalties, groups=features.groups)
    errors = np.einsum("n,pnc->p", weights, (left_out - Y) ** 2)
    best = int(np.argmin(errors))
    together = features.groups if features.folds is None else features.folds
    scores = loo(factor, Y, penalties[[best]], groups=together)[0]
    if link != "identity":
        # Without an item the others' shares lean away from its class; the fit on all rows has no such lean.
        scores -= left_out_means(factor, Y, groups=together)
    weight, bias = coefficients(factor, Y, float(penalties[best]))
    weight, bias = weight * code.scale, bias * code.scale + code.shift
    return Adapted(
        head=unit_head(features.blocks, mean=mean, scale=scale, weight=weight, bias=bias, link=link),
        out_of_fold=(scores * code.scale + code.shift).astype(np.float32),
        params={"penalty": float(penalties[best])},
    )


METHOD = Method(name="ridge", reference=REFERENCE, fit=fit)
