"""A finished run against labelled data that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.data.dataset import target_array
from headway.data.index import ContentIndex
from headway.data.read import read
from headway.errors import DataError
from headway.evaluate.metrics import evaluate_probabilities, measure
from headway.fetch import cache_dir
from headway.run import Run
from headway.run.tagger import read_tagger, tag_sentences
from headway.tasks import seq2seq, tagging
from headway.types import Finding, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """``metrics`` holds n and the task's: of classes accuracy, balanced_accuracy, macro_f1, log_loss and ece."""

    metrics: dict[str, float]
    findings: tuple[Finding, ...]


def evaluate(
    run: Run,
    data: object,
    *,
    label: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure ``run`` on the items of ``data`` (as :func:`headway.data.read.read` takes it); classes go by their names.

    Raises:
        DataError: a class of the data is none of the run's, or no item can be used.
    """
    if run.task == "tagging":
        return _of_tags(run, data, label=label, strict=strict)
    index = ContentIndex(cache_dir() / "content.sqlite")
    dataset = read(
        data,
        label=label,
        text=text,
        task=run.task,
        classes=run.classes,
        modality=run.modality,
        strict=strict,
        index=index,
    )
    predictions = run.predict_dataset(dataset, strict=strict, progress=progress)
    if dataset.targets is None:
        raise DataError("the data have no labels, so there is nothing to measure", given=dataset.name)
    if run.task == "seq2seq":
        said, meant = np.asarray(predictions.answers), target_array(dataset)[predictions.rows]
        metrics = {name: measure(name, meant, said) for name in seq2seq.METRICS}
        return Evaluation(metrics={"n": len(meant), **metrics}, findings=predictions.findings)
    truth = target_array(dataset)[predictions.rows]
    metrics = evaluate_probabilities(predictions.answers, truth, thresholds=predictions.thresholds)
    return Evaluation(metrics=metrics, findings=predictions.findings)


def _of_tags(run: Run, data: object, *, label: str | Sequence[str] | None, strict: bool) -> Evaluation:
    """Tags are matched by their names, whatever the scheme that the data are in."""
    dataset = read(data, label=label, task="tagging", strict=strict)
    if not isinstance(dataset.targets, tuple):
        raise DataError("the data have no tags, so there is nothing to measure", given=dataset.name)
    found = tagging.encode_as(dataset.targets, run.classes)
    sentences = [source for source in dataset.sources if isinstance(source, tuple)]
    said = list(tag_sentences(read_tagger(run.path), sentences))
    y, numbers = (tagging.numbered(tags, run.classes) for tags in (found.targets, said))
    metrics = {name: measure(name, y, numbers) for name in tagging.metrics(run.classes)}
    return Evaluation(metrics={"n": len(y), **metrics}, findings=(*dataset.findings, *found.findings))
