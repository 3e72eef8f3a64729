"""What the tasks share: how a label is named, when it is missing, and how a table's columns are called."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headway.errors import DataError, did_you_mean
from headway.types import Finding, Targets

SHOWN = 10
"""Most labels that a message names."""

_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)
_MANY = (list, tuple, set, frozenset, dict, np.ndarray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Targets as the task's numbers, and the names of classes or labels that they count in."""

    targets: Targets
    classes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def is_many(label: Any) -> bool:
    """Whether a label is a collection of labels.

    >>> [is_many(x) for x in (["a"], (), np.zeros(2), "a", 1)]
    [True, True, True, False, False]
    """
    return isinstance(label, _MANY)


def missing(label: Any) -> bool:
    """Whether a label is absent: ``None``, NaN, NaT, or text that is empty or blank. An empty list is an answer.

    >>> [missing(x) for x in (None, float("nan"), " ", 0, False, "None", [])]
    [True, True, True, False, False, False, False]
    """
    if isinstance(label, (str, bytes)):
        return not label.strip()
    if is_many(label):
        return False
    return label is None or bool(label != label)  # NaN and NaT alone differ from themselves


def class_name(label: Any) -> str:
    """The name a label is shown by.

    >>> [class_name(x) for x in (3, 3.0, 2.5, True, "007", b"cat")]
    ['3', '3', '2.5', 'True', '007', 'cat']
    """
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DataError("a label is not a finite number", given=value, allowed="finite numbers or text")
        value = int(value) if value.is_integer() else value
    # A folder name that is not UTF-8 reaches here as lone surrogates, which no CSV or JSON file can hold.
    return unicodedata.normalize("NFC", str(value)).encode("utf-8", "backslashreplace").decode("utf-8")


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names: as numbers where all are whole numbers, else as text.

    >>> sorted_names(["10", "2"]), sorted_names(["10", "2", "a"])
    (('2', '10'), ('10', '2', 'a'))
    """
    distinct = set(names)
    whole = all(_INTEGER.fullmatch(name) for name in distinct)
    return tuple(sorted(distinct, key=lambda name: (int(name) if whole else 0, name)))


def header(fixed: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """``fixed`` columns and one a class, no two alike.

    >>> header(("item",), ("cat", "item"))
    ('item', 'cat', 'item (class)')
    """
    taken = {*fixed, *classes}
    columns = list(fixed)
    for name in classes:
        column = name
        while column in fixed or (column != name and column in taken):
            column += " (class)"
        taken.add(column)
        columns.append(column)
    return tuple(columns)


def refuse_few(labels: Sequence[Any]) -> None:
    """Raise :class:`DataError` for fewer than two items."""
    if len(labels) < 2:
        raise DataError(
            "there are too few labelled items to learn from",
            given=len(labels),
            allowed="2 or more",
            todo="Label more items",
        )


def refuse_many(labels: Sequence[Any], task: str) -> None:
    """Raise :class:`DataError` where an item has a collection of labels, or several columns of them."""
    many = next((row for row, label in enumerate(labels) if is_many(label)), None)
    if many is not None:
        raise DataError(
            f"{task} takes one label an item",
            given=f"several in row {many}: {labels[many]!r}",
            todo="Say --task multilabel, or name one --label column",
        )


def refuse_missing(labels: Sequence[Any]) -> None:
    """Raise :class:`DataError` where a label is missing."""
    absent = [row for row, label in enumerate(labels) if missing(label)]
    if absent:
        raise DataError(
            "some items have no label",
            given=f"{len(absent)} of {len(labels)}, first in row {absent[0]}",
            allowed="a label for every item",
            todo="Label these items or leave them out",
        )


def refuse_unknown(names: Iterable[str], classes: Sequence[str]) -> None:
    """Raise :class:`DataError` for names that are none of a model's classes, with the closest ones."""
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise DataError(
            "the data have classes that the model does not know",
            given=", ".join(map(repr, unknown[:SHOWN]))
            + (f" and {len(unknown) - SHOWN} more" * (len(unknown) > SHOWN)),
            allowed=", ".join(map(repr, classes[:20])) + (", ..." if len(classes) > 20 else ""),
            todo=did_you_mean(unknown[0], classes) or "Name the right label column with --label, or fit again",
        )
