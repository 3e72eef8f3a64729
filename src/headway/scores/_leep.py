"""LEEP, the score behind NLEEP. No plug-in: source probabilities and labels rarely speak of the same things."""

from __future__ import annotations

import numpy as np

from headway.linear.solve import Array
from headway.types import IntArray


def leep(theta: Array, codes: IntArray, classes: int) -> float:
    """Mean log-likelihood of the labels through source categories; at most 0, ``theta [n, Z]`` rows sum to 1.

    With ``P(y, z) = mean over items of class y of theta_z``: mean over items of ``ln Σ_z P(y_i | z) theta_iz``.
    Source: Nguyen et al. (2020), LEEP, arXiv 2002.12462.

    >>> leep(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), 2)
    0.0
    """
    joint = np.zeros((classes, theta.shape[1]))
    np.add.at(joint, codes, theta / len(theta))
    total = joint.sum(axis=0)
    given_z = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    likelihood = (given_z[codes] * theta).sum(axis=1)
    return float(np.log(np.maximum(likelihood, np.finfo(np.float64).tiny)).mean())
