"""Every method on networks that were really cut, with a real probe as their head."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from headway import backbones, plugins
from headway.engine import cut
from headway.types import LinearHead

METHODS = [
    name
    for name in plugins.names("adapt")
    if (found := plugins.load("adapt", name).METHOD).works_on == "model" and found.head != "refit"
]
CUTS = [("test_resnet", "layer2"), ("test_vit", "blocks.2"), ("test_vit", None)]


@cache
def _network(arch):
    return backbones.open(f"random:{arch}", offline=True)


def _tail(arch, at):
    dim = _network(arch).spec.dim
    draw = np.random.default_rng(0)
    probe = LinearHead(
        blocks=(dim,),
        unit_blocks=True,
        mean=draw.normal(0, 0.01, dim).astype(np.float32),
        scale=np.full(dim, 0.05, np.float32),
        weight=draw.normal(0, 0.1, (dim, 3)).astype(np.float32),
        bias=np.zeros(3, np.float32),
        temperature=2.0,
    )
    return cut.tunable(_network(arch), at, probe)


def _batch(arch, at, n=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    spec = _network(arch).spec.input
    shape = (3, spec.height, spec.width)
    if at is not None:
        shape = next(point.shape for point in cut.points(_network(arch)) if point.name == at)
    return torch.randn(n, *shape, generator=draw), torch.arange(n) % 3


@pytest.mark.parametrize(("arch", "at"), CUTS)
@pytest.mark.parametrize("name", METHODS)
def test_a_cut_network_is_tuned_and_becomes_an_ordinary_one(name, arch, at):
    tail, batch = _tail(arch, at), _batch(arch, at)
    names = list(tail.state_dict())
    with torch.no_grad():
        before = tail(batch[0])
    tuning = plugins.load("adapt", name).METHOD.tune(
        tail, sample=lambda: [batch], loss=nn.functional.cross_entropy, seed=0
    )
    with torch.no_grad():
        at_first = tuning.model(batch[0])
    assert torch.allclose(at_first, before, atol=1e-5) == (name not in ("partial", "scratch"))
    learns = {name for group in tuning.groups for name in group.names}
    parameters = dict(tuning.model.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    for parameter in learns:
        parameters[parameter].requires_grad_(True)
    steps = torch.optim.SGD([parameters[name] for name in sorted(learns)], lr=1e-2)
    for _ in range(2):
        steps.zero_grad()
        nn.functional.cross_entropy(tuning.model(batch[0]), batch[1]).backward()
        steps.step()
    tail.eval()
    with torch.no_grad():
        tuned = tuning.model(batch[0])
        if tuning.merge is not None:
            tuning.merge()
        torch.testing.assert_close(tail(batch[0]), tuned, atol=1e-5, rtol=1e-5)
    assert list(tail.state_dict()) == names
    assert not torch.allclose(tuned, before, atol=1e-4)
    _becomes_ordinary(arch, at, tail)


def _becomes_ordinary(arch, at, tail):
    """The merged network's embedding under the tail's head gives the tail's scores."""
    network = cut.merged(_network(arch), tail, label="tuned")
    x, _ = _batch(arch, None, n=2)
    with torch.no_grad():
        embedding = network.module()(x)[-1]
        activation = x if at is None else cut.prefix(_network(arch), at).module()(x)[0]
        torch.testing.assert_close(tail.head(embedding), tail(activation), atol=1e-4, rtol=1e-4)


def test_a_fresh_head_of_scratch_does_not_normalise_by_another_networks_embedding():
    tail, batch = _tail(*CUTS[0]), _batch(*CUTS[0])
    scratch = plugins.load("adapt", "scratch").METHOD
    scratch.tune(tail, sample=lambda: [batch], loss=nn.functional.cross_entropy, seed=0)
    assert not tail.head.mean.any()
    assert (tail.head.scale == 1).all()
    assert float(tail.head.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    assert not tail.head.bias.any()


def test_a_fresh_head_of_partial_keeps_the_scale_of_the_embedding():
    tail, batch = _tail(*CUTS[0]), _batch(*CUTS[0])
    mean, scale = tail.head.mean.clone(), tail.head.scale.clone()
    partial = plugins.load("adapt", "partial").METHOD
    partial.tune(tail, sample=lambda: [batch], loss=nn.functional.cross_entropy, seed=0)
    assert torch.equal(tail.head.mean, mean)
    assert torch.equal(tail.head.scale, scale)
