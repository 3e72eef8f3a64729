"""Taggers: a probe a word and a decoder a sentence, fitted and judged on folds that leave whole sentences out.

The arm with transfer and those without share the probe (:mod:`headway.linear.multinomial`), the folds, the penalties
and the decoder: what differs is what a word's columns are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.evaluate.metrics import measure
from headway.evaluate.tag_fitting import crossed, eigenbasis
from headway.features.hand import hashed
from headway.features.words import Block
from headway.linear.chain import Decoder, decoded, learnt, padded
from headway.linear.head import linear_scores, standardise, unit_head
from headway.linear.multinomial import Solution, scores
from headway.types import IntArray, LinearHead, Record

DENSE = (1.0, 0.3, 0.1, 0.03)  # penalties where every block of columns has a total variance of 1
SPARSE = (1.0, 0.3)  # where columns are 0 or 1
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the row of tags
SEEN = 2  # words that a hashed column must mark in training
WORTH = 0.001  # of the primary metric: a heavier decoder must beat a lighter one by more
ROTATED = 1600  # columns up to which they are turned into their own eigenbasis, where few steps suffice
TURNING = 0.3  # of the time, at most, for that basis
FITTING = 0.8  # of the time is for fitting, the rest for choosing how much the row of tags says
FLOPS = 1e10  # a second, at least, of one core

ENDLESS = Deadline(math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Sentences that are learnt from: tag numbers ``[n, L]`` (-1 past the end), and a fold a sentence."""

    sentences: tuple[tuple[str, ...], ...]
    tags: IntArray
    folds: IntArray
    classes: tuple[str, ...]
    legal: NDArray[np.bool_]
    metrics: tuple[str, ...]  # the primary one first

    @property
    def lengths(self) -> IntArray:
        return np.asarray((self.tags >= 0).sum(axis=1))

    @property
    def y(self) -> IntArray:
        """The tags of all words ``[N]``, sentence after sentence."""
        return self.tags[self.tags >= 0]

    @property
    def word_folds(self) -> IntArray:
        """``[N]``: the fold of each word's sentence."""
        return np.repeat(self.folds, self.lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagger:
    """What is shipped: columns of a network's states, hashed marks of the words themselves, or a table of words."""

    classes: tuple[str, ...]
    decoder: Decoder
    head: LinearHead | None = None
    blocks: tuple[Block, ...] = ()
    columns: IntArray | None = None  # [k] of the hashed ones that are used
    solution: Solution | None = None  # on these
    table: Mapping[str, int] = field(default_factory=dict)  # a word's row of counts
    counts: NDArray[np.float32] | None = None  # [V + 1, C], the last row for words that are not in the table


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResult:
    """A tagger that was fitted; ``score`` is the mean over folds of the primary metric."""

    arm: str
    backbone: str
    method: str
    tagger: Tagger
    params: Mapping[str, float | int | str | bool]
    records: tuple[Record, ...]
    score: float
    seconds: float


def tag(tagger: Tagger, sentences: Sequence[Sequence[str]], X: NDArray[np.float32] | None = None) -> list[IntArray]:
    """The tags of sentences; ``X [N, d]`` are the blocks of their words' states where the tagger reads such."""
    lengths = [len(words) for words in sentences]
    return decoded(tagger.decoder, word_scores(tagger, sentences, X), lengths)


def word_scores(
    tagger: Tagger, sentences: Sequence[Sequence[str]], X: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Scores ``[N, C]`` of all words, sentence after sentence."""
    if tagger.head is not None:
        assert X is not None, "a tagger on a network's states is given them"
        return linear_scores(tagger.head, X)
    if tagger.solution is not None:
        return scores(hashed(sentences)[:, tagger.columns], tagger.solution)
    assert tagger.counts is not None
    last = len(tagger.counts) - 1
    rows = [tagger.table.get(word, last) for words in sentences for word in words]
    return np.log(tagger.counts[np.array(rows, np.int64)])


def on_states(
    X: NDArray[np.float32], blocks: Sequence[Block], lines: Lines, *, arm: str, backbone: str, seed: int,
    time: Deadline = ENDLESS,
) -> TagResult:  # fmt: skip
    """The probe on a network's states ``X [N, d]`` of the blocks, of equal width, within ``time``."""
    started = perf_counter()
    widths = (X.shape[1] // len(blocks),) * len(blocks)
    Z, mean, scale = standardise(X, widths, weights=np.ones(len(X)))
    n, d = Z.shape
    turned = d <= ROTATED and (2.0 * n * d**2 + 12.0 * d**3) / FLOPS <= TURNING * time.remaining
    turn = eigenbasis(Z) if turned else None
    fit = crossed(Z if turn is None else Z @ turn, lines, DENSE, time=Deadline(FITTING * time.remaining))
    found = fit.solution
    weight = found.weight if turn is None else turn @ found.weight
    head = unit_head(widths, mean=mean, scale=scale, weight=weight, bias=found.bias)
    tagger = Tagger(classes=lines.classes, decoder=learnt(lines.tags, lines.legal), head=head, blocks=tuple(blocks))
    params = {**fit.told, **described(blocks)}
    return _judged(
        tagger, fit.left, lines, arm=arm, backbone=backbone, params=params, started=started, seed=seed, time=time
    )


def on_marks(lines: Lines, *, seed: int, time: Deadline = ENDLESS) -> TagResult:
    """The same probe on what the words look like, within ``time``."""
    started = perf_counter()
    X = hashed(lines.sentences)
    columns = np.flatnonzero(np.asarray((X > 0).sum(axis=0)).ravel() >= SEEN)
    fit = crossed(X[:, columns], lines, SPARSE, time=Deadline(FITTING * time.remaining))
    decoder = learnt(lines.tags, lines.legal)
    tagger = Tagger(classes=lines.classes, decoder=decoder, columns=columns, solution=fit.solution)
    return _judged(
        tagger,
        fit.left,
        lines,
        arm="classical",
        backbone="words",
        params=fit.told,
        started=started,
        seed=seed,
        time=time,
    )


def on_table(lines: Lines, *, seed: int) -> TagResult:
    """No features: each word's most frequent tag, and for unknown words the most frequent tag of all."""
    started = perf_counter()
    words = [word for sentence in lines.sentences for word in sentence]
    table, counts = _table(words, lines.y, len(lines.classes))
    left = np.zeros((len(words), len(lines.classes)), np.float32)
    for fold in np.unique(lines.folds):
        out = lines.word_folds == fold
        seen = [word for word, gone in zip(words, out.tolist(), strict=True) if not gone]
        known, counted = _table(seen, lines.y[~out], len(lines.classes))
        rows = [known.get(word, len(known)) for word, gone in zip(words, out.tolist(), strict=True) if gone]
        left[out] = np.log(counted[np.array(rows, np.int64)])
    tagger = Tagger(classes=lines.classes, decoder=learnt(lines.tags, lines.legal), table=table, counts=counts)
    return _judged(
        tagger, left, lines, arm="prior", backbone="none", params={}, started=started, seed=seed, weights=(0.0,)
    )


def described(blocks: Sequence[Block]) -> dict[str, str]:
    """Blocks as a record's parameters.

    >>> described([Block(stage=1, pooling="mean"), Block(stage=1, pooling="mean", offset=-1)])
    {'blocks': '1.mean 1.mean-1'}
    """
    return {"blocks": " ".join(f"{b.stage}.{b.pooling}" + (f"{b.offset:+d}" if b.offset else "") for b in blocks)}


def left_out_tags(left: NDArray[np.float32], lines: Lines, weight: float) -> IntArray:
    """Out-of-fold tags ``[n, L]`` from scores ``[N, C]``; each fold's transitions are those of the others."""
    said = np.full_like(lines.tags, -1)
    for fold in np.unique(lines.folds):
        rows = np.flatnonzero(lines.folds == fold)
        decoder = learnt(lines.tags[lines.folds != fold], lines.legal, weight=weight)
        tags = decoded(decoder, left[lines.word_folds == fold], lines.lengths[rows])
        said[rows] = padded(tags, said.shape[1])
    return said


def _table(words: Sequence[str], y: IntArray, classes: int) -> tuple[dict[str, int], NDArray[np.float32]]:
    """Counts a word, smoothed by how often tags are at all, which is what an unknown word gets."""
    number = {word: row for row, word in enumerate(dict.fromkeys(words))}
    counts = np.zeros((len(number) + 1, classes))
    np.add.at(counts, (np.array([number[word] for word in words], np.int64), y), 1.0)
    share = (np.bincount(y, minlength=classes) + 0.01) / (len(y) + 0.01 * classes)
    counts += 1e-3 * share
    return number, (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)


def _weighed(
    left: NDArray[np.float32], lines: Lines, weights: Sequence[float], time: Deadline
) -> list[tuple[float, IntArray]]:
    """Out-of-fold tags with the row of tags weighing so much, as long as one more fits; the first in any case."""
    tried: list[tuple[float, IntArray]] = []
    cost = 0.0
    for weight in weights:
        if tried and not time.allows(cost):
            break
        started = perf_counter()
        tried.append((weight, left_out_tags(left, lines, weight)))
        cost = perf_counter() - started
    return tried


def _judged(
    tagger: Tagger,
    left: NDArray[np.float32],
    lines: Lines,
    *,
    arm: str,
    backbone: str,
    params: Mapping[str, Any],
    started: float,
    seed: int,
    weights: Sequence[float] = WEIGHTS,
    time: Deadline = ENDLESS,
) -> TagResult:
    """Choose how much the row of tags says, and measure every fold."""
    primary = lines.metrics[0]
    tried = _weighed(left, lines, weights, time)
    values = [measure(primary, lines.tags, said) for _, said in tried]
    at = next(i for i, value in enumerate(values) if value >= max(values) - WORTH)
    weight, said = tried[at]
    method, params = ("counts" if arm == "prior" else "probe+viterbi"), {**params, "transitions": weight}
    seconds = round(perf_counter() - started, 4)
    records = tuple(
        Record(
            arm=arm,
            backbone=backbone,
            method=method,
            params=params,
            split="val",
            fold=int(fold),
            seed=seed,
            metric=metric,
            value=measure(metric, lines.tags[lines.folds == fold], said[lines.folds == fold]),
            n_train=len(lines.tags),
            seconds=seconds,
        )
        for fold in np.unique(lines.folds)
        for metric in lines.metrics
    )
    return TagResult(
        arm=arm,
        backbone=backbone,
        method=method,
        tagger=replace(tagger, decoder=replace(tagger.decoder, weight=weight)),
        params=params,
        records=records,
        score=float(np.mean([r.value for r in records if r.metric == primary])),
        seconds=seconds,
    )
