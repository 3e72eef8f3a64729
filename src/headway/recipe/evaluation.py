"""A finished run against labelled data that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.data.index import ContentIndex
from headway.data.read import read
from headway.errors import DataError, did_you_mean
from headway.evaluate.metrics import evaluate_probabilities
from headway.fetch import cache_dir
from headway.run import Run
from headway.types import Finding, Progress

SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """``metrics`` holds n, accuracy, balanced_accuracy, macro_f1, log_loss and ece."""

    metrics: dict[str, float]
    findings: tuple[Finding, ...]


def evaluate(
    run: Run, data: object, *, label: str | None = None, strict: bool = False, progress: Progress | None = None
) -> Evaluation:
    """Measure ``run`` on the items of ``data`` (as :func:`headway.data.read.read` takes it); classes go by their names.

    Raises:
        DataError: a class of the data is none of the run's, or no item can be used.
    """
    dataset = read(data, label=label, strict=strict, index=ContentIndex(cache_dir() / "content.sqlite"))
    number = {name: i for i, name in enumerate(run.classes)}
    unknown = [name for name in dataset.classes if name not in number]
    if unknown:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise DataError(
            "the data have classes that the run does not know",
            given=", ".join(map(repr, unknown[:SHOWN])) + more,
            allowed=", ".join(map(repr, run.classes[:20])) + (", ..." if len(run.classes) > 20 else ""),
            todo=did_you_mean(unknown[0], run.classes) or "Name the right label column with --label, or fit again",
        )
    predictions = run.predict_dataset(dataset, strict=strict, progress=progress)
    assert dataset.targets is not None
    own = np.array([number[name] for name in dataset.classes], np.int64)
    truth = own[dataset.targets[predictions.rows]]
    return Evaluation(metrics=evaluate_probabilities(predictions.probabilities, truth), findings=predictions.findings)
