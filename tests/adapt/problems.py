"""Made feature sets for the tests of methods."""

from __future__ import annotations

import numpy as np

from headway.types import Features


def make(
    n: int = 60,
    d: int = 12,
    classes: int = 3,
    *,
    apart: float = 1.0,
    blocks: tuple[int, ...] | None = None,
    folds: int | None = 4,
    seed: int = 0,
) -> Features:
    """Classes that differ in mean, folds drawn at random, blocks of unequal scale."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    X = rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[y]
    X *= np.where(np.arange(d) < d // 2, 1.0, 50.0)
    return Features(
        X=X.astype(np.float32),
        y=y,
        classes=classes,
        blocks=blocks or (d // 2, d - d // 2),
        folds=None if folds is None else rng.integers(0, folds, n),
    )
