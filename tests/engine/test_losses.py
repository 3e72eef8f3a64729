"""Losses against torch's own and scikit-learn's; the scale of regression targets folds into a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from headway.engine.losses import balanced_weights, folded, loss_for, scaled, target_scale, unscaled
from headway.errors import DataError, OptionError
from headway.linear.head import linear_scores
from headway.types import LinearHead

SCORES = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 4)))
CLASSES = torch.from_numpy(np.random.default_rng(1).integers(4, size=12))


def _one_hot(y):
    return functional.one_hot(y, 4).double()


def test_softmax_is_scikit_learns_log_loss():
    ours = loss_for("softmax")(SCORES, CLASSES).item()
    theirs = log_loss(CLASSES.numpy(), SCORES.softmax(1).numpy(), labels=[0, 1, 2, 3])
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_class_weights_scale_rows_as_scikit_learns_sample_weights():
    weights = [0.5, 2.0, 1.0, 3.0]
    rows = np.array(weights)[CLASSES.numpy()]
    ours = loss_for("softmax", class_weights=weights)(SCORES, CLASSES).item()
    theirs = log_loss(
        CLASSES.numpy(), SCORES.softmax(1).numpy(), sample_weight=rows, labels=[0, 1, 2, 3], normalize=False
    )
    assert ours == pytest.approx(theirs / 12, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 3.0]])
def test_indices_and_soft_targets_agree(smoothing, weights):
    loss = loss_for("softmax", label_smoothing=smoothing, class_weights=weights)
    assert loss(SCORES, CLASSES).item() == pytest.approx(loss(SCORES, _one_hot(CLASSES)).item(), rel=1e-12)


def test_smoothing_is_torchs():
    ours = loss_for("softmax", label_smoothing=0.2)(SCORES, CLASSES)
    torch.testing.assert_close(ours, nn.CrossEntropyLoss(label_smoothing=0.2)(SCORES, CLASSES))


def test_sigmoid_is_torchs_and_scikit_learns():
    targets = (SCORES.roll(1, 0) > 0).double()
    ours = loss_for("sigmoid")(SCORES, targets)
    torch.testing.assert_close(ours, nn.BCEWithLogitsLoss()(SCORES, targets))
    theirs = np.mean([log_loss(targets[:, c], SCORES[:, c].sigmoid(), labels=[0, 1]) for c in range(4)])
    assert ours.item() == pytest.approx(theirs)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    ours = loss_for("sigmoid", class_weights=weights.tolist(), label_smoothing=0.1)(SCORES, targets.long())
    torch.testing.assert_close(ours, nn.BCEWithLogitsLoss(pos_weight=weights)(SCORES, targets * 0.9 + 0.05))


def test_identity_is_torchs():
    targets = SCORES[:, 0] * 3
    torch.testing.assert_close(loss_for("identity")(SCORES[:, :1], targets), nn.MSELoss()(SCORES[:, 0], targets))
    ours = loss_for("identity", huber=0.5)(SCORES[:, :1], targets)
    torch.testing.assert_close(ours, nn.HuberLoss(delta=0.5)(SCORES[:, 0], targets))


@pytest.mark.parametrize(
    ("link", "targets"), [("softmax", CLASSES), ("sigmoid", _one_hot(CLASSES)), ("identity", SCORES * 2)]
)
def test_a_batch_is_the_weighted_sum_of_its_parts(link, targets):
    weights = None if link == "identity" else [0.5, 2.0, 1.0, 3.0]
    loss = loss_for(link, class_weights=weights)
    parts = sum(loss(SCORES[rows], targets[rows]) * len(SCORES[rows]) / 12 for rows in (slice(5), slice(5, 12)))
    torch.testing.assert_close(parts, loss(SCORES, targets))


def test_balanced_weights_are_scikit_learns():
    y = np.array([0] * 100 + [1] * 10 + [2])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_allclose(balanced_weights(y, classes=3), theirs)
    assert balanced_weights(y, classes=4)[3] == 1.0


@pytest.mark.parametrize(
    ("link", "options"),
    [
        ("logit", {}),
        ("softmax", {"label_smoothing": 1.0}),
        ("softmax", {"huber": 1.0}),
        ("identity", {"label_smoothing": 0.1}),
        ("identity", {"class_weights": [1.0]}),
    ],
)
def test_options_that_make_no_sense_are_refused(link, options):
    with pytest.raises(OptionError):
        loss_for(link, **options)


def test_shapes_that_would_be_broadcast_are_refused():
    with pytest.raises(DataError, match=r"\[12\] and \[12, 4\]"):
        loss_for("identity")(SCORES, SCORES[:, 0])


def test_target_scale_is_undone_by_the_folded_head():
    rng = np.random.default_rng(2)
    targets = rng.normal(size=(30, 2)) * [1e4, 0.1] + [5e5, -3]
    scale = target_scale(targets)
    z = scaled(targets, scale)
    np.testing.assert_allclose([z.mean(0), z.std(0)], [[0, 0], [1, 1]], atol=1e-9)
    np.testing.assert_allclose(unscaled(z, scale), targets)
    head = LinearHead(
        blocks=(3,),
        unit_blocks=False,
        mean=np.zeros(3, np.float32),
        scale=np.ones(3, np.float32),
        weight=rng.normal(size=(3, 2)).astype(np.float32),
        bias=rng.normal(size=2).astype(np.float32),
    )
    X = rng.normal(size=(7, 3))
    np.testing.assert_allclose(
        linear_scores(folded(head, scale), X), unscaled(linear_scores(head, X), scale), rtol=1e-5
    )


def test_a_constant_target_keeps_its_value():
    scale = target_scale(np.full(5, 1e9))
    assert scale.std == (1.0,)
    assert unscaled(np.zeros((1, 1)), scale).tolist() == [[1e9]]
    for bad in (np.array([]), np.array([1.0, np.nan])):
        with pytest.raises(DataError):
            target_scale(bad)
