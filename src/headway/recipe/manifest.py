"""The manifest: what a finished run says of itself. Its keys are a contract that others build on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from headway.choose import Ranked
from headway.data.dataset import target_array
from headway.data.health import class_counts
from headway.evaluate.loop import Result
from headway.recipe.proof import Proof
from headway.recipe.session import Session
from headway.types import Dataset, Split

LIBRARIES = ("headway", "numpy", "openvino", "pillow", "scikit-learn", "scipy", "simplejpeg", "torch", "timm")


def manifest_of(
    proof: Proof,
    *,
    ranking: Sequence[Ranked],
    results: Sequence[Result],
    dataset: Dataset,
    split: Split,
    session: Session,
) -> dict[str, Any]:
    """Plain JSON; ``cut`` is empty exactly where the budget and faults left nothing out."""
    return {
        "task": dataset.task,
        "modality": dataset.modality,
        "classes": list(dataset.classes),
        "chosen": _chosen(proof.shipped),
        "test": {metric: asdict(interval) for metric, interval in proof.test.items()},
        "verdict": {
            **asdict(proof.verdict),
            "arms": {k: asdict(v) for k, v in proof.verdict.arms.items()},
            "tests": proof.tests,
        },
        "ranking": [asdict(line) for line in ranking],
        "contenders": [{**_chosen(r), "validation": r.score, "seconds": round(r.seconds, 4)} for r in results],
        "timings": session.timings,
        "budget": session.deadline.seconds,
        "cut": session.cut,
        "findings": [asdict(finding) for finding in session.findings],
        "seed": session.seed,
        "test_touched": proof.touched,
        "versions": versions(),
        "data": _data(dataset, split),
    }


def _chosen(result: Result) -> dict[str, Any]:
    contender = result.contender
    return {
        "arm": contender.arm,
        "backbones": [e.name for e in contender.entrants],
        "features": contender.backbone,
        "method": contender.method.name,
        "params": dict(result.adapted.params),
        "temperature": result.adapted.head.temperature,
        **_thresholds(result),
        "reference": contender.method.reference,
    }


def _thresholds(result: Result) -> dict[str, list[float]]:
    """From which probability each label is on; of labels only."""
    thresholds = result.adapted.head.thresholds
    return {} if thresholds is None else {"thresholds": thresholds.tolist()}


def _data(dataset: Dataset, split: Split) -> dict[str, Any]:
    assert dataset.targets is not None
    targets: dict[str, Any]
    if dataset.classes:
        targets = {"per_class": dict(zip(dataset.classes, class_counts(dataset).tolist(), strict=True))}
    else:
        y = target_array(dataset)
        facts = {"least": y.min(), "mean": y.mean(), "most": y.max(), "spread": y.std()}
        targets = {"target": {name: float(value) for name, value in facts.items()}}
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "items": len(dataset.names),
        "train": len(split.train),
        "test": len(split.test),
        "folds": len(split.folds),
        **targets,
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that a result may depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
