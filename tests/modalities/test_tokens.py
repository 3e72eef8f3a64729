"""Texts as networks take them: the tokenizers library itself is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from headway.errors import ModelError
from headway.modalities import _tokens
from headway.modalities._tokens import batches, collated, pack, padded_length, rows_of, tokenised
from headway.types import TextView

TEXTS = ["the cat sat on the mat", "", "zyx " * 30, "Rain! 😀 \x00", "سلام", "a\ud800b", "the cat", "  \n "]


def _view(text_backbone, folder, **options):
    path = text_backbone.write_tokenizer(folder / "tokenizer.json")
    return TextView(**{"digest": str(folder), "tokens": 16, "tokenizer": path, **options})


def _oracle(view, text, pair=None):
    tool = Tokenizer.from_file(str(view.tokenizer))
    tool.no_padding()
    tool.no_truncation()
    whole = tool.encode(text, pair)
    tool.enable_truncation(view.tokens)
    return tool.encode(text, pair).ids, len(whole.ids)


def _clean(text):
    return text.encode("utf-8", "replace").decode()


def test_ids_and_counts_are_the_tokenizers_own(text_backbone, tmp_path):
    view = _view(text_backbone, tmp_path)
    found, greatest = tokenised(TEXTS, view)
    for text, item in zip(TEXTS, found, strict=True):
        ids, count = _oracle(view, _clean(text))
        assert item.ids.tolist() == ids
        assert item.count == count
    assert greatest == Tokenizer.from_file(str(view.tokenizer)).get_vocab_size() - 1
    assert any(item.count > view.tokens for item in found)


@given(st.text(alphabet="abc the", max_size=80), st.text(alphabet="abc the", max_size=80))
def test_pairs_are_put_together_as_the_tokenizer_does_it(text_backbone, tmp_path_factory, first, second):
    view = _view(text_backbone, tmp_path_factory.mktemp("pairs"))
    item = tokenised([(first, second)], view)[0][0]
    assert (item.ids.tolist(), item.count) == _oracle(view, first, second)


def test_prefix_and_lower_case(text_backbone, tmp_path):
    view = _view(text_backbone, tmp_path, prefix="the ", lower=True, tokens=32)
    assert tokenised(["CAT"], view)[0][0].ids.tolist() == _oracle(view, "the cat")[0]


def test_a_megabyte_is_looked_at_up_to_a_blank(text_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(_tokens, "LONGEST", 12)
    view = _view(text_backbone, tmp_path)
    assert tokenised(["cat sat match cat cat"], view)[0][0].count == 2 + 2  # "match" would be torn


def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer"):
        tokenised(["a"], TextView(digest="x", tokens=8, tokenizer=tmp_path / "tokenizer.json"))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(1, 400))
def test_batches_hold_every_item_once_at_its_own_length(text_backbone, tmp_path_factory, words, size):
    view = _view(text_backbone, tmp_path_factory.mktemp("batches"), tokens=50)
    items = pack(["cat " * n for n in words], view)
    seen = []
    for places, (ids, mask), columns in batches([items[:3], items[3:]], view, size=size):
        length = ids.shape[1]
        assert 0 < len(places) <= rows_of(length, size)
        assert len(places) == len(ids) == len(mask) == len(columns["tokens"])
        for row, place in enumerate(places):
            own = items[place].ids
            assert padded_length(len(own), 50) == length
            assert ids[row, mask[row] == 1].tolist() == own.tolist()
            assert mask[row].tolist() == [1] * len(own) + [0] * (length - len(own))
            assert columns["tokens"][row, 0] == words[place] + 2
        seen += places.tolist()
    assert sorted(seen) == list(range(len(words)))


def test_lengths_never_exceed_the_networks():
    for most in (6, 40, 256, 500):
        lengths = [padded_length(n, most) for n in range(1, most + 1)]
        assert all(n <= length <= most for n, length in enumerate(lengths, start=1))
        assert lengths == sorted(lengths)
    assert len({padded_length(n, 512) for n in range(1, 513)}) == 20


def test_a_batch_is_padded_on_the_right():
    item = _tokens.Tokens(ids=np.array([5, 6]), count=2)
    ids, mask = collated([item], 4)
    assert (ids.tolist(), mask.tolist()) == ([[5, 6, 0, 0]], [[1, 1, 0, 0]])
