"""Decoding rows of tags: against every sequence there is, and never an illegal one."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import DataError
from headway.linear.chain import decoded, learnt, padded, transitions, viterbi
from headway.tasks import tagging

CLASSES = ("O", "B-X", "I-X", "B-Y", "I-Y")
LEGAL = tagging.legal(CLASSES)


def _brute(scores, moves):
    """The best sequence of one sentence, of all that there are."""
    classes = scores.shape[1]

    def value(tags):
        steps = [moves[-1, tags[0]], *(moves[a, b] for a, b in pairwise(tags))]
        return sum(steps) + sum(scores[i, t] for i, t in enumerate(tags))

    return max(product(range(classes), repeat=len(scores)), key=value)


@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_viterbi_is_the_best_of_all_sequences(seed, lengths):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(sum(lengths), 5))
    moves = np.where(LEGAL, rng.normal(size=LEGAL.shape), -np.inf)
    ends = np.cumsum(lengths)
    for found, length, end in zip(viterbi(scores, lengths, moves), lengths, ends, strict=True):
        assert len(found) == length
        if length:
            assert tuple(found.tolist()) == _brute(scores[end - length : end], moves)


@given(seed=st.integers(0, 10_000), weight=st.sampled_from([0.0, 0.5, 1.0]), sure=st.sampled_from([1.0, 1e6]))
def test_no_illegal_sequence_ever_leaves(seed, weight, sure):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, 6)
    scores = rng.normal(size=(lengths.sum(), 5)) * sure
    scores[:, [2, 4]] += sure  # what is inside looks likely everywhere
    decoder = learnt(np.array([[0, 1, 2, 0, -1]]), LEGAL, weight=weight)
    for tags in decoded(decoder, scores, lengths):
        before = len(CLASSES)
        for now in tags.tolist():
            assert LEGAL[before, now]
            before = now


def test_transitions_are_counted_within_sentences_only():
    tags = np.array([[1, 2, 0], [1, -1, -1]])
    found = np.exp(transitions(tags, LEGAL, smoothing=1e-9))
    np.testing.assert_allclose(found[1], [0, 0, 1, 0, 0], atol=1e-6)  # not into the next sentence
    np.testing.assert_allclose(found[5], [0, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[~LEGAL] == 0).all()


def test_what_cannot_be_decoded_is_refused():
    with pytest.raises(DataError, match="cannot be decoded"):
        viterbi(np.full((1, 2), np.nan), [1], np.zeros((3, 2)))
    with pytest.raises(DataError, match="cannot be decoded"):
        viterbi(np.zeros((2, 2)), [1], np.zeros((3, 2)))
    with pytest.raises(DataError, match="cannot be decoded"):
        viterbi(np.zeros((1, 2)), [1], np.full((3, 2), -np.inf))


def test_empty_sentences_keep_their_place():
    found = viterbi(np.zeros((1, 2)), [0, 1, 0], np.zeros((3, 2)))
    assert [len(one) for one in found] == [0, 1, 0]
    assert padded(found, 2).tolist() == [[-1, -1], [0, -1], [-1, -1]]
