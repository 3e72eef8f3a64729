"""From the user's data and model names to a data set whose every feature lies in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from headway import backbones
from headway.budget import Deadline
from headway.data import health
from headway.data.dataset import take
from headway.data.index import ContentIndex
from headway.data.read import read
from headway.data.split import split, straddling, units
from headway.engine.pool import Member, open_pool
from headway.errors import DataError, OptionError
from headway.evaluate.contenders import Arena, Entrant
from headway.features.embed import embed, facts_of, matrix, modality_of
from headway.features.extract import Extraction
from headway.recipe.session import Session, compiled_cache
from headway.types import Dataset, Finding, IntArray, Split

SHOWN = 10
LEAST_EMBEDDING = 2.0  # seconds, however late it is: without some items of every class there is nothing to end with


def read_data(data: object, session: Session, *, label: str | None, group: str | None) -> Dataset:
    """The labelled data set."""
    with session.timed("read"):
        index = ContentIndex(session.cache / "content.sqlite")
        dataset = read(data, label=label, group=group, strict=session.strict, index=index)
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


def embed_all(dataset: Dataset, members: Sequence[Member], session: Session) -> tuple[Dataset, list[Member]]:
    """Embed within the budget. Comes back with the items and the networks for which everything is in the store."""
    members = list(members)
    specs = {m.frozen.name: m.spec for m in members}
    deadline = session.deadline
    until = Deadline(max(deadline.seconds - session.reserve, deadline.elapsed + LEAST_EMBEDDING), deadline.started)

    def replan(pace: Mapping[str, float], left: int) -> Collection[str]:
        """Give up the slowest networks until the rest can be finished; never the last one."""
        active = {name: seconds for name, seconds in pace.items() if name in specs}
        dropped = []
        while len(active) > 1 and left * (sum(active.values()) + pace["decode"]) > until.remaining:
            slowest = max(active, key=lambda name: active[name])
            del active[slowest], specs[slowest]
            dropped.append(slowest)
        return dropped

    with session.timed("embed"):
        found = embed(
            dataset,
            [m.frozen for m in members],
            store=session.store,
            facts=facts_of(modality_of(dataset)),
            seed=session.seed,
            deadline=until,
            replan=replan,
            progress=session.progress,
        )
    _note(found, dataset, members, session)
    kept = [m for m in members if m.frozen.name not in found.given_up]
    return _usable(dataset, found, session), kept


def arrange(dataset: Dataset, session: Session) -> tuple[Split, Arena]:
    """The split, and the training rows as every contender will see them.

    Raises:
        DataError: too few items to choose on validation folds and to test.
    """
    with session.timed("split"):
        clusters = near_copies(dataset, session)
        parts = split(dataset, seed=session.seed, duplicates=clusters)
        together = units(dataset, clusters)
    session.findings += straddling(dataset, clusters)[1]
    folds = np.full(len(dataset.names), -1, np.int64)
    for number, (_, held_out) in enumerate(parts.folds):
        folds[held_out] = number
    train = parts.train
    assert dataset.targets is not None
    if not len(parts.test) or not (folds[train] >= 0).any() or len(np.unique(dataset.targets[train])) < 2:
        raise DataError(
            "there are too few items to choose a model and to test it",
            given=f"{len(train)} for training and {len(parts.test)} for testing, in {len(dataset.classes)} classes",
            allowed="two classes or more with at least 3 different items each",
            todo="Give a larger --budget" if "items" in session.cut else "Label more items",
        )
    arena = Arena(
        store=session.store,
        digests=dataset.digests[train],
        y=dataset.targets[train],
        classes=len(dataset.classes),
        folds=folds[train],
        groups=together[train],
    )
    return parts, arena


def near_copies(dataset: Dataset, session: Session) -> IntArray:
    """Cluster numbers ``[n]``: items of one cluster are near-copies of each other."""
    hashes = matrix(session.store, [(facts_of(modality_of(dataset))[1].key, "0")], dataset.digests)
    return health.near_duplicates(hashes.astype(np.uint8), dataset.digests)


def entrant(member: Member) -> Entrant:
    frozen = member.frozen
    return Entrant(name=member.spec.name, key=frozen.key, stages=frozen.stages, dims=frozen.dims)


def _note(found: Extraction, dataset: Dataset, members: Sequence[Member], session: Session) -> None:
    names = {m.frozen.name: m.spec.name for m in members}
    for given_up in found.given_up:
        session.cut[names[given_up]] = "its features did not fit the budget"
    if len(found.left):
        session.cut["items"] = f"{len(found.left)} of {len(dataset.names)} items were not reached within the budget"
    if session.store.refusal:
        session.findings.append(
            Finding(
                check="feature-store",
                severity="warn",
                message="the feature store could not be written: features were kept in memory and will not be reused",
                evidence=(session.store.refusal,),
            )
        )
    for member in members:
        session.timings[f"embed {member.spec.name}"] = round(found.seconds.get(member.frozen.name, 0.0), 4)
    session.timings["embed decode"] = round(found.seconds["decode"], 4)


def _usable(dataset: Dataset, found: Extraction, session: Session) -> Dataset:
    """Without what could not be decoded and what was not reached."""
    if found.bad and session.strict:
        raise DataError(f"{len(found.bad)} items are unreadable", given="; ".join(list(found.bad.values())[:SHOWN]))
    if found.bad:
        session.findings.append(
            Finding(
                check="undecodable",
                severity="warn",
                message=f"{len(found.bad)} items could not be decoded and were left out",
                evidence=tuple(list(found.bad.values())[:SHOWN]),
            )
        )
    out = np.union1d(np.fromiter(found.bad, np.int64), found.left).astype(np.int64)
    if not len(out):
        return dataset
    rest = np.setdiff1d(np.arange(len(dataset.names)), out)
    assert dataset.targets is not None
    if len(np.unique(dataset.targets[rest])) < 2:
        raise DataError(
            "fewer than two classes have items that can be used",
            given=f"{len(rest)} usable of {len(dataset.names)} items",
            todo="Look at the unreadable items, or give a larger --budget",
        )
    return replace(take(dataset, rest), findings=dataset.findings)
