"""Sides at which a network can be trained from nothing."""

import numpy as np
import pytest

from headway import backbones
from headway.modalities import image
from headway.recipe.resolution import at_side, largest, pace, side_of_pictures, sides_of


@pytest.fixture(scope="module")
def plain():
    return backbones.open("random:test_efficientnet@7", offline=True)


def test_pictures_are_not_blown_up_beyond_the_next_side(plain):
    own = plain.spec.input.height
    every = sides_of(plain, pictures=10_000)
    assert every == (*(side for side in (64, 96, 128, 160) if side < own), own)
    assert sides_of(plain, pictures=28) == (64,)
    assert sides_of(plain, pictures=90) == (64, 96)


def test_a_network_of_one_size_keeps_it():
    vit = backbones.open("random:vit_tiny_patch16_224", offline=True)
    assert sides_of(vit, pictures=28) == (vit.spec.input.height,)


def test_another_side_is_the_same_network(plain):
    small = at_side(plain, 64)
    assert (small.spec.input.height, small.spec.input.width) == (64, 64)
    assert small.weights_key == plain.weights_key
    own, other = plain.load().state_dict(), small.load().state_dict()
    assert all((own[name] == other[name]).all() for name in own)


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, 64), (4.0, 64), (7.0, 96), (13.0, 128), (1e9, 224)])
def test_the_largest_side_that_leaves_enough_epochs(seconds, expected):
    asked = []

    def paced(side):
        asked.append(side)
        return 0.001 * (side / 64) ** 2

    assert largest((64, 96, 128, 224), paced, seconds=seconds, items=100.0, epochs=30) == expected
    assert asked == [96, 128, 224][: len(asked)]  # none beyond the first that is too dear


def test_pictures_are_measured_by_their_shorter_side():
    pictures = [np.zeros((40, 60, 3), np.uint8)] * 3
    assert side_of_pictures(pictures, image, cover=224) == 40


def test_larger_pictures_are_paced_as_dearer_and_leave_no_gradient(plain):
    from headway.engine.cut import tunable
    from headway.engine.losses import loss_for

    tail = tunable(at_side(plain, 64), None, classes=3)
    small, large = (pace(tail, side, loss_for("softmax"), np.arange(8) % 3) for side in (64, 256))
    assert 0 < small < large
    assert all(parameter.grad is None for parameter in tail.parameters())
