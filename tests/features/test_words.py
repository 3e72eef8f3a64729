"""Words survive sub-word tokenisation: every word keeps its place and its states, whatever it is made of."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from headway.engine.tokenwise import compile_tokens, prepare
from headway.errors import ModelError
from headway.features.pieces import cutter, spread, windows
from headway.features.store import Store
from headway.features.words import Block, gather, shifted, states_key, store_states, word_digests, word_states

TEXT = ["the quick brown fox jumps over the lazy dog", "strasse naive unbelievable tokenisation", "0123456789 , . !"]
ODD = [
    "\u200b",
    "\x00",
    "😀",
    "👩‍👩‍👧",
    "א",
    "\ud800",
    "",
    " ",
    "　",
    "a" * 500,
    "don't",
    "ﬀ",
    "\u0301",
    "#@!",
    "日本語",
]


def _word_piece(path):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(TEXT, trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    tokenizer.save(str(path))
    return path


def _byte_level(path):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module", params=[_word_piece, _byte_level], ids=["word-piece", "byte-level"])
def tokenizer(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


words = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=12), st.sampled_from(TEXT[0].split())), max_size=40)


@settings(deadline=None)
@given(sentences=st.lists(words, min_size=1, max_size=4), tokens=st.integers(4, 24))
def test_every_word_is_owned_once_and_holds_its_own_pieces(tokenizer, sentences, tokens):
    cut = cutter(tokenizer, tokens=tokens)
    owned = {}
    for window in windows(cut, sentences):
        assert len(window.ids) <= tokens
        assert window.first <= window.own[0] <= window.own[1] <= window.stop
        assert len(window.starts) == window.stop - window.first + 1
        assert window.ids[: len(cut.before)] == cut.before and window.ids[window.starts[-1] :] == cut.after
        for word in range(*window.own):
            own = slice(*window.starts[word - window.first : word - window.first + 2])
            owned.setdefault((window.sentence, word), []).append(window.ids[own])
    assert sorted(owned) == [(s, w) for s, words in enumerate(sentences) for w in range(len(words))]
    for (sentence, word), found in owned.items():
        assert len(found) == 1 and len(found[0]) >= 1
        assert found[0] == cut.pieces(sentences[sentence])[word]


@given(counts=st.lists(st.integers(1, 9), max_size=60), capacity=st.integers(9, 30))
def test_windows_cover_all_fit_and_overlap(counts, capacity):
    found = spread(np.array(counts, np.int64), capacity)
    assert {word for first, stop in found for word in range(first, stop)} == set(range(len(counts)))
    assert all(sum(counts[first:stop]) <= capacity for first, stop in found)
    assert all(a[0] < b[0] <= a[1] <= b[1] for a, b in pairwise(found))


def test_a_sentence_of_plain_words_is_what_the_tokenizer_makes_of_it(tokenizer):
    text = TEXT[0]
    (window,) = windows(cutter(tokenizer, tokens=512), [text.split()])
    assert list(window.ids) == Tokenizer.from_file(str(tokenizer)).encode(text).ids


def test_a_word_without_pieces_becomes_the_unknown_one(tmp_path):
    path = _word_piece(tmp_path / "tokenizer.json")
    cut = cutter(path, tokens=16)
    assert cut.pieces(["\x00", "\u200b", ""]) == [(cut.unknown,)] * 3
    assert cut.unknown == Tokenizer.from_file(str(path)).token_to_id("[UNK]")


def test_what_is_no_tokenizer_or_leaves_no_room_is_refused(tokenizer, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps({}))
    with pytest.raises(ModelError, match="cannot be read"):
        cutter(tmp_path / "bad.json", tokens=16)
    if cutter(tokenizer, tokens=16).before:
        with pytest.raises(ModelError, match="leave no room"):
            cutter(tokenizer, tokens=2)


# --- states -------------------------------------------------------------------------------------


class _Toy(nn.Module):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        own = torch.stack([input_ids, input_ids * 0 + 1], -1).float()
        place = attention_mask.cumsum(1).float() - 1
        return own, torch.stack([place, place * 0 + 1], -1)


class Toy:
    """A :class:`headway.engine.tokenwise.TokenNetwork`."""

    name, weights_key, stages = "toy", "toy", ("id", "place")

    def __init__(self, tokenizer: object, tokens: int) -> None:
        self._tokenizer, self.tokens = tokenizer, tokens

    def tokenizer(self) -> object:
        return self._tokenizer

    def module(self) -> nn.Module:
        return _Toy()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return compile_tokens(prepare(Toy(_word_piece(folder / "tokenizer.json"), 16), cache=folder))


def test_states_are_those_of_a_words_own_pieces(network):
    """The toy's state of a token is its id, and at the second stage its place."""
    cut = cutter(network.ir.folder / "tokenizer.json", tokens=16)
    sentences = [("unbelievable", "fox"), (), ("dog",) * 40, ("😀", "\x00", "tokenisation")]
    found = word_states(sentences, network, cut)
    pieces = [p for words in sentences for p in cut.pieces(words)]
    np.testing.assert_array_equal(found["0.first"][:, 0], [p[0] for p in pieces])
    np.testing.assert_allclose(found["0.mean"][:, 0], [np.mean(p) for p in pieces], rtol=1e-3)
    inner = found["1.first"][2 + 5 : 2 + 35, 0]  # of the long sentence: never at a window's edge
    assert inner.min() >= 3


def test_a_words_states_do_not_depend_on_the_company(network):
    cut = cutter(network.ir.folder / "tokenizer.json", tokens=16)
    alone = word_states([("the", "fox")], network, cut)
    among = word_states([("dog",) * 11, ("the", "fox"), ("a",)], network, cut)
    for name, column in alone.items():
        np.testing.assert_array_equal(column, among[name][11:13])


def test_what_is_stored_is_gathered_and_computed_once(network, tmp_path):
    cut, store = cutter(network.ir.folder / "tokenizer.json", tokens=16), Store(tmp_path)
    sentences = [("the", "fox"), ("the", "dog", "jumps")] * 40
    assert store_states(sentences, network, cut, store=store, go_on=lambda _: False) == 64
    assert store_states(sentences, network, cut, store=store) == 80
    calls = []

    def counted(batches):
        calls.append(1)
        return network.forward(batches)

    assert store_states(sentences, replace(network, forward=counted), cut, store=store) == 80
    assert not calls
    blocks = [Block(stage=0, pooling="first"), Block(stage=0, pooling="first", offset=1)]
    digests = word_digests(sentences[:2])
    X = gather(store, states_key(network), digests, [2, 3], blocks)
    width = network.ir.dims[0]
    np.testing.assert_array_equal(X[0, width:], X[1, :width])
    assert not X[1, width:].any() and not X[4, width:].any()


def test_neighbours_never_come_from_another_sentence():
    rows = np.arange(1.0, 7.0, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(shifted(rows, [2, 0, 3, 1], -1).ravel(), [0, 1, 0, 3, 4, 0])
    np.testing.assert_array_equal(shifted(rows, [2, 0, 3, 1], 2).ravel(), [0, 0, 5, 0, 0, 0])


def test_equal_words_in_other_sentences_are_other_words():
    a, b, c = word_digests([("x", "y"), ("x", "z"), ("xy",)])[[0, 2, 4]]
    assert len({bytes(d) for d in (a, b, c)}) == 3
