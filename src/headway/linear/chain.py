"""Tags in a row: how likely one follows another, learnt from counts, and the best legal sequence.

numpy only, as everything that prediction loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.types import FloatArray, IntArray

Array = NDArray[np.float64]
SMOOTHING = 0.1  # of a count: a legal pair that was never seen stays possible


def transitions(tags: IntArray, legal: NDArray[np.bool_], *, smoothing: float = SMOOTHING) -> Array:
    """``log p(j after i)`` ``[C + 1, C]`` from tag numbers ``[n, L]`` (-1 past the end); the last row: at the start.

    Illegal pairs are ``-inf``; every row is a distribution over what is legal. Additive smoothing (Lidstone).

    >>> found = transitions(np.array([[0, 1], [0, -1]]), np.ones((3, 2), bool), smoothing=0.5)
    >>> np.exp(found).round(3).tolist()
    [[0.25, 0.75], [0.5, 0.5], [0.833, 0.167]]
    """
    classes = legal.shape[1]
    counts = np.zeros(legal.shape)
    before = np.hstack([np.full((len(tags), 1), classes), tags[:, :-1]])
    there = tags >= 0
    np.add.at(counts, (before[there], tags[there]), 1.0)
    smoothed = np.where(legal, counts + smoothing, 0.0)
    with np.errstate(divide="ignore"):
        found: Array = np.log(smoothed) - np.log(smoothed.sum(axis=1, keepdims=True))
    return found


def viterbi(scores: FloatArray, lengths: Sequence[int] | IntArray, moves: FloatArray) -> list[IntArray]:
    """The best sequence of each sentence: the largest sum of its words' scores and of its moves, ``-inf`` never taken.

    ``scores [N, C]`` of all words, sentence after sentence; ``lengths [n]`` sum to N; ``moves [C + 1, C]``, the last
    row for a sentence's first word. Ties go to the first tag. All sentences are decoded at once, a position at a time.
    Viterbi, IEEE Transactions on Information Theory 13 (1967). Raises :class:`DataError` where some tag cannot be
    followed or no sentence can begin, so that a legal sequence always exists.

    >>> moves = np.array([[0, 0, -np.inf], [0, 0, 0], [0, 0, 0], [0, 0, -np.inf]])  # O, B, I: no I after O
    >>> viterbi(np.array([[1.0, 0, 3], [0, 0, 1.5]]), [2], moves)[0].tolist()
    [1, 2]
    """
    size, classes = np.asarray(lengths, np.int64), scores.shape[1]
    if not (np.isfinite(moves).any(axis=1).all() and np.isfinite(scores).all() and size.sum() == len(scores)):
        raise DataError(
            "these scores cannot be decoded",
            given=f"{len(scores)} words for {size.sum()} places, or a tag that nothing may follow",
            allowed="finite scores, and a legal tag after each",
        )
    if not len(size):
        return []
    order = np.argsort(-size, kind="stable")  # the longest first: at every position the first rows are still running
    starts = (np.cumsum(size) - size)[order]
    longest = int(size.max(initial=0))
    back = np.zeros((longest, len(size), classes), np.int64)
    best = np.zeros((len(size), classes))
    for at in range(longest):
        running = int((size > at).sum())
        here = scores[starts[:running] + at]
        if at == 0:
            best[:running] = moves[-1] + here
            continue
        ways = best[:running, :, None] + moves[None, :-1]
        back[at, :running] = ways.argmax(axis=1)
        best[:running] = ways.max(axis=1) + here
    found = np.zeros((len(size), longest), np.int64)
    state = best.argmax(axis=1)
    for at in range(longest - 1, -1, -1):
        rows = np.flatnonzero(size[order] > at)
        found[rows, at] = state[rows]
        state[rows] = back[at, rows, state[rows]]
    decoded: list[IntArray] = [found[0, :0]] * len(size)
    for row, sentence in enumerate(order.tolist()):
        decoded[sentence] = found[row, : size[sentence]]
    return decoded


def log_shares(scores: FloatArray) -> Array:
    """Log probabilities ``[N, C]`` of scores ``[N, C]``.

    >>> log_shares(np.zeros((1, 2))).round(3).tolist()
    [[-0.693, -0.693]]
    """
    shifted = np.asarray(scores, np.float64) - np.max(scores, axis=1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """From a word's scores to the tags of a sentence.

    The score of tag j after i is ``log p(j | word) + weight (log p(j | i) - log p(j))``: what the words say and what
    the row of tags says, of which p(j) would else count twice. Illegal pairs are never taken, whatever the weight.
    """

    moves: Array  # [C + 1, C] log p(j | i), -inf where illegal
    prior: Array  # [C] log p(j)
    weight: float  # 0: only what is legal counts


def learnt(tags: IntArray, legal: NDArray[np.bool_], *, weight: float = 0.0) -> Decoder:
    """The decoder of counted tags ``[n, L]``, -1 past a sentence's end."""
    counted = np.bincount(tags[tags >= 0], minlength=legal.shape[1]) + SMOOTHING
    return Decoder(moves=transitions(tags, legal), prior=np.log(counted / counted.sum()), weight=weight)


def decoded(decoder: Decoder, scores: FloatArray, lengths: Sequence[int] | IntArray) -> list[IntArray]:
    """The tags of each sentence from the scores ``[N, C]`` of all words; always legal."""
    impossible = np.isneginf(decoder.moves)
    moves = np.where(impossible, -np.inf, decoder.weight * np.where(impossible, 0.0, decoder.moves))
    return viterbi(log_shares(scores) - decoder.weight * decoder.prior, lengths, moves)


def padded(sentences: Sequence[IntArray], width: int) -> IntArray:
    """Sentences of tag numbers as ``[n, width]``, -1 past their ends.

    >>> padded([np.array([1]), np.array([2, 0])], 2).tolist()
    [[1, -1], [2, 0]]
    """
    out = np.full((len(sentences), width), -1, np.int64)
    for row, tags in enumerate(sentences):
        out[row, : len(tags)] = tags
    return out
