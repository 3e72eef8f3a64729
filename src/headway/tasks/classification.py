"""Single-label classification: any labels to class numbers, and probabilities back to rows a user reads.

Metrics are named here and computed in ``evaluate/metrics.py``, which stands to the right of this package.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from headway.errors import DataError, OptionError, did_you_mean
from headway.types import Finding, FloatArray, IntArray

METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "log_loss", "ece")
PRIMARY = "balanced_accuracy"  # what is chosen by, reported first and argued about

_SHOWN = 10
_COLUMNS = ("item", "prediction", "probability")
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """``classes[targets[i]]`` is the name of item i's class."""

    targets: IntArray  # [n]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def encode(labels: Sequence[Any]) -> Encoded:
    """Class numbers and names of labels of any kind: text, numbers, booleans, bytes; numpy's and Python's alike.

    Whole numbers are shown as such (``3.0`` is class "3"), text stays as it is (``"007"`` is not "7"), in Unicode NFC
    so that two spellings of "é" are one class. Names that are all whole numbers sort as numbers, others as text, so the
    order depends on the set of labels only. Raises :class:`DataError` for fewer than 2 items, a missing label
    (see :func:`missing`) or one class only. A class of one item is a finding, not an error.

    >>> found = encode([10, 2, 2.0, 10])
    >>> found.classes, found.targets.tolist()
    (('2', '10'), [1, 0, 0, 1])
    """
    if len(labels) < 2:
        raise DataError(
            "there are too few labelled items to learn from",
            given=len(labels),
            allowed="2 or more",
            todo="Label more items",
        )
    absent = [row for row, label in enumerate(labels) if missing(label)]
    if absent:
        raise DataError(
            "some items have no label",
            given=f"{len(absent)} of {len(labels)}, first in row {absent[0]}",
            allowed="a label for every item",
            todo="Label these items or leave them out",
        )
    names = [class_name(label) for label in labels]
    counts = Counter(names)
    classes = _sorted(counts)
    if len(classes) < 2:
        raise DataError(
            "there is only one class, so there is nothing to tell apart",
            given=f"{len(labels)} items of {classes[0]!r}",
            allowed="2 or more classes",
            todo="Add items of another class, or name the right label column with --label",
        )
    number = {name: i for i, name in enumerate(classes)}
    targets = np.array([number[name] for name in names], dtype=np.int64)
    return Encoded(targets=targets, classes=classes, findings=_findings(classes, counts))


def encode_as(labels: Sequence[Any], classes: Sequence[str]) -> Encoded:
    """Class numbers of labels in the given classes, those of a model; any number of items and of classes will do.

    Raises :class:`DataError` for a label that is none of the classes, with the closest ones.

    >>> encode_as(["dog", "dog"], ("cat", "dog")).targets.tolist()
    [1, 1]
    """
    number = {name: i for i, name in enumerate(classes)}
    names = [class_name(label) for label in labels]
    unknown = sorted(set(names) - set(number))
    if unknown:
        raise DataError(
            "the data have classes that the model does not know",
            given=", ".join(map(repr, unknown[:_SHOWN]))
            + (f" and {len(unknown) - _SHOWN} more" * (len(unknown) > _SHOWN)),
            allowed=", ".join(map(repr, classes[:20])) + (", ..." if len(classes) > 20 else ""),
            todo=did_you_mean(unknown[0], classes) or "Name the right label column with --label, or fit again",
        )
    return Encoded(targets=np.array([number[name] for name in names], dtype=np.int64), classes=tuple(classes))


def missing(label: Any) -> bool:
    """Whether a label is absent: ``None``, NaN, NaT, or text that is empty or blank.

    >>> [missing(x) for x in (None, float("nan"), " ", 0, False, "None")]
    [True, True, True, False, False, False]
    """
    if isinstance(label, (str, bytes)):
        return not label.strip()
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


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The header of the rows of :func:`decode`: item, prediction, probability, then one column a class.

    >>> columns(("cat", "item"))
    ('item', 'prediction', 'probability', 'cat', 'item (class)')
    """
    taken = {*_COLUMNS, *classes}
    header = list(_COLUMNS)
    for name in classes:
        column = name
        while column in _COLUMNS or (column != name and column in taken):
            column += " (class)"
        taken.add(column)
        header.append(column)
    return tuple(header)


def decode(P: FloatArray, *, names: Sequence[str], classes: Sequence[str]) -> Iterator[tuple[str | float, ...]]:
    """Rows of ``(item, class, its probability, every class's probability ...)`` from probabilities ``[n, C]``.

    Of equal probabilities the first class is taken, as everywhere in Headway.

    >>> list(decode(np.array([[0.25, 0.75]]), names=("a.jpg",), classes=("cat", "dog")))
    [('a.jpg', 'dog', 0.75, 0.25, 0.75)]
    """
    if P.shape != (len(names), len(classes)):
        raise OptionError(
            "the probabilities do not fit", given=f"shape {P.shape}", allowed=f"[{len(names)}, {len(classes)}]"
        )
    for name, best, row in zip(names, P.argmax(axis=1).tolist(), P.astype(np.float64).tolist(), strict=True):
        yield (name, classes[best], row[best], *row)


def _sorted(names: Counter[str]) -> tuple[str, ...]:
    whole = all(_INTEGER.fullmatch(name) for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if whole else 0, name)))


def _findings(classes: tuple[str, ...], counts: Counter[str]) -> tuple[Finding, ...]:
    lone = tuple(name for name in classes if counts[name] == 1)
    folded = sorted(classes, key=_fold)
    alike = tuple(
        " / ".join(map(repr, g)) for g in (sorted(group) for _, group in groupby(folded, _fold)) if len(g) > 1
    )
    findings = []
    if lone:
        message = (
            f"{len(lone)} of {len(classes)} classes have one item only: it cannot be both learnt from and tested on."
        )
        findings.append(Finding(check="class_of_one", severity="warn", message=message, evidence=lone[:_SHOWN]))
    if alike:
        message = "Some classes differ only in upper and lower case or in blanks: they are kept apart."
        findings.append(Finding(check="classes_alike", severity="warn", message=message, evidence=alike[:_SHOWN]))
    return tuple(findings)


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())
