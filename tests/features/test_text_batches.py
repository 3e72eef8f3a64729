"""Texts for the training loop: states once a text, batches of similar lengths, pairs without a list of pairs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headway import backbones
from headway.engine.cut import text_prefix
from headway.engine.packed import ids_and_mask, states_and_mask
from headway.engine.tokenwise import compile_tokens, eager, prepare
from headway.errors import OptionError
from headway.features.states import States
from headway.features.text_batches import by_length, paired, text_batches
from headway.modalities._tokens import Tokens

CUT = "model.encoder.layer.1"


@pytest.fixture(scope="module")
def below(text_backbone, tmp_path_factory):
    folder = text_backbone.bert_folder(tmp_path_factory.mktemp("bert"))
    return text_prefix(backbones.open(f"transformers:{folder}", offline=True), CUT)


def _items(*lengths):
    rng = np.random.default_rng(0)
    return [Tokens(ids=rng.integers(4, 60, length), count=length) for length in lengths]


def _rng(seed=0):
    return np.random.default_rng(seed)


# --- states -------------------------------------------------------------------------------------


def test_held_states_are_those_that_are_computed_anew_and_near_to_eager(below, tmp_path):
    forward = compile_tokens(prepare(below, cache=tmp_path)).forward
    items, rows = _items(3, 17, 40, 9), np.arange(4)
    held = States(items=items, tokens=40, forward=forward)
    assert held.fill(rows) == 4
    nothing_held = States(items=items, tokens=40, forward=forward, limit=0)
    assert nothing_held.fill(rows) == 0
    assert torch.equal(held.read(rows), nothing_held.read(rows))
    states, mask = states_and_mask(held.read(rows))
    for row, item in enumerate(items):
        (expected,) = next(iter(eager(below)([(item.ids[None], np.ones((1, len(item.ids)), np.int64))])))
        own = states[row][mask[row] > 0].numpy()
        assert np.abs(own - expected[0]).max() <= 0.02 * np.abs(expected).max()


def test_what_is_held_stays_below_the_bound(below):
    items = _items(*[20] * 10)
    held = States(items=items, tokens=40, forward=eager(below), limit=3 * 20 * 32 * 2)
    assert held.fill(np.arange(10)) == 3
    assert held.read(np.arange(10)).shape == (10, 32, 33)  # padded to 32 tokens, 32 columns and the mask


def test_nothing_frozen_gives_ids():
    items = _items(5, 2)
    ids, mask = ids_and_mask(States(items=items, tokens=40, forward=None).read(np.arange(2)))
    assert mask.sum(1).tolist() == [5, 2]
    assert ids[1, :2].tolist() == items[1].ids.tolist()


# --- batches ------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 20), st.integers(0, 5))
def test_by_length_every_row_comes_once_in_batches_of_like_size(lengths, size, seed):
    batches = -(-len(lengths) // size)
    parts = by_length(np.array(lengths), batches=batches, rng=_rng(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    sizes = [len(part) for part in parts]
    assert len(parts) == batches and max(sizes) - min(sizes) <= 1


def test_by_length_less_is_padded_than_at_random():
    lengths = _rng().integers(10, 200, 128)
    padded = sum(len(p) * lengths[p].max() for p in by_length(lengths, batches=8, rng=_rng()))
    at_random = sum(len(p) * lengths[p].max() for p in np.array_split(_rng().permutation(128), 8))
    assert padded < 0.7 * at_random


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=6),
    st.integers(2, 12).map(lambda half: 2 * half),
    st.integers(0, 5),
)
def test_every_batch_of_pairs_has_both_kinds_and_no_item_twice(counts, size, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    for part in paired(y, batches=6, size=size, rng=_rng(seed)):
        assert 2 <= len(part) <= size
        assert len(set(part.tolist())) == len(part)
        assert len(set(y[part].tolist())) == min(size // 2, len(counts))
        if min(counts) >= 2:
            assert max(np.bincount(y[part])) >= 2


def test_every_item_and_every_class_gets_its_share_of_pairs():
    y = np.repeat([0, 1, 2], [4, 8, 12])
    drawn = np.concatenate(paired(y, batches=60, size=8, rng=_rng()))
    by_class = np.bincount(y[drawn]) / len(drawn)
    assert np.abs(by_class - 1 / 3).max() < 0.02
    for label in range(3):
        each = np.bincount(drawn, minlength=len(y))[y == label]
        assert each.max() - each.min() <= 2


def test_pairs_are_never_listed():
    """20,000 items have 200 million pairs; what is kept is a few positions an item."""
    y = np.arange(20_000) % 2
    tracemalloc.start()
    paired(y, batches=50, size=16, rng=_rng())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * len(y)


def test_an_epoch_is_the_same_whenever_it_is_asked_for_and_the_next_another():
    items, y = _items(*range(1, 31)), np.arange(30) % 3
    for how in ("by length", "pairs"):
        states = States(items=items, tokens=40, forward=None)
        data = text_batches(states, np.arange(30), y, batch_size=8, seed=3, how=how)
        first, again, other = ([p.tolist() for p in data.places(n)] for n in (1, 1, 2))
        assert first == again != other
        assert len(first) == len(data)
        for (x, targets), places in zip(data.epoch(1), first, strict=True):
            assert len(x) == len(targets)
            assert targets.tolist() == y[places].tolist()


def test_pairs_of_numbers_are_refused():
    states = States(items=_items(3, 4), tokens=40, forward=None)
    with pytest.raises(OptionError, match="pairs are of one class"):
        text_batches(states, np.arange(2), np.array([0.5, 1.5]), batch_size=2, seed=0, how="pairs")
