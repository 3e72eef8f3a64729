"""Tags in a row: how likely one follows another, learnt from counts, and the best legal sequence.

numpy only, as everything that prediction loads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.types import FloatArray, IntArray

Array = NDArray[np.float64]
SMOOTHING = 0.1  # of a count: a legal pair that was never seen stays possible


def transitions(tags: IntArray, legal: NDArray[np.bool_], *, smoothing: float = SMOOTHING) -> Array:
    """``log p(j after i)`` ``[C + 1, C]`` from tag numbers ``[n, L]`` (-1 past the end); the last row begins a sentence.

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

    ``scores [N, C]`` of all words, sentence after sentence; ``lengths [n]`` sum to N; ``moves [C + 1, C]``, the last row
    for a sentence's first word. Ties go to the first tag. All sentences are decoded at once, a position at a time.
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
        running = size[order] > at
        found[running, at] = state[running]
        state[running] = back[at, np.flatnonzero(running), state[running]]
    decoded: list[IntArray] = [found[0, :0]] * len(size)
    for row, sentence in enumerate(order.tolist()):
        decoded[sentence] = found[row, : size[sentence]]
    return decoded
