"""Best epoch, patience and the warning of overfitting."""

from __future__ import annotations

import math

import pytest

from headway.engine.curves import Epoch, better, is_stale, overfitting


def _epoch(number, *, train=1.0, val=1.0, score=0.5):
    return Epoch(number=number, train_loss=train, val_loss=val, val_score=score, lr=0.1, seconds=1.0)


def _curve(train, val):
    return [_epoch(i, train=t, val=v) for i, (t, v) in enumerate(zip(train, val, strict=True))]


def test_the_better_epoch_has_the_score_then_the_loss():
    assert better(_epoch(1, score=0.6, val=9.0), _epoch(0))
    assert better(_epoch(1, val=0.9), _epoch(0)) and not better(_epoch(1), _epoch(0))
    assert not better(_epoch(1, score=math.nan, val=0.1), _epoch(0))
    assert not better(_epoch(1, val=math.nan), _epoch(0)) and better(_epoch(0), _epoch(1, val=math.nan))
    assert better(_epoch(1, val=None, score=None), _epoch(0, val=None, score=None))


def test_patience_counts_epochs_since_the_best():
    epochs = [_epoch(i) for i in range(5)]
    assert is_stale(epochs, best=1, patience=3) and not is_stale(epochs, best=2, patience=3)
    assert not is_stale(epochs, best=0, patience=None)
    assert not is_stale([_epoch(9, val=None, score=None)], best=0, patience=3)


def test_overfitting_is_named_with_its_numbers():
    found = overfitting(_curve([2.0, 1.0, 0.5, 0.3, 0.2], [2.0, 1.0, 1.2, 1.4, 1.6]), best=2)
    assert found.check == "overfitting" and found.severity == "warn"
    assert all(number in found.message for number in ("from 1 to 1.6", "1 and 4", "from 1 to 0.2", "epoch 2"))


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ([2.0, 1.0, 0.5, 0.3], [2.0, 1.0, 1.2, 1.4]),  # too short
        ([2.0, 1.0, 0.5, 0.3, 0.2], [2.0, 1.0, 1.01, 1.02, 1.03]),  # within 5 %
        ([2.0, 1.0, 1.1, 1.2, 1.3], [2.0, 1.0, 1.2, 1.4, 1.6]),  # training is worse too
        ([2.0, 1.0, 0.5, 0.3, 0.2], [2.0, 1.0, 1.4, 1.4, 1.01]),  # has come back
        ([2.0, 1.0, 0.5, 0.3, 0.2], [2.0, 1.8, 1.6, 1.4, 1.2]),  # falls
        ([2.0, 1.0, 0.5, 0.3, 0.2], [None] * 5),
    ],
)
def test_no_warning_where_validation_has_not_turned(train, val):
    assert overfitting(_curve(train, val), best=0) is None
