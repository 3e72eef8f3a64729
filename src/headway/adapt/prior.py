"""The prior: every item gets the training set's shares, or mean. No method that is worth its cost does worse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.linear.coding import link_of
from headway.types import Adapted, Features, LinearHead, Link, Method

REFERENCE = "The Bayes decision without features: Duda, Hart and Stork (2001), Pattern Classification, section 2.1"
LINKS: tuple[Link, ...] = ("softmax", "sigmoid", "identity")


def fit(features: Features, /, *, seed: int) -> Adapted:
    """What the targets alone say, whatever the features; out of fold, what the targets without the fold say.

    Log class shares with one pseudo-count a class; the log odds of each label with half a pseudo-item on either side;
    the mean of numbers.

    >>> features = Features(X=np.zeros((3, 0), np.float32), y=np.array([0, 0, 1]), classes=2, blocks=())
    >>> fit(features, seed=0).head.bias.argmax()
    np.int64(0)
    """
    link, d = link_of(features.y), features.X.shape[1]
    sums, n = _sums(features.y, features.classes), len(features.y)
    head = LinearHead(
        blocks=features.blocks,
        unit_blocks=False,
        mean=np.zeros(d, np.float32),
        scale=np.ones(d, np.float32),
        weight=np.zeros((d, features.classes), np.float32),
        bias=_scores(sums, n, link).astype(np.float32),
        link=link,
    )
    left_out = np.empty((n, features.classes), np.float32)
    folds = np.arange(n) if features.folds is None else features.folds
    for fold in np.unique(folds):
        mine = folds == fold
        rest = sums - _sums(features.y[mine], features.classes)
        left_out[mine] = _scores(rest, n - int(mine.sum()), link)
    return Adapted(head=head, out_of_fold=left_out)


def _sums(y: NDArray[np.int64] | NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """``[C]``: the items of each class or label, or the sum of numbers."""
    if link_of(y) == "softmax":
        return np.bincount(y.astype(np.int64), minlength=classes).astype(np.float64)
    sums: NDArray[np.float64] = y.reshape(len(y), -1).sum(axis=0, dtype=np.float64)
    return sums


def _scores(sums: NDArray[np.float64], n: int, link: Link) -> NDArray[np.float64]:
    if link == "softmax":
        shares: NDArray[np.float64] = np.log((sums + 1) / (sums.sum() + len(sums)))
        return shares
    if link == "sigmoid":
        odds: NDArray[np.float64] = np.log((sums + 0.5) / (n - sums + 0.5))
        return odds
    return sums / max(n, 1)


METHOD = Method(name="prior", reference=REFERENCE, fit=fit)
