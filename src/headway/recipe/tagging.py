"""The flow of tagging on one screen: split sentences, learn every arm on the same folds, prove once, keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headway.budget import Deadline
from headway.data.dataset import take
from headway.data.split import split
from headway.errors import DataError
from headway.evaluate.metrics import metric_interval
from headway.evaluate.taggers import Lines, TagResult, on_marks, on_states, on_table
from headway.features.words import gather, states_key, word_digests
from headway.recipe.session import CLOSING, Session
from headway.recipe.tag_arms import Choice, choose_blocks
from headway.recipe.tag_networks import Reader, open_readers, random_reader, states_of
from headway.recipe.tag_proof import manifest, prove
from headway.run import Run, open_run
from headway.run.tagger import save_tagger
from headway.run.write import append, finish
from headway.tasks import tagging
from headway.types import Dataset, IntArray

FOLDS = 3
LEAST = 8  # sentences to learn from
CLOSING_SHARE = 0.06  # of the budget, and no less than CLOSING, for proving and saving
CLASSICAL, CHOOSING, TRANSFER = 0.45, 0.35, 0.75  # of what is left then, proving aside: no arm starves the next
LEAST_FITTING = 1.0  # seconds, however late it is
RANDOM_AT_LEAST = 8.0  # seconds without which the arm of random weights is not begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A network that was tried: what it reads of itself, and how good a ridge probe on that is."""

    reader: Reader
    choice: Choice


def fit_tagging(dataset: Dataset, folder: Path, *, models: Sequence[str], session: Session) -> Run:
    """From tagged sentences to a proven tagger in ``folder``, which was begun. See :func:`headway.recipe.fit`.

    Folds, test set and every resample are of whole sentences.
    """
    dataset, scheme = _encoded(dataset, session)
    train, test, folds = _arranged(dataset, session)
    readers = open_readers(models, session)
    train = states_of(dataset, train, readers, session, later=len(test))
    lines = _lines(dataset, train, folds[train])

    later = session.embedding.get(readers[0].name, 0.0) * len(test) / max(len(train), 1)
    with session.timed("arms"):
        arms = [on_table(lines, seed=session.seed)]
        arms.append(on_marks(lines, seed=session.seed, time=_share(session, CLASSICAL, later)))
    entered = _choose(readers, lines, session, _share(session, CHOOSING, later))
    best = _transfer(entered[0], lines, session, arm="transfer", time=_share(session, TRANSFER, later))
    test = states_of(dataset, test, [entered[0].reader], session, later=0, keep=_closing(session))
    chance = _random(entered[0].reader, dataset, np.concatenate([train, test]), lines, session)
    _told([best, *arms, *(result for _, result in chance)], lines, session)
    append(folder, [record for result in (best, *arms, *(r for _, r in chance)) for record in result.records])

    testing = _lines(dataset, test, np.zeros(len(test), np.int64))
    used = {"transfer": entered[0].reader, **{result.arm: reader for reader, result in chance}}
    with session.timed("prove"):
        proof = prove(best, [*arms, *(result for _, result in chance)], testing, readers=used, session=session)
    append(folder, proof.records)
    with session.timed("save"):
        reader = used.get(proof.shipped.arm)
        save_tagger(folder, proof.shipped.tagger, None if reader is None else reader.network)
    session.timings["total"] = round(session.deadline.elapsed, 4)
    ranking = _ranking(entered, lines, session)
    said = manifest(proof, dataset=dataset, scheme=scheme, parts=(train, test), ranking=ranking, session=session)
    finish(folder, said)
    return open_run(folder)


def _encoded(dataset: Dataset, session: Session) -> tuple[Dataset, str]:
    """The same with tags in IOB2, and the scheme they were in."""
    if not isinstance(dataset.targets, tuple):
        raise DataError("tagging takes a tag for every word", given=dataset.name, todo="Say another --task")
    found = tagging.encode(dataset.targets)
    session.findings += found.findings
    return replace(dataset, targets=found.targets, classes=found.classes), found.scheme


def _arranged(dataset: Dataset, session: Session) -> tuple[IntArray, IntArray, IntArray]:
    """Training and test sentences in random order, and the fold ``[n]`` of each (-1: in none)."""
    with session.timed("split"):
        parts = split(dataset, seed=session.seed, folds=FOLDS)
    folds = np.full(len(dataset.names), -1, np.int64)
    for number, (_, held_out) in enumerate(parts.folds):
        folds[held_out] = number
    if len(parts.folds) == 1:  # the user's own validation part; the rest is the other fold
        folds[parts.train[folds[parts.train] < 0]] = 1
    rng = np.random.default_rng(session.seed)
    train, test = rng.permutation(parts.train), parts.test
    if len(train) < LEAST or len(test) < 2 or len(np.unique(folds[train])) < 2:
        raise DataError(
            "there are too few sentences to choose a model and to test it",
            given=f"{len(train)} for training and {len(test)} for testing",
            allowed=f"{LEAST} or more for training, 2 or more for testing",
            todo="Tag more sentences",
        )
    return train, test, folds


def _lines(dataset: Dataset, rows: IntArray, folds: IntArray) -> Lines:
    part = take(dataset, rows)
    assert isinstance(part.targets, tuple)
    sentences = tuple(tuple(source) for source in part.sources if isinstance(source, tuple))
    classes = dataset.classes
    return Lines(
        sentences=sentences,
        tags=tagging.numbered([tuple(tags) for tags in part.targets], classes),
        folds=folds,
        classes=classes,
        legal=tagging.legal(classes),
        metrics=tagging.metrics(classes),
    )


def _choose(readers: Sequence[Reader], lines: Lines, session: Session, time: Deadline) -> list[Entered]:
    """Every network by what a ridge probe makes of its states, the best first."""
    entered = []
    digests = word_digests(lines.sentences)
    with session.timed("rank"):
        for number, reader in enumerate(readers):
            if number and time.remaining <= 0:
                session.cut[reader.name] = "judging its states did not fit the budget"
                continue
            choice = choose_blocks(
                lines,
                digests,
                store=session.store,
                key=states_key(reader.network),
                stages=len(reader.network.ir.dims),
                seed=session.seed,
                time=Deadline(time.remaining / (len(readers) - number)),
            )
            entered.append(Entered(reader=reader, choice=choice))
    return sorted(entered, key=lambda one: -one.choice.score)


def _transfer(entered: Entered, lines: Lines, session: Session, *, arm: str, time: Deadline) -> TagResult:
    blocks, reader = entered.choice.blocks, entered.reader
    X = gather(session.store, states_key(reader.network), word_digests(lines.sentences), lines.lengths, blocks)
    with session.timed("adapt"):
        return on_states(X, blocks, lines, arm=arm, backbone=reader.name, seed=session.seed, time=time)


def _random(
    reader: Reader, dataset: Dataset, rows: IntArray, lines: Lines, session: Session
) -> list[tuple[Reader, TagResult]]:
    """The same architecture with random weights, under the same choices and probe; empty where time is short."""
    cost = session.embedding.get(reader.name, 0.0) * len(rows) / max(len(lines.tags), 1)
    if not session.deadline.allows(max(2 * cost, RANDOM_AT_LEAST), keep=_closing(session)):
        session.cut["random"] = "the arm of random weights did not fit the budget"
        return []
    twin = random_reader(reader, session)
    closing = _closing(session) + LEAST_FITTING
    if twin is None or len(states_of(dataset, rows, [twin], session, later=0, keep=closing)) < len(rows):
        session.cut.setdefault("random", "the arm of random weights was not finished within the budget")
        return []
    (entered,) = _choose([twin], lines, session, _share(session, CHOOSING))
    return [(twin, _transfer(entered, lines, session, arm="random", time=_share(session, TRANSFER)))]


def _closing(session: Session) -> float:
    """Seconds for proving and saving."""
    return max(CLOSING_SHARE * session.deadline.seconds, CLOSING)


def _share(session: Session, share: float, later: float = 0.0) -> Deadline:
    """A stage's part of what is left now, with proving, saving and ``later`` seconds aside."""
    return Deadline(max(share * (session.deadline.remaining - _closing(session) - later), LEAST_FITTING))


def _told(results: Sequence[TagResult], lines: Lines, session: Session) -> None:
    """Say where the time ended a fit, or let it learn from a part of the words."""
    for result in results:
        if "words" in result.params:
            given = f"{result.params['words']} of {lines.lengths.sum()} words"
            session.cut[f"words, {result.arm}"] = f"learnt from {given}: more did not fit the budget"
        if "stopped" in result.params:
            session.cut[f"fit, {result.arm}"] = "its fit was ended by the budget"


def _ranking(entered: Sequence[Entered], lines: Lines, session: Session) -> list[dict[str, object]]:
    """As every run's ranking: scores out of fold, and their intervals over sentences; equal numbers are ties."""
    found, tie, floor = [], 0, np.inf
    for one in entered:
        truth, said = one.choice.truth, one.choice.said
        interval = metric_interval(lines.metrics[0], truth, said, resamples=1000, seed=session.seed)
        if interval.high < floor:
            tie, floor = tie + 1, interval.low
        seconds = session.timings.get(f"embed {one.reader.name}", 0.0)
        limits = {"score": interval.value, "low": interval.low, "high": interval.high}
        found.append({"backbone": one.reader.name, **limits, "tie": tie, "seconds": seconds, "scores": {}})
    return found
