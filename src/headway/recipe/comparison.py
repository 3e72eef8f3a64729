"""The table of ``headway compare``: every model of a run on the test set, against training from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.loop import Result
from headway.evaluate.metrics import metric_interval
from headway.evaluate.paired import effect
from headway.linear.coding import link_of, task_of
from headway.seeds import seed_of
from headway.types import Targets

SCRATCH = "scratch"


def comparison(
    shown: Sequence[tuple[Result, NDArray[np.float64]]], y: Targets, *, seconds: Mapping[str, float], seed: int
) -> list[dict[str, Any]]:
    """One line a model, as JSON: its test score and its gain over the arm from scratch, each with a 95 % interval.

    ``shown`` are results and their answers ``[n, C]`` on the test items of targets ``y``. Without an arm from scratch
    the gains are None. ``seconds`` holds what computing a network's features took, by name: a part of training time.
    """
    task = task_of(y)
    from_scratch = next((_said(P, y) for result, P in shown if result.contender.arm == SCRATCH), None)
    lines = []
    for result, P in shown:
        contender = result.contender
        gain = None
        if from_scratch is not None:
            draw = seed_of(seed, "gain", contender.backbone)
            gain = asdict(effect(task.PRIMARY, y, _said(P, y), from_scratch, seed=draw))
        lines.append(
            {
                "arm": contender.arm,
                "backbone": contender.backbone,
                "method": contender.method.name,
                "cut": result.adapted.params.get("cut") or None,
                "test": asdict(metric_interval(task.PRIMARY, y, P, seed=seed_of(seed, "compare", contender.backbone))),
                "gain": gain,
                "seconds": round(result.seconds + sum(seconds.get(e.name, 0.0) for e in contender.entrants), 2),
                "trainable": int(result.adapted.params.get("trainable", 0)) or _numbers(result),
            }
        )
    return lines


def _said(P: NDArray[np.float64], y: Targets) -> NDArray[Any]:
    """What is compared: classes, or the answers themselves."""
    return P.argmax(1) if link_of(y) == "softmax" else P


def _numbers(result: Result) -> int:
    """Numbers that a probe learns: its weights and biases."""
    head = result.adapted.head
    return int(head.weight.size + head.bias.size)
