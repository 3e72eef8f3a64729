"""What every reader hands to :func:`headway.data.read.read`: columns that are not checked yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.types import Finding, Part, Source

SHOWN = 10
"""Most items that a finding names."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".dib")
"""A file so named that is no image is a bad item; any other file that is none is left alone."""

TEXT_SUFFIXES = (".txt", ".text", ".md")
"""Files so named are texts; in a folder of texts, files without any suffix are too."""

_PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a table: its columns of labels (none: found by name) and of groups."""

    label: tuple[str, ...] = ()
    group: str | None = None
    labelled: bool = True
    text: tuple[str, ...] = ()  # columns of texts: one, or two for pairs; none: found where that is unmistakable
    task: str = "auto"
    modality: str | None = None  # none: what the data look like
    known: tuple[str, ...] = ()  # labels of a model: columns so named, all there, are the labels where none are asked


@dataclass(slots=True, kw_only=True)
class Items:
    """Columns of equal length; ``None`` where the data have no such column."""

    name: str
    names: list[str]
    sources: list[Source]
    labels: list[Any] | None = None
    groups: list[Any] | None = None
    parts: list[Part | None] | None = None
    listed: bool = True  # named one by one, as in a table: then whatever is not an image is a bad item
    modality: str = "image"
    findings: list[Finding] = field(default_factory=list)


def part_of(name: object) -> Part | None:
    """The part that a folder's or a column's value means, if any.

    >>> part_of("Valid"), part_of("cats")
    ('val', None)
    """
    return _PARTS.get(name.strip().lower()) if isinstance(name, str) else None


def is_file(path: Path) -> bool:
    """Whether there is such a file; no text is too long, or holds too odd characters, to be asked about.

    >>> is_file(Path("word " * 9999)), is_file(Path("a\\0b"))
    (False, False)
    """
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, or a NUL character
        return False


def warning(check: str, message: str, evidence: Sequence[str]) -> Finding:
    """A ``warn`` finding that names at most :data:`SHOWN` items."""
    return Finding(check=check, severity="warn", message=message, evidence=tuple(evidence[:SHOWN]))
