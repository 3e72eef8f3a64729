"""PARC: do items that are unlike in features also differ in label?"""

from __future__ import annotations

import numpy as np

from headway.linear.solve import Array
from headway.scores._check import checked, principal_components
from headway.types import FloatArray, IntArray

REFERENCE = (
    "Bolya, Mittapalli and Hoffman (2021), Scalable Diverse Model Selection for Accessible Transfer Learning, "
    "arXiv 2111.06977: Spearman of 1 - corr of features and of labels"
)

_COMPONENTS = 32


def score(X: FloatArray, y: IntArray, /) -> float:
    """Spearman's correlation, -1..1, over all pairs of items, of feature distance with "labels differ".

    The distance is ``1 - corr`` of rows on the 32 leading principal components of ``X [n, d]``; pairs of labels
    ``y [n]`` take exactly two values, with averaged ranks. 0 where one side is constant.
    Takes memory for ``n²`` numbers.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> X = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 2.0], [1.1, 2.0]])
    >>> score(X, np.array([0, 0, 1, 1])) > score(X, np.array([0, 1, 0, 1]))
    True
    """
    from scipy.stats import rankdata

    features, codes, _ = checked(X, y)
    Z = principal_components(features, most=_COMPONENTS)
    upper = np.triu_indices(len(Z), k=1)
    # Rounded, so that distances that are equal but for rounding share a rank.
    distances = rankdata(np.round(1.0 - _correlations(Z)[upper], 9))
    return _pearson(distances, rankdata(codes[upper[0]] != codes[upper[1]]))


def _correlations(Z: Array) -> Array:
    """Pearson's correlation ``[n, n]`` between rows; 0 for a row without variance."""
    centred = Z - Z.mean(axis=1, keepdims=True) if Z.shape[1] else Z
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9)
    correlations: Array = unit @ unit.T
    return correlations


def _pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
