"""``headway rank``: which pretrained network suits this data, with intervals and ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway import plugins
from headway.budget import Deadline
from headway.choose import Ranked
from headway.data.dataset import take, target_array
from headway.data.split import units
from headway.engine.pool import Device
from headway.evaluate.contenders import Arena
from headway.recipe.competition import rank_members
from headway.recipe.embedding import embed_all, near_copies, open_models, read_data
from headway.recipe.session import Session, open_session
from headway.types import Dataset, Finding, Progress

DEFAULT_BUDGET = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The lines, best first, and what was found and left out on the way."""

    lines: tuple[Ranked, ...]
    task: str
    metric: str  # what the lines' scores are
    items: int
    findings: tuple[Finding, ...]
    cut: dict[str, str]
    timings: dict[str, float]


def rank(
    data: object,
    *,
    models: Sequence[str] = (),
    budget: str | float = DEFAULT_BUDGET,
    label: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    group: str | None = None,
    task: str = "auto",
    seed: int = 0,
    device: Device = "auto",
    offline: bool = False,
    strict: bool = False,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Rank pretrained networks on labelled data; nothing is trained or written but the feature store.

    Items of a given ``test`` part are not looked at. Near-copies and groups are left out together.
    """
    session = open_session(
        budget, seed=seed, device=device, offline=offline, strict=strict, deadline=deadline, progress=progress
    )
    dataset = _without_test(read_data(data, session, label=label, text=text, group=group, task=task))
    members = open_models(models, dataset.modality, session)
    dataset, members = embed_all(dataset, members, session)
    lines = rank_members(members, _arena(dataset, session), session)
    return Ranking(
        lines=lines,
        task=dataset.task,
        metric=plugins.load("tasks", dataset.task).PRIMARY,
        items=len(dataset.names),
        findings=tuple(session.findings),
        cut=session.cut,
        timings=session.timings,
    )


def _without_test(dataset: Dataset) -> Dataset:
    if dataset.parts is None:
        return dataset
    return take(dataset, [row for row, part in enumerate(dataset.parts) if part != "test"])


def _arena(dataset: Dataset, session: Session) -> Arena:
    """All items, with near-copies and groups as units."""
    return Arena(
        store=session.store,
        digests=dataset.digests,
        y=target_array(dataset),
        classes=plugins.load("tasks", dataset.task).outputs(dataset.classes),
        folds=np.full(len(dataset.names), -1, np.int64),
        groups=units(dataset, near_copies(dataset, session)),
    )
