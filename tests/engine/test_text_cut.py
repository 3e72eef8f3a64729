"""A text network in two: at every layer and every length the parts give what the whole gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headway import backbones
from headway.engine.cut import merged, points, text_prefix, tunable
from headway.engine.packed import ids_and_mask, packed_ids, packed_states, states_and_mask
from headway.errors import ModelError

CUTS = ("model.encoder.layer.0", "model.encoder.layer.1")


@pytest.fixture(scope="module")
def network(text_backbone, tmp_path_factory):
    folder = text_backbone.bert_folder(tmp_path_factory.mktemp("bert"))
    return backbones.open(f"transformers:{folder}", offline=True)


def _batch(*lengths, seed=0):
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(4, 60, mask.shape, generator=torch.Generator().manual_seed(seed))
    return ids * mask, mask


def _above(network, cut, ids, mask):
    if cut is None:
        return packed_ids(ids, mask)
    with torch.no_grad():
        (states,) = text_prefix(network, cut).module()(ids, mask)
    return packed_states(states, mask)


def test_it_can_be_cut_after_every_layer_but_the_last(network):
    where = points(network)
    assert tuple(point.name for point in where) == CUTS
    assert [point.below for point in where] == pytest.approx([1 / 3, 2 / 3])
    for point in where:
        body = tunable(network, point.name, classes=2).body
        assert sum(p.numel() for p in body.parameters()) == point.params_above


@pytest.mark.parametrize("cut", [*CUTS, None])
@pytest.mark.parametrize("lengths", [(7, 3), (40, 1), (1,), (12, 12, 5, 40)])
def test_the_parts_give_what_the_whole_gives_at_every_length(network, cut, lengths):
    ids, mask = _batch(*lengths)
    with torch.no_grad():
        expected = network.load()(ids, mask)
        found = tunable(network, cut, classes=2).body(_above(network, cut, ids, mask))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cut", [*CUTS, None])
def test_gradients_are_those_of_the_whole_network(network, cut):
    ids, mask = _batch(9, 4, 6)
    tail, whole = tunable(network, cut, classes=2), network.load().eval()
    weights = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    (tail.body(_above(network, cut, ids, mask)) * weights).sum().backward()
    (whole(ids, mask) * weights).sum().backward()
    expected = {name: p.grad for name, p in whole.named_parameters()}
    learnt = {name.removeprefix("net."): p.grad for name, p in tail.body.named_parameters()}
    assert learnt
    for name, grad in learnt.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-4, rtol=1e-4)


def test_what_lies_below_is_bit_equal_after_training_and_what_lies_above_is_not(network):
    tail = tunable(network, CUTS[1], classes=2)
    with torch.no_grad():
        for parameter in tail.body.parameters():
            parameter.add_(0.01)
    before, after = network.load().state_dict(), merged(network, tail, label="moved").load().state_dict()
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith("model.encoder.layer.2.")}


def test_a_merged_network_is_another_to_the_cache_and_says_what_its_tail_says(network):
    tail = tunable(network, CUTS[0], classes=2)
    with torch.no_grad():
        for parameter in tail.body.parameters():
            parameter.mul_(1.1)
    tuned, (ids, mask) = merged(network, tail, label="moved"), _batch(8, 5)
    assert tuned.weights_key != network.weights_key
    with torch.no_grad():
        said = tuned.module()(ids, mask)[-1]
        torch.testing.assert_close(said, tail.body(_above(network, CUTS[0], ids, mask)), atol=1e-5, rtol=1e-5)


def test_another_name_is_refused_with_those_that_are_near(network):
    with pytest.raises(ModelError, match=r"model\.encoder\.layer\.0, model\.encoder\.layer\.1"):
        tunable(network, "model.encoder.layer.9", classes=2)


def test_packing_loses_nothing_but_what_is_masked():
    ids, mask = _batch(5, 2)
    assert all(map(torch.equal, ids_and_mask(packed_ids(ids, mask)), (ids, mask)))
    states = torch.randn(2, 5, 3)
    held, there = states_and_mask(packed_states(states, mask))
    assert torch.equal(there, mask)
    assert torch.equal(held[mask > 0], states[mask > 0])
    assert np.all(held[mask == 0].numpy() == 0)
