"""From the user's data and model names to a data set whose every feature lies in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from headway import backbones, plugins
from headway.budget import Deadline
from headway.data import health
from headway.data.dataset import take, target_array
from headway.data.index import ContentIndex
from headway.data.read import read
from headway.data.split import split, straddling, units
from headway.engine.pool import Member, open_pool
from headway.errors import DataError, OptionError
from headway.evaluate.contenders import Arena, Entrant
from headway.features.decoded import Kept
from headway.features.embed import embed, facts_of, hash_fact, matrix, modality_of
from headway.features.extract import Extraction, Fact, Replan
from headway.features.lengths import token_counts
from headway.recipe.session import CLOSING, Session, compiled_cache
from headway.types import Dataset, Finding, IntArray, Split, Targets, TextView

SHOWN = 10
POOLINGS = ("mean", "cls", "last", "max", "sqrt", "weighted")  # names of stages that pool one layer in another way
LOOKING_SHARE = 0.2  # of what is left of the budget may go into decoding alone, before any network has run
PACED = 32  # items from which a network's pace is known
LEAST_EMBEDDING = 2.0  # seconds, however late it is: without some items of every class there is nothing to end with


def read_data(
    data: object,
    session: Session,
    *,
    label: str | Sequence[str] | None,
    group: str | None,
    task: str = "auto",
    text: str | Sequence[str] | None = None,
) -> Dataset:
    """The labelled data set."""
    with session.timed("read"):
        index = ContentIndex(session.cache / "content.sqlite")
        dataset = read(data, label=label, text=text, group=group, task=task, strict=session.strict, index=index)
    session.findings += [*dataset.findings, *health.check(dataset)]
    return dataset


def open_models(models: Sequence[str], modality: str, session: Session) -> list[Member]:
    """Networks that are ready to run, those that could not be had noted as cut.

    Raises:
        OptionError: two revisions of one network, which rankings and records could not tell apart.
    """
    with session.timed("open"):
        specs = backbones.resolve(models, modality=modality, offline=session.offline)
        twice = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
        if twice:
            given = ", ".join(spec.id for spec in specs if spec.name in twice)
            raise OptionError(
                "a model is named in more than one revision", given=given, todo="Name one revision of each"
            )
        pool = open_pool(
            specs,
            load=lambda spec: backbones.open(spec, offline=session.offline),
            device=session.device,
            cache=compiled_cache(session),
            deadline=session.deadline,
            progress=session.progress,
        )
    session.cut |= pool.left_out
    for member in pool.members:
        session.findings += member.frozen.findings
    return pool.members


def look(dataset: Dataset, session: Session) -> Dataset:
    """Decode every item once: the classical features, and the hashes that tell near-copies. Comes back with the usable.

    Where time is short this stops early, so that networks get their share.
    """
    share = Deadline(LOOKING_SHARE * session.deadline.remaining)
    with session.timed("look"):
        found = _embed(dataset, (), session, until=share, facts=facts_of(modality_of(dataset)))
    return _usable(dataset, found, session)


def embed_all(dataset: Dataset, members: Sequence[Member], session: Session) -> tuple[Dataset, list[Member]]:
    """Embed items and networks within the budget; comes back with those for which everything is in the store."""
    found, kept = _within_budget(dataset, members, session, facts=facts_of(modality_of(dataset)))
    return _usable(dataset, found, session), kept


def embed_rows(
    dataset: Dataset, rows: IntArray, members: Sequence[Member], session: Session, *, later: int
) -> tuple[IntArray, list[Member]]:
    """As :func:`embed_all` for some rows, leaving time for ``later`` more items. Comes back with the rows done."""
    part = take(dataset, rows)
    found, kept = _within_budget(part, members, session, later=later)
    note_truncated(part, kept, session)
    _note_left(found, len(rows), session, of="training items")
    return np.delete(rows, np.union1d(np.fromiter(found.bad, np.int64), found.left)), kept


def embed_last(dataset: Dataset, rows: IntArray, members: Sequence[Member], session: Session) -> IntArray:
    """Embed test rows for the networks that are still of interest; comes back with the rows done within the budget."""
    until = Deadline(max(session.deadline.remaining - CLOSING - session.aside, LEAST_EMBEDDING))
    with session.timed("embed test"):
        found = _embed(take(dataset, rows), members, session, until=until)
    _note_left(found, len(rows), session, of="test items")
    return np.delete(rows, np.union1d(np.fromiter(found.bad, np.int64), found.left))


def embed_whole(dataset: Dataset, rows: IntArray, member: Member, session: Session, *, keep: float = 0.0) -> bool:
    """Embed rows for one more network; whether all were done within the budget, less ``keep`` seconds of it."""
    until = Deadline(max(session.deadline.remaining - CLOSING - keep, 0.0))
    found = _embed(take(dataset, rows), [member], session, until=until)
    return not len(found.left) and not found.bad


def arrange(dataset: Dataset, session: Session) -> tuple[Split, IntArray]:
    """The split, and numbers ``[n]`` of what must stay together: groups and near-copies."""
    with session.timed("split"):
        clusters = near_copies(dataset, session)
        parts = split(dataset, seed=session.seed, duplicates=clusters)
        together = units(dataset, clusters)
    session.findings += straddling(dataset, clusters)[1]
    return parts, together


def arena_of(dataset: Dataset, parts: Split, together: IntArray, session: Session) -> Arena:
    """The training rows as every contender will see them.

    Raises:
        DataError: too few items to choose on validation folds and to test.
    """
    folds = np.full(len(dataset.names), -1, np.int64)
    for number, (_, held_out) in enumerate(parts.folds):
        folds[held_out] = number
    train = parts.train
    targets = target_array(dataset)
    if not len(parts.test) or not (folds[train] >= 0).any() or not _differ(targets[train]):
        classes = dataset.task == "classification"
        raise DataError(
            "there are too few items to choose a model and to test it",
            given=f"{len(train)} for training and {len(parts.test)} for testing"
            + (f", in {len(dataset.classes)} classes" if classes else ""),
            allowed="two classes or more with at least 3 different items each"
            if classes
            else "training and test items whose targets differ, some of them in validation folds",
            todo="Give a larger --budget" if "items" in session.cut else "Label more items",
        )
    return Arena(
        store=session.store,
        digests=dataset.digests[train],
        y=targets[train],
        classes=plugins.load("tasks", dataset.task).outputs(dataset.classes),
        folds=folds[train],
        groups=together[train],
    )


def _differ(targets: Targets) -> bool:
    """Whether there is anything to tell apart."""
    return bool(len(targets)) and bool((targets != targets[0]).any())


def near_copies(dataset: Dataset, session: Session) -> IntArray:
    """Cluster numbers ``[n]``: items of one cluster are near-copies of each other."""
    modality = modality_of(dataset)
    hashes = matrix(session.store, [(hash_fact(modality).key, "0")], dataset.digests)
    close = getattr(modality, "close_pairs", None)
    return health.near_duplicates(hashes.astype(np.uint8), dataset.digests, close=close)


def entrant(member: Member) -> Entrant:
    frozen = member.frozen
    last = len(frozen.stages) - 1
    ways = tuple(stage for stage, name in enumerate(frozen.stages) if name in POOLINGS or stage == last)
    poolings = ways if isinstance(frozen.view, TextView) and len(ways) > 1 else ()
    return Entrant(name=member.spec.name, key=frozen.key, stages=frozen.stages, dims=frozen.dims, poolings=poolings)


def note_truncated(dataset: Dataset, members: Sequence[Member], session: Session) -> None:
    """Say how many texts networks do not read to their end; of images there is nothing to say."""
    for member in members:
        view = member.frozen.view
        if isinstance(view, TextView):
            counts = token_counts(session.store, member.frozen, dataset.digests)
            finding = modality_of(dataset).truncated(counts, view.tokens, names=dataset.names, network=member.spec.name)
            session.findings += [finding] if finding is not None else []


def _within_budget(
    dataset: Dataset, members: Sequence[Member], session: Session, *, later: int = 0, facts: Sequence[Fact] = ()
) -> tuple[Extraction, list[Member]]:
    """Give up the slowest networks until the rest can be finished on these items and on ``later`` more; never the last.

    The items get their part of the time.
    """
    live = {m.frozen.name: m.spec.name for m in members}
    time = max(session.deadline.remaining - session.reserve, LEAST_EMBEDDING)
    whole = Deadline(time)
    part = Deadline(time * len(dataset.names) / max(len(dataset.names) + later, 1), whole.started)

    def replan(pace: Mapping[str, float], left: int) -> Collection[str]:
        dropped = []
        while len(live) > 1 and (left + later) * (sum(map(pace.__getitem__, live)) + pace["decode"]) > whole.remaining:
            slowest = max(live, key=pace.__getitem__)
            session.cut[live.pop(slowest)] = "its features did not fit the budget"
            dropped.append(slowest)
        return dropped

    with session.timed("embed"):
        found = _embed(dataset, members, session, until=part, facts=facts, replan=replan)
    for member in members:
        seconds, items = found.seconds.get(member.frozen.name, 0.0), found.computed.get(member.frozen.name, 0)
        session.timings[f"embed {member.spec.name}"] = round(seconds, 4)
        if items >= PACED:
            session.pace[member.spec.arch] = (seconds + found.seconds["decode"]) / items
    session.timings["embed decode"] = round(found.seconds["decode"], 4)
    return found, [m for m in members if m.frozen.name not in found.given_up]


def _embed(
    dataset: Dataset,
    members: Sequence[Member],
    session: Session,
    *,
    until: Deadline,
    facts: Sequence[Fact] = (),
    replan: Replan | None = None,
) -> Extraction:
    """One pass with what the session shares."""
    session.decoder = session.decoder or Kept(modality_of(dataset))
    found = embed(
        dataset,
        [m.frozen for m in members],
        store=session.store,
        facts=facts,
        decoder=session.decoder,
        seed=session.seed,
        deadline=until,
        replan=replan,
        progress=session.progress,
    )
    if session.store.refusal and not any(finding.check == "feature-store" for finding in session.findings):
        session.findings.append(
            Finding(
                check="feature-store",
                severity="warn",
                message="the feature store could not be written: features were kept in memory and will not be reused",
                evidence=(session.store.refusal,),
            )
        )
    return found


def _note_left(found: Extraction, n: int, session: Session, *, of: str = "items") -> None:
    """Say what was not reached, and what was decoded before but could not be read again."""
    if len(found.left):
        session.cut[of] = f"{len(found.left)} of {n} {of} were not reached within the budget"
    if found.bad:
        session.findings.append(_undecodable(found.bad))


def _undecodable(bad: Mapping[int, str]) -> Finding:
    return Finding(
        check="undecodable",
        severity="warn",
        message=f"{len(bad)} items could not be decoded and were left out",
        evidence=tuple(list(bad.values())[:SHOWN]),
    )


def _usable(dataset: Dataset, found: Extraction, session: Session) -> Dataset:
    """Without what could not be decoded and what was not reached."""
    if found.bad and session.strict:
        raise DataError(f"{len(found.bad)} items are unreadable", given="; ".join(list(found.bad.values())[:SHOWN]))
    _note_left(found, len(dataset.names), session)
    out = np.union1d(np.fromiter(found.bad, np.int64), found.left).astype(np.int64)
    if not len(out):
        return dataset
    rest = np.setdiff1d(np.arange(len(dataset.names)), out)
    if not _differ(target_array(dataset)[rest]):
        raise DataError(
            "fewer than two classes have items that can be used"
            if dataset.task == "classification"
            else "the items that can be used all have the same target",
            given=f"{len(rest)} usable of {len(dataset.names)} items",
            todo="Look at the unreadable items, or give a larger --budget",
        )
    return replace(take(dataset, rest), findings=dataset.findings)
