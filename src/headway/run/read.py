"""Reading a run folder, and predicting with what it ships: neither torch nor timm is needed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import plugins
from headway.data.index import ContentIndex
from headway.engine.frozen import Frozen, compile_frozen
from headway.engine.ir import read as read_ir
from headway.errors import DataError, RunError
from headway.features.embed import classical_fact, default_store, embed, matrix, modality_of
from headway.fetch import cache_dir
from headway.linear.head import answers, linear_scores
from headway.run.model import FORMAT, LEARNT, MANIFEST, MODEL, PLAN, RECORDS, Model, NetworkPart
from headway.run.texts import TextModel, texts_of
from headway.tasks.multilabel import decide
from headway.tasks.seq2seq import texts as as_texts
from headway.types import Dataset, Finding, IntArray, LinearHead, Progress, Record

SINGLE = 4  # up to so many items go one by one: a network compiled for single items answers sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What is said of the items that could be read; ``rows`` are their places in the input.

    ``probabilities [n, C]`` are calibrated: of classes they sum to 1, of labels each is one's own, and a label is on
    from its threshold. Of numbers there are none, and ``values [n]`` holds the numbers.
    """

    names: tuple[str, ...]
    rows: IntArray
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    findings: tuple[Finding, ...] = ()
    task: str = "classification"
    thresholds: NDArray[np.float32] | None = None  # [C], of labels only
    values: NDArray[np.float64] | None = None  # [n], of numbers only
    texts: NDArray[np.object_] | None = None  # [n], of what was written only

    @property
    def answers(self) -> NDArray[np.float64] | NDArray[np.object_]:
        """The head's answers ``[n, C]``: probabilities, or the numbers ``[n, 1]``; or texts ``[n]``."""
        if self.texts is not None:
            return self.texts
        return self.probabilities if self.values is None else self.values[:, None]

    @property
    def labels(self) -> tuple[Any, ...]:
        """Of each item: the most probable class, the tuple of labels that are on, the number, or the text."""
        if self.texts is not None:
            return tuple(self.texts.tolist())
        if self.values is not None:
            return tuple(self.values.tolist())
        if self.task == "multilabel":
            on = decide(self.probabilities, self.thresholds)
            return tuple(tuple(self.classes[c] for c in np.flatnonzero(row)) for row in on)
        return tuple(self.classes[i] for i in self.probabilities.argmax(axis=1))


@dataclass(slots=True)
class Run:
    """A finished run: its manifest, and its model, which is read when it is first asked to predict."""

    path: Path
    manifest: Mapping[str, Any]
    _model: Model | None = None
    _networks: dict[int | None, list[Frozen]] = field(default_factory=dict)
    _writer: TextModel | None = None

    @property
    def task(self) -> str:
        """The manifest's task; runs from before there was more than one say nothing of it."""
        return str(self.manifest.get("task", "classification"))

    @property
    def modality(self) -> str:
        return str(self.manifest.get("modality", "image"))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.manifest["classes"])

    def records(self) -> list[Record]:
        """Every measured number of the run."""
        known = {f.name for f in fields(Record)}
        lines = (self.path / RECORDS).read_text("utf-8").split("\n")[:-1]  # names may hold other line breaks
        return [Record(**{k: v for k, v in json.loads(line).items() if k in known}) for line in lines]

    def model(self) -> Model:
        """The shipped model, from ``RUN/model``.

        Raises:
            RunError: a part is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = self.path / MODEL
        try:
            facts = json.loads((folder / "model.json").read_text("utf-8"))
            model = Model(
                modality=facts["modality"],
                task=facts["task"],
                classes=tuple(facts["classes"]),
                head=LinearHead(
                    blocks=tuple(facts["blocks"]),
                    unit_blocks=_unit_blocks(facts["unit_blocks"]),
                    temperature=facts["temperature"],
                    link=facts.get("link", "softmax"),  # a run of the first version says nothing of it
                    **load_file(folder / "head.safetensors"),
                ),
                classical=facts["classical"],
                learnt=_learnt(facts, folder),
                networks=tuple(
                    NetworkPart(ir=read_ir(folder / "networks" / str(i)), stages=tuple(part["stages"]))
                    for i, part in enumerate(facts["networks"])
                ),
            )
            _check_widths(model)
        except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
            raise RunError("the run's model cannot be read", given=f"{folder} ({error})", todo="Fit again") from error
        return model

    def predict(
        self,
        data: object,
        *,
        text: str | Sequence[str] | None = None,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> Predictions:
        """What the run answers to files, folders, globs, tables or arrays; their own labels are not looked at.

        ``text`` names the column of a table's texts, or two of pairs, where that is not plain.

        Items that cannot be read or decoded are named in ``findings`` and left out, unless ``strict``.

        Raises:
            DataError: there is nothing to predict.
        """
        from headway.data.read import read

        index = ContentIndex(cache_dir() / "content.sqlite")
        dataset = read(data, labelled=False, text=text, modality=self.modality, strict=strict, index=index)
        return self.predict_dataset(dataset, strict=strict, progress=progress)

    def predict_dataset(
        self, dataset: Dataset, *, strict: bool = False, progress: Progress | None = None
    ) -> Predictions:
        """Class probabilities, numbers or texts of a data set that was read already."""
        if self.task == "seq2seq":
            return self._written(dataset, strict=strict, progress=progress)
        model = self._loaded()
        if dataset.modality != model.modality:
            raise DataError(
                "this is not what the run was fitted on",
                given=f"{dataset.modality} items: {', '.join(dataset.names[:3])}",
                allowed=f"{model.modality} items",
            )
        networks = self._compiled(model, batch=1 if len(dataset.names) <= SINGLE else None)
        modality = modality_of(dataset)
        fact = classical_fact(modality) if model.classical else None
        facts = () if fact is None else (fact,)
        store = default_store(cache_dir())
        found = embed(dataset, networks, store=store, facts=facts, progress=progress)
        if found.bad and strict:
            raise DataError(f"{len(found.bad)} items cannot be decoded", given="; ".join(list(found.bad.values())[:5]))
        rows = np.setdiff1d(np.arange(len(dataset.names)), np.fromiter(found.bad, np.int64))
        if not len(rows):
            raise DataError("no item can be decoded", given="; ".join(list(found.bad.values())[:5]))
        blocks = [(fact.key, "0") for fact in facts]
        for part, network in zip(model.networks, networks, strict=True):
            blocks += [(network.key, str(stage)) for stage in part.stages]
        if model.learnt is None:
            X = matrix(store, blocks, dataset.digests[rows])
        else:
            X = model.learnt.transform([modality.decode(dataset.sources[row]) for row in rows])
        said = answers(model.head, linear_scores(model.head, X))
        findings = dataset.findings
        if found.bad:
            message = f"{len(found.bad)} items could not be decoded and were left out"
            evidence = tuple(list(found.bad.values())[:10])
            findings += (Finding(check="undecodable", severity="warn", message=message, evidence=evidence),)
        return Predictions(
            names=tuple(dataset.names[row] for row in rows),
            rows=rows,
            classes=model.classes,
            probabilities=said[:, : len(model.classes)],
            findings=findings,
            task=model.task,
            thresholds=model.head.thresholds,
            values=said[:, 0] if model.head.link == "identity" else None,
        )

    def _written(self, dataset: Dataset, *, strict: bool, progress: Progress | None) -> Predictions:
        """Texts for texts; sources that are none are named in a finding and left out, unless ``strict``."""
        sources, rows = texts_of(dataset.sources)
        if not rows or (strict and len(rows) < len(dataset.sources)):
            given = f"{len(dataset.sources) - len(rows)} of {len(dataset.sources)} items are no texts"
            raise DataError("this run reads texts", given=given, todo="Name their column with --text")
        if self._writer is None:
            self._writer = TextModel(self.path)
        findings = dataset.findings
        if len(rows) < len(dataset.sources):
            message = f"{len(dataset.sources) - len(rows)} items are no texts and were left out"
            findings += (Finding(check="undecodable", severity="warn", message=message),)
        return Predictions(
            names=tuple(dataset.names[row] for row in rows),
            rows=np.array(rows, np.int64),
            classes=(),
            probabilities=np.zeros((len(rows), 0)),
            findings=findings,
            task=self.task,
            texts=as_texts(self._writer.answers(sources, progress=progress)),
        )

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = self.model()
        return self._model

    def _compiled(self, model: Model, *, batch: int | None) -> list[Frozen]:
        """The model's networks, compiled once a batch size."""
        if batch not in self._networks:
            cache = cache_dir() / "networks"
            self._networks[batch] = [compile_frozen(part.ir, cache=cache, batch=batch) for part in model.networks]
        return self._networks[batch]


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a finished run folder.

    Raises:
        RunError: there is none, it is unfinished, or a later Headway wrote it.
    """
    folder = Path(path)
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError as error:
        unfinished = (folder / PLAN).exists()
        raise RunError(
            "the run is not finished" if unfinished else "there is no run in this folder",
            given=folder,
            todo="Repeat the headway fit that began it: it goes on where it stopped"
            if unfinished
            else "Give the folder that headway fit --out wrote",
        ) from error
    except (OSError, ValueError) as error:
        raise RunError("the run's manifest cannot be read", given=f"{folder} ({error})") from error
    if not isinstance(manifest, dict):
        raise RunError("the run's manifest cannot be read", given=f"{folder} (it holds no table)")
    if manifest.get("format") != FORMAT:
        raise RunError(
            "the run was written by another version",
            given=f"format {manifest.get('format')}",
            allowed=f"format {FORMAT}",
        )
    return Run(folder, manifest)


def _learnt(facts: Mapping[str, Any], folder: Path) -> Any:
    """The classical features that a modality has learnt, where the run ships them."""
    if not facts["classical"]:
        return None
    load = getattr(plugins.load("modalities", facts["modality"]), "load_classical", None)
    return None if load is None else load(folder / LEARNT)


def _unit_blocks(said: bool | list[bool]) -> bool | tuple[bool, ...]:
    return tuple(said) if isinstance(said, list) else said


def _check_widths(model: Model) -> None:
    """Raise ValueError where the head does not fit its features or classes."""
    head, wide = model.head, sum(model.head.blocks)
    fed = tuple(part.ir.dims[stage] for part in model.networks for stage in part.stages)
    if not model.classical and fed != head.blocks:
        raise ValueError(f"the networks give {fed} columns and the head takes {head.blocks}")
    task = plugins.load("tasks", model.task)
    columns = task.outputs(model.classes)
    if head.weight.shape != (wide, columns) or head.bias.shape != (columns,):
        raise ValueError(f"the head's weight is {head.weight.shape}, for {wide} columns and {columns} classes")
    if head.link != task.LINK:
        raise ValueError(f"the head's link is {head.link!r}, which is not that of {model.task}")
    if head.thresholds is not None and (head.link != "sigmoid" or head.thresholds.shape != (columns,)):
        raise ValueError(f"the head has {head.thresholds.shape} thresholds, for {columns} labels")
    if not head.mean.shape == head.scale.shape == (wide,):
        raise ValueError(f"the head's mean is {head.mean.shape}, for {wide} columns")
