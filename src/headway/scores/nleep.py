"""NLEEP: LEEP through the clusters of the features, so that no source labels are needed."""

from __future__ import annotations

import warnings

import numpy as np

from headway.scores._check import checked, principal_components
from headway.scores._leep import leep
from headway.seeds import seed_of
from headway.types import FloatArray, IntArray

REFERENCE = (
    "Li et al. (2021), Ranking Neural Checkpoints, arXiv 2011.11200: LEEP (Nguyen et al. 2020, arXiv 2002.12462, "
    "mean ln Σ_z P(y|z) θ_z) on the posteriors of a Gaussian mixture"
)


def score(X: FloatArray, y: IntArray, /) -> float:
    """Mean log-likelihood of labels ``y [n]`` given the clusters of ``X [n, d]``: about -ln C for noise, to 0.

    A Gaussian mixture with ``5 C`` components, but at least five items each, on the principal components that hold
    80 % of the variance; covariances are diagonal, since a cluster of few items has no other. Costly: a second opinion.
    Raises :class:`DataError` for NaN, fewer than two items or one class.

    >>> X = np.repeat([[0.0, 0.0], [9.0, 9.0]], 10, axis=0) + np.random.default_rng(0).normal(size=(20, 2))
    >>> score(X, np.repeat([0, 1], 10)) > -0.05
    True
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    features, codes, counts = checked(X, y)
    Z = principal_components(features, variance=0.8)
    if not Z.shape[1]:
        Z = np.zeros((len(codes), 1))
    order = np.lexsort(np.round(Z, 9).T[::-1])  # the mixture starts from random rows: sorted, they are the same items
    Z, codes = Z[order], codes[order]
    components = max(1, min(5 * len(counts), len(Z) // 5))
    mixture = GaussianMixture(components, covariance_type="diag", random_state=seed_of("nleep"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished mixture is still a mixture
        mixture.fit(Z)
    return leep(mixture.predict_proba(Z), codes, len(counts))
