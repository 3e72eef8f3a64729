"""The whole product on one screen: read, open, embed, arrange, rank, compete, prove, keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from headway.budget import Deadline
from headway.engine.pool import Device, Member
from headway.evaluate.loop import Result
from headway.recipe.competition import baselines, best_of, compete, random_arm, rank_members
from headway.recipe.embedding import arrange, embed_all, open_models, read_data
from headway.recipe.manifest import manifest_of
from headway.recipe.proof import prove
from headway.recipe.session import open_session
from headway.run import Run, open_run
from headway.run.model import Model, NetworkPart
from headway.run.write import append, finish, save_model, start
from headway.types import Dataset, Progress

DEFAULT_BUDGET = 120.0  # seconds


def fit(
    data: object,
    *,
    out: str | os.PathLike[str],
    models: Sequence[str] = (),
    budget: str | float = DEFAULT_BUDGET,
    label: str | None = None,
    group: str | None = None,
    seed: int = 0,
    device: Device = "auto",
    offline: bool = False,
    strict: bool = False,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
) -> Run:
    """From labelled examples to a proven model in the folder ``out``.

    ``data`` is anything :func:`headway.data.read.read` takes; ``models`` are globs over names of ``headway models``
    (none: the packaged general ones); ``budget`` is wall-clock for everything, as ``"60s"`` or seconds. Everything is
    chosen on validation folds; the test set is touched once, after that. An interrupted fit is taken up by calling it
    again. Raises a :class:`headway.errors.HeadwayError` that says what to do next.

    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> images = (digits.images[:300] * 15).astype("uint8")
    >>> run = fit((images, digits.target[:300]), out=tempfile.mkdtemp(), models=["*lite0*"])
    >>> run.manifest["verdict"]["metric"]
    'balanced_accuracy'
    """
    folder = Path(out)
    session = open_session(
        budget, seed=seed, device=device, offline=offline, strict=strict, deadline=deadline, progress=progress
    )
    dataset = read_data(data, session, label=label, group=group)
    start(folder, {"data": dataset.fingerprint, "models": list(models), "seed": seed, "device": device})

    members = open_models(models, dataset.modality, session)
    dataset, members = embed_all(dataset, members, session)
    parts, arena = arrange(dataset, session)

    ranking = rank_members(members, arena, session)
    results = compete(members, ranking, arena, session)
    best = best_of(results)
    chance, twins = random_arm(best, members, dataset, arena, session)
    arms = [*baselines(dataset, arena, session), *chance]
    append(folder, [record for result in [*results, *arms] for record in result.records])

    assert dataset.targets is not None
    with session.timed("prove"):
        proof = prove(best, arms, digests=dataset.digests[parts.test], y=dataset.targets[parts.test], seed=seed)
    append(folder, proof.records)
    with session.timed("save"):
        save_model(folder, _model(proof.shipped, dataset, [*members, *twins]))
    session.timings["total"] = round(session.deadline.elapsed, 4)
    finish(
        folder,
        manifest_of(proof, ranking=ranking, results=[*results, *arms], dataset=dataset, split=parts, session=session),
    )
    return open_run(folder)


def _model(shipped: Result, dataset: Dataset, members: Sequence[Member]) -> Model:
    """What is saved: the head, and the networks whose stages feed it, in the order of its blocks."""
    by_key = {member.frozen.key: member for member in members}  # names of random twins may be equal
    contender = shipped.contender
    parts = []
    for entrant, count in zip(contender.entrants, contender.stages, strict=True):
        member = by_key[entrant.key]
        last = len(entrant.stages)
        parts.append(NetworkPart(ir=member.ir, stages=tuple(range(last - count, last)), backbone=member.backbone))
    return Model(
        modality=dataset.modality,
        task=dataset.task,
        classes=dataset.classes,
        head=shipped.adapted.head,
        classical=contender.arm == "classical",
        networks=tuple(parts),
    )
