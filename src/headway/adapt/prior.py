"""The prior: every item gets the training set's class shares. No method that is worth its cost does worse."""

from __future__ import annotations

import numpy as np

from headway.types import Adapted, Features, LinearHead, Method

REFERENCE = "The Bayes decision without features: Duda, Hart and Stork (2001), Pattern Classification, section 2.1"


def fit(features: Features, /, *, seed: int) -> Adapted:
    """Log class shares with one pseudo-count a class, whatever the features; out of fold, the shares without the fold.

    >>> features = Features(X=np.zeros((3, 0), np.float32), y=np.array([0, 0, 1]), classes=2, blocks=())
    >>> fit(features, seed=0).head.bias.argmax()
    np.int64(0)
    """
    counts = np.bincount(features.y, minlength=features.classes)
    d = features.X.shape[1]
    head = LinearHead(
        blocks=features.blocks,
        unit_blocks=False,
        mean=np.zeros(d, np.float32),
        scale=np.ones(d, np.float32),
        weight=np.zeros((d, features.classes), np.float32),
        bias=np.log((counts + 1) / (counts.sum() + features.classes)).astype(np.float32),
    )
    left_out = np.empty((len(features.y), features.classes), np.float32)
    folds = np.arange(len(features.y)) if features.folds is None else features.folds
    for fold in np.unique(folds):
        mine = folds == fold
        rest = counts - np.bincount(features.y[mine], minlength=features.classes)
        left_out[mine] = np.log((rest + 1) / (rest.sum() + features.classes))
    return Adapted(head=head, out_of_fold=left_out)


METHOD = Method(name="prior", reference=REFERENCE, fit=fit)
