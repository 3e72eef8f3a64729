"""Prototypes against means taken anew without each fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from headway.adapt.prototype import fit
from headway.linear.head import linear_scores, standardise
from headway.linear.solve import balanced_weights


def _Z(features):
    return standardise(features.X, features.blocks, weights=balanced_weights(features.y))[0].astype(np.float64)


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 12, 3), (30, 80, 3), (40, 10, 2)])
@pytest.mark.parametrize("by", ["folds", "groups", "rows"])
def test_out_of_fold_is_exactly_what_the_other_items_say(by, n, d, classes, make):
    features = make(n, d, classes)
    if by != "folds":
        groups = np.random.default_rng(1).integers(0, n // 2, n) if by == "groups" else None
        features = replace(features, folds=None, groups=groups)
    together = {"folds": features.folds, "groups": features.groups, "rows": np.arange(n)}[by]
    found, Z = fit(features, seed=0).out_of_fold, _Z(features)
    for row in range(n):
        rest = together != together[row]
        for c in range(classes):
            mine = rest & (features.y == c)
            if mine.any():
                centre = Z[mine].mean(0)
                assert found[row, c] == pytest.approx(Z[row] @ centre - centre @ centre / 2, abs=1e-4)
            else:
                assert found[row].argmax() != c


def test_the_head_takes_the_nearest_mean(make):
    features = make(apart=0.5)
    found = fit(features, seed=0)
    oracle = NearestCentroid().fit(_Z(features), features.y)
    scores = linear_scores(found.head, features.X)
    np.testing.assert_array_equal(scores.argmax(1), oracle.predict(_Z(features)))
    gap = ((_Z(features)[:, None] - oracle.centroids_) ** 2).sum(2)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], (gap[:, 0] - gap[:, 1]) / 2, atol=1e-3)


def test_a_class_without_items_is_never_predicted(make):
    features = replace(make(), classes=5)
    found = fit(features, seed=0)
    assert linear_scores(found.head, features.X).argmax(1).max() < 3
    assert found.out_of_fold.argmax(1).max() < 3
