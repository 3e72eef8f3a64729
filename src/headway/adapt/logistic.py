"""The logistic probe, multinomial or one-vs-rest: one factorisation, a warm-started path in its basis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.linear.coding import class_numbers, link_of, strata_of
from headway.linear.head import probabilities, sigmoid, standardise, unit_head
from headway.linear.solve import balanced_weights, factorise
from headway.seeds import seed_of
from headway.types import Adapted, Features, IntArray, Link, Method, Targets

REFERENCE = "Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, sections 4.4 and 18.3.5"
PENALTIES = np.logspace(1, -2.5, 8)  # largest first: each solution starts the next
LINKS: tuple[Link, ...] = ("softmax", "sigmoid")
FOLDS = 5
ROUGHLY, EXACTLY = 2e-5, 1e-6  # the gradient's largest entry, over √n: to compare penalties, and for the head
Array = NDArray[np.float64]


def fit(features: Features, /, *, seed: int) -> Adapted:
    """Cross-entropy with an L2 penalty, ``Σ_i w_i ℓ_i + λ/2 ‖W‖²``, the intercept not penalised.

    Of classes it is class-balanced and multinomial. Of labels it is the sum over labels of each one's own, items
    weighing the same, all labels under one penalty.

    The L2 penalty does not change when features are rotated, so everything happens in the eigenbasis of the one
    factorisation (Hastie et al., section 18.3.5), where the Hessian is nearly diagonal and L-BFGS, scaled by that
    diagonal, takes some ten steps. Leave-one-out has no closed form here: the penalty is the one with the least
    log loss over the given folds (five of our own that keep groups whole, where none are given), and
    the scores in those folds are the out-of-fold scores.
    """
    from threadpoolctl import threadpool_limits

    weights = _weights(features.y)
    Z, mean, scale = standardise(features.X, features.blocks, weights=weights)
    factor = factorise(Z, weights=weights)
    spread = np.sqrt(np.maximum(factor.eigenvalues, 1e-12))
    basis = factor.components / factor.root[:, None]  # the centred rows in the eigenbasis: rows of A V, unweighted
    scores = np.zeros((len(PENALTIES), len(Z), features.classes))
    folds = features.folds if features.folds is not None else _folds(features, seed)
    scored = folds >= 0
    with threadpool_limits(1, user_api="blas"):  # thousands of small products: threads cost more than they bring
        for fold in np.unique(folds[scored]):
            seen, left = folds != fold, folds == fold
            path = _path(basis[seen], features.y[seen], features.classes, spread, PENALTIES, tolerance=ROUGHLY)
            for i, (W, b) in enumerate(path):
                scores[i, left] = basis[left] @ W + b
        losses = [_log_loss(s[scored], features.y[scored], weights[scored]) for s in scores]
        best = int(np.argmin(losses))
        W, b = _path(basis, features.y, features.classes, spread, PENALTIES[: best + 1], tolerance=EXACTLY)[best]
    # Back to the standardised columns: with A = U S Vᵀ the basis is Z V, and V = Aᵀ U / S.
    rotation = factor.rows.T @ (factor.components / np.maximum(factor.eigenvalues, 1e-12)[None, :])
    weight = rotation @ W
    return Adapted(
        head=unit_head(
            features.blocks,
            mean=mean,
            scale=scale,
            weight=weight,
            bias=b - factor.mean @ weight,
            link=link_of(features.y),
        ),
        out_of_fold=scores[best].astype(np.float32),
        params={"penalty": float(PENALTIES[best])},
    )


def _path(
    basis: Array, y: Targets, classes: int, spread: Array, penalties: Array, *, tolerance: float
) -> list[tuple[Array, Array]]:
    """Solutions ``(W [k, C], b [C])`` for every penalty, each started from the one before."""
    from scipy.optimize import minimize

    weights, link = _weights(y), link_of(y)
    Y = _indicators(y, classes)
    # p(1 - p) where nothing is known yet: 1/C shares of classes, or one half of a label.
    certainty = classes if link == "softmax" else 4
    k = basis.shape[1]
    state = np.zeros((k + 1, classes))
    solutions = []
    for penalty in penalties:
        # In the eigenbasis the Hessian is about diag(p(1-p) S² + λ): its root makes every direction equally curved.
        curve = np.sqrt(np.concatenate([spread**2 / certainty + penalty, [len(y) / certainty]]))[:, None]

        def objective(flat: Array, penalty: float = penalty, curve: Array = curve) -> tuple[float, Array]:
            V = flat.reshape(k + 1, classes) / curve
            P = _shares(basis @ V[:-1] + V[-1], link)
            loss = _loss(P, y, weights, least=1e-300)
            slope = (P - Y) * weights[:, None]
            gradient = np.vstack([basis.T @ slope + penalty * V[:-1], slope.sum(0, keepdims=True)]) / curve
            return loss + 0.5 * penalty * float((V[:-1] ** 2).sum()), gradient.ravel()

        result = minimize(
            objective,
            (state * curve).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 200, "gtol": tolerance * np.sqrt(len(y)), "ftol": 1e-12},
        )
        state = result.x.reshape(k + 1, classes) / curve
        solutions.append((state[:-1].copy(), state[-1].copy()))
    return solutions


def _folds(features: Features, seed: int) -> IntArray:
    """Fold numbers: classes spread evenly, groups whole."""
    rng = np.random.default_rng(seed_of("logistic-folds", seed))
    groups = np.arange(len(features.y)) if features.groups is None else features.groups
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = rng.permutation(len(first))
    order = shuffled[np.argsort(strata_of(features.y)[first][shuffled], kind="stable")]
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % FOLDS
    folds: IntArray = fold[member]
    return folds


def _log_loss(scores: Array, y: Targets, weights: Array) -> float:
    return _loss(_shares(scores, link_of(y)), y, weights, least=1e-12)


def _loss(P: Array, y: Targets, weights: Array, *, least: float) -> float:
    """Weighted log loss, summed over items and labels."""
    if link_of(y) == "softmax":
        return -float(weights @ np.log(np.maximum(P[np.arange(len(y)), y], least)))
    right = np.where(np.asarray(y) > 0, P, 1.0 - P)
    return -float((weights @ np.log(np.maximum(right, least))).sum())


def _shares(scores: Array, link: Link) -> Array:
    return probabilities(scores) if link == "softmax" else sigmoid(scores)


def _weights(y: Targets) -> Array:
    return balanced_weights(class_numbers(y)) if link_of(y) == "softmax" else np.ones(len(y))


def _indicators(y: Targets, classes: int) -> Array:
    return np.eye(classes)[y] if link_of(y) == "softmax" else np.asarray(y, np.float64)


METHOD = Method(name="logistic", reference=REFERENCE, fit=fit)
