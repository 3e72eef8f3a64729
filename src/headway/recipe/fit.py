"""The whole product on one screen: read, open, look, arrange, embed, rank, compete, prove, keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headway.budget import Deadline
from headway.data.dataset import take, target_array
from headway.engine.pool import Device, Member
from headway.evaluate.loop import Result
from headway.recipe.competition import baselines, best_of, compete, random_arm, rank_members, used_by
from headway.recipe.embedding import arena_of, arrange, embed_last, embed_rows, look, open_models, read_data
from headway.recipe.learnt import set_aside
from headway.recipe.manifest import manifest_of
from headway.recipe.pin import pinned
from headway.recipe.proof import prove
from headway.recipe.scratch import reserved, scratch_arm
from headway.recipe.seq2seq import fit_texts
from headway.recipe.session import open_session
from headway.recipe.tagging import fit_tagging
from headway.recipe.transfer import Climbing, beyond_probes
from headway.recipe.value import data_value
from headway.run import Run, open_run
from headway.run.model import WORK, Model, NetworkPart
from headway.run.write import append, finish, save_model, start
from headway.tasks import seq2seq
from headway.types import Dataset, Progress

DEFAULT_BUDGET = 120.0  # seconds


def fit(
    data: object,
    *,
    out: str | os.PathLike[str],
    models: Sequence[str] = (),
    budget: str | float = DEFAULT_BUDGET,
    label: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    group: str | None = None,
    task: str = "auto",
    method: str | None = None,
    cut: str | None = None,
    seed: int = 0,
    device: Device = "auto",
    offline: bool = False,
    strict: bool = False,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
) -> Run:
    """From labelled examples to a proven model in the folder ``out``.

    ``data`` is anything :func:`headway.data.read.read` takes; ``models`` are globs over names of ``headway models``
    (none: the packaged general ones); ``task`` is "classification", "multilabel", "regression", "seq2seq", "tagging" or
    "auto", which is classification unless the labels unmistakably ask for another; several ``label`` columns are labels
    that an item has or has not, and ``text`` names the column of a table's texts, or two of pairs. ``budget`` is
    wall-clock for everything, as ``"60s"`` or seconds. Without ``method`` the ladder is climbed as far as it pays;
    ``"probe"`` stays with frozen features, and any file of ``adapt/`` pins that method, ``cut`` the module after which
    training begins. Everything is chosen on validation folds; the test set is touched once, after that. An interrupted
    fit is taken up by calling it again. Raises a :class:`headway.errors.HeadwayError` that says what to do next.

    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> images = (digits.images[:300] * 15).astype("uint8")
    >>> run = fit((images, digits.target[:300]), out=tempfile.mkdtemp(), models=["*lite0*"], method="probe")
    >>> run.manifest["verdict"]["metric"]
    'balanced_accuracy'
    """
    folder, pin = Path(out), pinned(method, cut)
    session = open_session(
        budget, seed=seed, device=device, offline=offline, strict=strict, deadline=deadline, progress=progress
    )
    dataset = read_data(data, session, label=label, text=text, group=group, task=task)
    start(folder, {"data": dataset.fingerprint, "models": list(models), "seed": seed, "device": device, **pin.plan})

    if dataset.task == "tagging":
        return fit_tagging(dataset, folder, models=models, session=session)
    if dataset.task == seq2seq.RECIPE:  # answers are written, not scored: another way from the data to the proof
        columns = _named(text, "Input"), _named(label, "Output")
        return fit_texts(dataset, folder=folder, session=session, models=models, pin=pin, columns=columns)
    members = open_models(models, dataset.modality, session)
    dataset = look(dataset, session)
    parts, together = arrange(dataset, session)
    set_aside(dataset, parts.train, session)
    train, members = embed_rows(dataset, parts.train, members, session, later=len(parts.test))
    parts = replace(parts, train=train)
    set_aside(dataset, train, session)  # of fewer texts, where not all were reached
    arena = arena_of(dataset, parts, together, session)

    ranking = rank_members(members, arena, session)
    results = compete(members, ranking, arena, session)
    probe = best_of(results, only=pin.probe)
    above = Climbing(training=take(dataset, train), arena=arena, session=session, work=folder / WORK, pin=pin)
    beyond = beyond_probes(above, results, probe, ranking, members, test=len(parts.test))
    networks = [*members, *beyond.members]
    shown = [beyond.best, *beyond.shown, probe]
    parts = replace(parts, test=embed_last(dataset, parts.test, used_by(shown, networks), session))
    keep = reserved(pin, session) + session.aside
    chance, twins = random_arm(beyond.network, members, dataset, parts, arena, session, keep=keep)
    scratch = scratch_arm(above, members, beyond, testing=take(dataset, parts.test))
    arms = [*baselines(dataset, arena, session, tested=len(parts.test)), *chance, *scratch.results]
    worth = data_value(results[0], session, scratch=scratch)
    append(folder, [record for result in [*results, *beyond.rivals, *arms] for record in result.records])

    with session.timed("prove"):
        test = parts.test
        digests, y = dataset.digests[test], target_array(dataset)[test]
        proof = prove(
            beyond.best,
            arms,
            shown=shown,
            digests=digests,
            y=y,
            seconds=session.embedding,
            seed=seed,
            modality=dataset.modality,
        )
    append(folder, proof.records)
    with session.timed("save"):
        save_model(folder, _model(proof.shipped, dataset, [*networks, *twins, *scratch.members]))
    session.timings["total"] = round(session.deadline.elapsed, 4)
    manifest = manifest_of(
        proof, ranking=ranking, results=[*results, *beyond.rivals, *arms], dataset=dataset, split=parts, session=session
    )
    finish(folder, manifest | beyond.as_json() | {"comparison": proof.comparison, "data_value": worth})
    return open_run(folder)


def _named(columns: str | Sequence[str] | None, otherwise: str) -> str:
    """What a language model is told that a column holds."""
    return columns if isinstance(columns, str) else " and ".join(columns or [otherwise])


def _model(shipped: Result, dataset: Dataset, members: Sequence[Member]) -> Model:
    """What is saved: the head, and the networks whose stages feed it, in the order of its blocks."""
    by_key = {member.frozen.key: member for member in members}  # names of random twins may be equal
    contender = shipped.contender
    parts = []
    for entrant, taken in zip(contender.entrants, contender.taken, strict=True):
        member = by_key[entrant.key]
        parts.append(NetworkPart(ir=member.ir, stages=taken, backbone=member.backbone))
    return Model(
        modality=dataset.modality,
        task=dataset.task,
        classes=dataset.classes,
        head=shipped.adapted.head,
        classical=contender.arm == "classical",
        learnt=None if contender.fitted is None else contender.fitted.model,
        networks=tuple(parts),
    )
