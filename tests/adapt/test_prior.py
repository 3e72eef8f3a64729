"""The prior against counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headway.adapt.prior import fit
from headway.linear.head import linear_scores, probabilities


def test_it_is_the_smoothed_share_of_each_class_without_the_fold(make):
    features = make(50, 4, 3)
    found = fit(features, seed=0)
    for row in range(50):
        rest = features.y[features.folds != features.folds[row]]
        shares = [((rest == c).sum() + 1) / (len(rest) + 3) for c in range(3)]
        np.testing.assert_allclose(probabilities(found.out_of_fold[row]), shares, rtol=1e-5)
    whole = [((features.y == c).sum() + 1) / 53 for c in range(3)]
    np.testing.assert_allclose(probabilities(linear_scores(found.head, features.X))[7], whole, rtol=1e-5)


def test_without_folds_each_row_is_left_out_alone(make):
    features = replace(make(20, 4, 2), folds=None)
    scores = fit(features, seed=0).out_of_fold
    for c in (0, 1):
        own = (features.y == c).sum() - 1
        mine = np.flatnonzero(features.y == c)[0]
        np.testing.assert_allclose(probabilities(scores[mine])[c], (own + 1) / 21, rtol=1e-5)
