"""Rank pretrained backbones by what their features say of the labels. Ties are ties.

What orders the list, and why:

1. **The score** is the exact leave-one-out balanced accuracy of a class-balanced ridge classifier, because that
   estimates what the user wants to know: how well a probe on these features labels items that it has not seen. Of
   labels it is the mean average precision, of numbers R². Cheaper theoretical scores (LogME, regularised H-score) are
   shown beside it as second opinions and never decide; one that does not apply to the task is absent.
2. **Tie groups**: two backbones are told apart only if the 95 % paired bootstrap interval of the difference of their
   scores excludes zero. Group 1 holds the best by score and all that cannot be told from it; the best of the rest leads
   group 2, and so on. A fixed list of models can beat a score (arXiv 2510.06448), so differences within a group are not
   an order.
3. **Within a group** the static prior decides (published accuracy, then size), then the name: measured seconds differ
   from run to run, and the order must not.

The bootstrap draws items (groups of items, where there are groups) and reuses each item's leave-one-out outcome, so it
costs no fit. It measures the luck of the items, not that of other backbones or of other training draws.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import plugins
from headway.errors import DataError, OptionError
from headway.linear.coding import class_numbers, link_of, strata_of
from headway.scores import loo_knn, loo_ridge
from headway.scores._check import measured
from headway.seeds import seed_of
from headway.types import BackboneSpec, Features, IntArray, Targets

PRIMARY = "loo_ridge"
SECOND_OPINIONS = ("logme", "reg_hscore")
_HELD = 4_000_000  # weights held at once
MOST_ITEMS = 4000
"""Above so many items scores are computed on a stratified subsample, the same for all candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backbone, its last stage's features of the items, and the seconds that they took."""

    spec: BackboneSpec
    features: Features
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One line of the ranking."""

    backbone: str
    score: float  # the task's primary metric, left one out: balanced accuracy or average precision 0..1, or R²
    low: float  # its 95 % bootstrap interval
    high: float
    tie: int  # 1 is the best group; within one, differences of score are noise
    seconds: float
    scores: Mapping[str, float]  # every cheap score by name
    prior: float  # 0..1, see prior()
    items: int  # scored on so many items ...
    available: int  # ... out of so many


def prior(spec: BackboneSpec) -> float:
    """What is known of a backbone before it sees the data, 0..1: published accuracy, and up to 0.05 for its size.

    A backbone without a published accuracy counts as 0: nothing is known in its favour. Size enters as
    ``0.05 log10(1 + params / 10^6) / 3``, capped at a billion parameters.

    >>> from headway.types import ImageInput
    >>> image = ImageInput(height=224, width=224, mean=(0, 0, 0), std=(1, 1, 1))
    >>> spec = BackboneSpec(source="a", arch="b", weights="c", revision="1", modality="image", dim=8, licence="MIT",
    ...                     params=999_000_000, input=image, accuracy=0.75)
    >>> round(prior(spec), 3)
    0.8
    """
    size = 0.05 * min(math.log10(1 + spec.params / 1e6) / 3, 1.0)
    return min((spec.accuracy or 0.0) + size, 1.0)


def rank(candidates: Sequence[Candidate], /, *, seed: int, bootstrap: int = 1000) -> tuple[Ranked, ...]:
    """Rank backbones on the same items, best first; the same input and seed give the same ranking.

    All candidates' features must have the same rows: equal ``y`` and ``groups``. With groups, items are predicted from
    the other groups only. Above :data:`MOST_ITEMS` items all are scored on one stratified subsample, and
    ``Ranked.items`` says so. ``bootstrap`` is the number of draws, at least 100.
    Raises :class:`OptionError` without candidates or with too few draws, :class:`DataError` where rows differ, features
    are not finite, or there are fewer than two classes.
    """
    rows = _rows(candidates, seed)
    if bootstrap < 100:
        raise OptionError("too few bootstrap draws for a 95 % interval", given=bootstrap, allowed="100 or more")
    y, groups = candidates[0].features.y[rows], candidates[0].features.groups
    groups = None if groups is None else groups[rows]
    scored = _score_all([c.features.X[rows] for c in candidates], y, groups)
    draws, sides = _draws(np.stack([said for _, said in scored]), y, groups, bootstrap, seed)
    lines = []
    ties = _tie_groups(np.array([scores[PRIMARY] for scores, _ in scored]), draws, sides)
    for candidate, (scores, _), drawn, tie in zip(candidates, scored, draws, ties, strict=True):
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        line = Ranked(
            backbone=candidate.spec.name,
            score=scores[PRIMARY],
            low=min(float(low), scores[PRIMARY]),
            high=max(float(high), scores[PRIMARY]),
            tie=tie,
            seconds=candidate.seconds,
            scores=scores,
            prior=prior(candidate.spec),
            items=len(rows),
            available=len(candidate.features.y),
        )
        lines.append(line)
    return tuple(sorted(lines, key=lambda r: (r.tie, -r.prior, r.backbone, -r.score)))


def _rows(candidates: Sequence[Candidate], seed: int) -> IntArray:
    """The rows to score on, after checking that they mean the same items for every candidate."""
    if not candidates:
        raise OptionError("there is nothing to rank", allowed="one candidate or more", todo="See headway models list")
    first = candidates[0].features
    for candidate in candidates:
        own = candidate.features
        if len(own.X) != len(first.y) or not (
            np.array_equal(own.y, first.y)
            and (own.groups is None) == (first.groups is None)
            and (own.groups is None or first.groups is None or np.array_equal(own.groups, first.groups))
        ):
            raise DataError(
                "backbones can only be ranked on the same items",
                given=f"{candidate.spec.name} with other rows than {candidates[0].spec.name}",
                todo="Extract the features of all candidates from one data set, in one order",
            )
    return _stratified(first.y, MOST_ITEMS, seed_of(seed, "choose", "subsample"))


def _stratified(y: Targets, most: int, seed: int) -> IntArray:
    """At most about ``most`` rows in ascending order: each class (or the task's stratum) in its share, two at least."""
    if len(y) <= most:
        return np.arange(len(y))
    _, codes, counts = np.unique(strata_of(y), return_inverse=True, return_counts=True)
    quota = np.maximum(np.floor(counts * most / len(y)).astype(np.int64), np.minimum(counts, 2))
    order = np.lexsort((np.random.default_rng(seed).random(len(y)), codes))
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept: IntArray = np.sort(order[place < quota[codes[order]]])
    return kept


def _score_all(
    features: Sequence[NDArray[np.float32]], y: Targets, groups: IntArray | None
) -> list[tuple[dict[str, float], NDArray[Any]]]:
    """Candidates side by side, one core each: many small factorisations gain little from threads of their own."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda X: _scores(X, y, groups), features))


def _scores(X: NDArray[np.float32], y: Targets, groups: IntArray | None) -> tuple[dict[str, float], NDArray[Any]]:
    """Every cheap score by name; and whether leave-one-out gets each item right ``[n]``, or what it says ``[n, C]``."""
    link = link_of(y)
    said: NDArray[Any]
    if link == "softmax":
        found = loo_ridge.leave_one_out(X, y, groups=groups)
        score, said = found.balanced_accuracy, found.correct
    else:
        said = loo_ridge.left_out_scores(X, y, groups=groups)
        score = float(measured(y, said)(np.ones((1, len(y))))[0])
    scores = {PRIMARY: score, "loo_knn": loo_knn.score(X, y, groups=groups)}
    for name in SECOND_OPINIONS:
        module = plugins.load("scores", name)
        if link in getattr(module, "LINKS", ("softmax",)):
            scores[name] = float(module.score(X, y))
    return scores, said


def _draws(
    said: NDArray[Any], y: Targets, groups: IntArray | None, count: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The metric ``[m, count]`` of ``m`` candidates on the same resampled items, and noise for differences.

    The noise ``[count]`` is that of two imaginary items, one in favour of either side, as in Agresti and Min (2005),
    Statistics in Medicine 24, 729-740: without them four items would already "prove" a difference.
    """
    unit = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(unit.max()) + 1
    rng = np.random.default_rng(seed_of(seed, "choose", "bootstrap"))
    sides = rng.poisson(1.0, (2, count)) / units
    # Whole units, so that what belongs together is drawn together.
    times = (np.bincount(rng.integers(0, units, units), minlength=units)[unit] for _ in range(count))
    if link_of(y) == "softmax":
        draws = _class_draws(said, class_numbers(y), times, count)
    else:
        draws = np.empty((len(said), count))
        measures = [measured(y, one) for one in said]
        rows = max(1, _HELD // len(y))
        for start in range(0, count, rows):
            W = np.array(list(islice(times, rows)), np.float64)
            draws[:, start : start + len(W)] = [measure(W) for measure in measures]
    return draws, sides[0] - sides[1]


def _class_draws(
    correct: NDArray[np.bool_], y: IntArray, times: Iterable[NDArray[np.int64]], count: int
) -> NDArray[np.float64]:
    """Balanced accuracies ``[m, count]``, from how often each draw takes each item."""
    order = np.argsort(y, kind="stable")  # so that every class is a run
    starts = np.flatnonzero(np.diff(y[order], prepend=y[order][0] - 1))
    draws = np.empty((len(correct), count))
    for b, taken in enumerate(times):
        drawn = np.add.reduceat(taken[order], starts)
        right = np.add.reduceat(taken[order] * correct[:, order], starts, axis=1)
        draws[:, b] = (right[:, drawn > 0] / drawn[drawn > 0]).mean(axis=1)
    return draws


def _tie_groups(scores: NDArray[np.float64], draws: NDArray[np.float64], sides: NDArray[np.float64]) -> tuple[int, ...]:
    """The group number of each candidate: the best that is left leads, and all not told from it join."""
    ties, left, group = np.zeros(len(scores), dtype=int), set(range(len(scores))), 0
    while left:
        group += 1
        leader = max(left, key=lambda i: (scores[i], -i))
        joined = {i for i in left if np.nanquantile(draws[leader] - draws[i] + sides, 0.025) <= 0} | {leader}
        ties[list(joined)] = group
        left -= joined
    return tuple(int(tie) for tie in ties)
