"""Which states of a network a tagger reads: chosen on validation folds, by a probe that is solved in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.evaluate.metrics import measure
from headway.evaluate.taggers import ENDLESS, Lines, left_out_tags
from headway.features.store import Store
from headway.features.words import POOLINGS, Block, gather
from headway.linear.folds import left_out
from headway.seeds import seed_of
from headway.types import ByteArray, IntArray

WORDS = 4000  # that the choice is made on, whole sentences of them, where the time allows
PIECE = 500  # words that are timed first, and the fewest
STEEP = 1.5  # a probe on twice the columns takes at most two to this power as long
PENALTIES = (3e-3, 3e-2, 3e-1)  # of the mean diagonal entry
GAIN = 0.003  # of the primary metric that more columns must bring
Blocks = tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was settled on, and every candidate's score of the primary metric, in the order of trying."""

    blocks: Blocks
    score: float
    truth: IntArray  # [n, L] of the sentences that the choice was made on
    said: IntArray  # [n, L] out of fold, with the chosen blocks
    tried: tuple[tuple[Blocks, float], ...]


def choose_blocks(
    lines: Lines,
    digests: ByteArray,
    *,
    store: Store,
    key: str,
    stages: int,
    seed: int,
    time: Deadline = ENDLESS,
) -> Choice:
    """Greedily: the stage, whether its neighbours count, how pieces are pooled, and whether the other stages join.

    ``digests [N, 16]`` are those of the lines' words. Each candidate is a ridge probe on at most :data:`WORDS` words
    with whole folds of sentences left out, decoded legally and measured by the primary metric. The words are fewer
    where a timed piece of them says so, and a candidate that would not fit into ``time`` is not tried.
    """

    def columns(blocks: Blocks, part: Lines, rows: IntArray) -> NDArray[np.float32]:
        return _unit(gather(store, key, digests[rows], part.lengths, blocks))

    deep = [(Block(stage=stage, pooling="first"),) for stage in range(stages)]
    small, rows = _some(lines, seed, PIECE)
    started = perf_counter()
    _score(columns(deep[-1], small, rows), small)
    slowest = (perf_counter() - started) / len(rows)  # seconds a word of a probe on one block
    part, rows = _some(lines, seed, _affordable(slowest, stages, time))
    slowest *= len(rows)
    kept: dict[Block, NDArray[np.float32]] = {}
    tried: dict[Blocks, float] = {}
    said: dict[Blocks, IntArray] = {}

    def score(blocks: Blocks) -> float:
        nonlocal slowest
        if blocks not in tried:
            started = perf_counter()
            for block in blocks:
                if block not in kept:
                    kept[block] = columns((block,), part, rows)
            tried[blocks], said[blocks] = _score(np.hstack([kept[block] for block in blocks]), part)
            slowest = max(slowest, (perf_counter() - started) / len(blocks) ** STEEP)
        return tried[blocks]

    def better(now: Blocks, others: Sequence[Blocks], *, by: float) -> Blocks:
        for other in others:
            if (other in tried or time.allows(slowest * len(other) ** STEEP)) and score(other) > score(now) + by:
                now = other
        return now

    best = better(deep[-1], deep[:-1], by=0.0)
    near = _with_neighbours(best[0])  # where time is short they count unasked: they hardly ever fail to pay
    best = better(best, [near], by=GAIN) if time.allows(slowest * len(near) ** STEEP) else near
    best = better(best, [tuple(replace(b, pooling=how) for b in best) for how in POOLINGS], by=GAIN)
    others = tuple(replace(best[0], stage=stage) for stage in range(stages) if stage != best[0].stage)
    best = better(best, [(*best, *others)], by=GAIN)
    judged = best if best in tried else best[:1]
    top = score(judged)
    return Choice(blocks=best, score=top, truth=part.tags, said=said[judged], tried=tuple(tried.items()))


def _affordable(pace: float, stages: int, time: Deadline) -> int:
    """Words on which every stage, and then one with its neighbours, can be tried; ``pace`` is a word's of one block."""
    trials = stages + len(_with_neighbours(Block(stage=0, pooling="first"))) ** STEEP
    return int(np.clip(max(time.remaining, 0.0) / (trials * max(pace, 1e-9)), PIECE, WORDS))


def _with_neighbours(block: Block) -> Blocks:
    return (block, *(replace(block, offset=offset) for offset in (-1, 1)))


def _score(X: NDArray[np.float32], lines: Lines) -> tuple[float, IntArray]:
    """The best over penalties: which one is settled later, by the probe itself."""
    hot = np.eye(len(lines.classes), dtype=np.float32)[lines.y]
    scores = left_out(X, hot, lines.word_folds, PENALTIES)
    said = [left_out_tags(_sharpened(one), lines, 0.0) for one in scores]
    values = [measure(lines.metrics[0], lines.tags, tags) for tags in said]
    return max(values), said[int(np.argmax(values))]


def _sharpened(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares as least squares gives them, as scores whose softmax is about as sure."""
    return np.log(np.clip(scores, 1e-3, 1.0))


def _unit(X: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    return scaled


def _some(lines: Lines, seed: int, words: int) -> tuple[Lines, NDArray[np.int64]]:
    """Whole sentences of about so many words, drawn at random, and the rows of their words."""
    lengths, ends = lines.lengths, np.cumsum(lines.lengths)
    order = np.random.default_rng(seed_of("tag-sample", seed)).permutation(len(lengths))
    enough = int(np.searchsorted(np.cumsum(lengths[order]), words)) + 1
    chosen = np.sort(order[:enough])
    if len(np.unique(lines.folds[chosen])) < 2:
        chosen = np.arange(len(lengths))
    rows = np.concatenate([np.arange(ends[i] - lengths[i], ends[i]) for i in chosen])
    part = replace(
        lines,
        sentences=tuple(lines.sentences[i] for i in chosen.tolist()),
        tags=lines.tags[chosen],
        folds=lines.folds[chosen],
    )
    return part, rows
