"""Single-label classification: any labels to class numbers, and probabilities back to rows a user reads.

Metrics are named here and computed in ``evaluate/metrics.py``, which stands to the right of this package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from headway.errors import DataError, OptionError
from headway.tasks._labels import (
    SHOWN,
    Encoded,
    class_name,
    header,
    missing,
    refuse_few,
    refuse_many,
    refuse_missing,
    refuse_unknown,
    sorted_names,
)
from headway.types import Finding, FloatArray, IntArray, Link

__all__ = ["Encoded", "class_name", "columns", "decode", "encode", "encode_as", "missing", "outputs", "strata"]

METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "log_loss", "ece")
PRIMARY = "balanced_accuracy"  # what is chosen by, reported first and argued about
LINK: Link = "softmax"
PRIOR = "the most common class"  # what the arm without features always answers

_COLUMNS = ("item", "prediction", "probability")


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
    refuse_few(labels)
    refuse_many(labels, "classification")
    refuse_missing(labels)
    names = [class_name(label) for label in labels]
    counts = Counter(names)
    classes = sorted_names(counts)
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
    refuse_many(labels, "classification")
    number = {name: i for i, name in enumerate(classes)}
    names = [class_name(label) for label in labels]
    refuse_unknown(names, classes)
    return Encoded(targets=np.array([number[name] for name in names], dtype=np.int64), classes=tuple(classes))


def outputs(classes: Sequence[str]) -> int:
    """Columns of scores: one a class."""
    return len(classes)


def strata(targets: IntArray) -> IntArray:
    """What every part of a split should have in proportion ``[n]``: the classes."""
    return targets


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The header of the rows of :func:`decode`: item, prediction, probability, then one column a class.

    >>> columns(("cat", "item"))
    ('item', 'prediction', 'probability', 'cat', 'item (class)')
    """
    return header(_COLUMNS, classes)


def decode(
    P: FloatArray, *, names: Sequence[str], classes: Sequence[str], thresholds: FloatArray | None = None
) -> Iterator[tuple[str | float, ...]]:
    """Rows of ``(item, class, its probability, every class's probability ...)`` from probabilities ``[n, C]``.

    Of equal probabilities the first class is taken, as everywhere in Headway; there are no thresholds.

    >>> list(decode(np.array([[0.25, 0.75]]), names=("a.jpg",), classes=("cat", "dog")))
    [('a.jpg', 'dog', 0.75, 0.25, 0.75)]
    """
    if P.shape != (len(names), len(classes)) or thresholds is not None:
        raise OptionError(
            "the probabilities do not fit", given=f"shape {P.shape}", allowed=f"[{len(names)}, {len(classes)}]"
        )
    for name, best, row in zip(names, P.argmax(axis=1).tolist(), P.astype(np.float64).tolist(), strict=True):
        yield (name, classes[best], row[best], *row)


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
        findings.append(Finding(check="class_of_one", severity="warn", message=message, evidence=lone[:SHOWN]))
    if alike:
        message = "Some classes differ only in upper and lower case or in blanks: they are kept apart."
        findings.append(Finding(check="classes_alike", severity="warn", message=message, evidence=alike[:SHOWN]))
    return tuple(findings)


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())
