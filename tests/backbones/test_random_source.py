"""Random networks: the same from the same seed, others from another, and no trace in torch's own state."""

from __future__ import annotations

import numpy as np
import pytest

from headway import backbones
from headway.backbones import packaged
from headway.backbones import random as source
from headway.errors import ModelError


def test_weights_come_from_the_seed_and_the_architecture_alone() -> None:
    import torch

    first = backbones.open("random:test_resnet@3", offline=True)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    again = backbones.open("random:test_resnet@3", offline=True)
    a, b = first.state(), again.state()
    assert torch.equal(torch.get_rng_state(), before)
    assert first.weights_key == again.weights_key
    assert all(np.array_equal(a[name], b[name]) for name in a)
    other = backbones.open("random:test_resnet@4", offline=True)
    assert other.weights_key != first.weights_key
    b = other.state()
    assert not any(np.array_equal(b[name], a[name]) for name in a if a[name].ndim == 4)


def test_keys_differ_between_architectures_and_between_uses_of_one() -> None:
    keys = [
        backbones.open(f"random:{name}", offline=True).weights_key
        for name in ("test_resnet", "test_vit", "vgg16", "vgg16.edges", "efficientnet_lite0.in1k")
    ]
    assert len(set(keys)) == len(keys)


def test_a_sibling_takes_over_input_and_stages_and_leaves_the_accuracy() -> None:
    edges = packaged.load("vgg16.edges", offline=False)
    sibling = source.sibling(edges, seed=2)
    assert sibling.spec.id == "random:vgg16.edges@2"
    assert sibling.spec.input == edges.spec.input
    assert (sibling.stages, sibling.dims) == (edges.stages, edges.dims)
    lite = source.sibling(packaged.load("efficientnet_lite0.in1k", offline=False), seed=2)
    assert lite.spec.accuracy is None
    assert source.load("efficientnet_lite0.in1k@2", offline=True).spec == lite.spec


def test_random_must_be_asked_for() -> None:
    with pytest.raises(ModelError):
        backbones.resolve(["*.random"], modality="image", offline=True)
    assert all(spec.source != "random" for spec in backbones.resolve(["*resnet18*"], modality="image", offline=True))


def test_a_bad_seed_and_a_foreign_backbone_are_refused() -> None:
    with pytest.raises(ModelError, match="whole number"):
        backbones.open("random:test_resnet@minus", offline=True)

    class Foreign:
        spec = packaged.RECORDS[0].spec

    with pytest.raises(ModelError, match="cannot be built with random weights"):
        backbones.sibling(Foreign(), seed=0)
