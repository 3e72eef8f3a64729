"""The nouns of a run: what is shipped, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headway.engine.ir import IR
from headway.types import Backbone, LinearHead

FORMAT = 1
MANIFEST, PLAN, RECORDS, MODEL = "manifest.json", "plan.json", "records.jsonl", "model"
LEARNT = "classical"  # in the model's folder
WORK = ".work"  # checkpoints, and networks that are not shipped: gone when the run is finished


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPart:
    """A network's stages that feed the head; ``backbone`` gives the weights when the run is written."""

    ir: IR
    stages: tuple[int, ...]
    backbone: Backbone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is shipped: classical features or networks, in the order of the head's blocks, and the head."""

    modality: str
    task: str
    classes: tuple[str, ...]
    head: LinearHead
    classical: bool = False
    learnt: Any = None  # classical features that a modality learns from items: its ``fit_classical``'s model
    networks: tuple[NetworkPart, ...] = ()
