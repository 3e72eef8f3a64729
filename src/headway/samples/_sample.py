"""What a sample data set is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a build may use: the cache of fetched files, and whether it may fetch more."""

    cache: Path
    offline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A data set by name; ``build(folder, sources)`` fills an existing, empty folder."""

    name: str
    modality: str  # "image", "text", "audio" or "table"
    task: str  # "classification", "regression", "detection", "seq2seq", "tagging", "rating" or "none"
    items: int
    description: str
    source: str
    licence: str
    build: Callable[[Path, Sources], None]
