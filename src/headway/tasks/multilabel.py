"""Multi-label classification: every label is on or off for every item, and an item may have none at all.

Metrics are named here and computed in ``evaluate/``, which stands to the right of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headway.errors import DataError, OptionError
from headway.tasks._labels import (
    SHOWN,
    Encoded,
    class_name,
    header,
    is_many,
    refuse_few,
    refuse_unknown,
    sorted_names,
)
from headway.types import Finding, FloatArray, IntArray, Link

METRICS = (
    "mean_average_precision",
    "macro_f1",
    "micro_f1",
    "hamming_loss",
    "subset_accuracy",
    "log_loss",
    "ece",
)
PRIMARY = "mean_average_precision"  # what is chosen by, reported first and argued about
LINK: Link = "sigmoid"
PRIOR = "how often each label occurs"  # what the arm without features always answers
SEPARATORS = (";", "|", ",")
"""What parts the labels in a text. The first two are looked for together; a comma counts only where neither occurs."""

_COLUMNS = ("item", "prediction")


def encode(labels: Sequence[Any]) -> Encoded:
    """Targets ``[n, C]`` of 0 and 1 and the labels' names. An item's labels are one of

    - a list, tuple or set of names, of which none may be missing; it may be empty;
    - a text of names parted by ``;`` or ``|`` (a comma where neither occurs), or an empty one;
    - a mapping or numpy row of 0 and 1, one a label: names are the keys, or the numbers of the columns.

    Names are shown and sorted as :func:`headway.tasks.classification.encode` does. Raises :class:`DataError` for fewer
    than 2 items, or where every label is on for all items or for none. A label that is never or always on, or on
    once, is a finding.

    >>> found = encode(["red;round", "round", ""])
    >>> found.classes, found.targets.tolist()
    (('red', 'round'), [[1, 1], [0, 1], [0, 0]])
    """
    refuse_few(labels)
    separator = separator_of(labels)
    rows = [_names(label, separator, row) for row, label in enumerate(labels)]
    if any(isinstance(label, Mapping) or _is_marks(label) for label in labels):
        # The columns' own order, so that the probabilities of an array's user stand as in the array.
        classes = tuple(dict.fromkeys(name for label in labels for name in _marked(label)))
    else:
        classes = sorted_names(name for names in rows for name in names)
    if not classes:
        raise DataError("no item has a label", given=f"{len(labels)} items", todo="Name the label column with --label")
    targets = _matrix(rows, classes)
    counts = targets.sum(axis=0)
    if not ((counts > 0) & (counts < len(labels))).any():
        raise DataError(
            "every label is on for all items or for none, so there is nothing to tell apart",
            given=", ".join(f"{name!r}: {count}" for name, count in list(zip(classes, counts, strict=True))[:SHOWN]),
            allowed="a label that some items have and others do not",
            todo="Add items, or name the right label column with --label",
        )
    return Encoded(targets=targets, classes=classes, findings=_findings(classes, targets, separator))


def encode_as(labels: Sequence[Any], classes: Sequence[str]) -> Encoded:
    """Targets ``[n, C]`` in the given labels, those of a model; any number of items will do.

    Raises :class:`DataError` for a label that the model does not know.

    >>> encode_as(["dog|cat", []], ("cat", "dog")).targets.tolist()
    [[1, 1], [0, 0]]
    """
    # A text that is a label as a whole is not parted: with one item there may be no other text to learn that from.
    separator = separator_of([label for label in labels if not _is_whole(label, classes)])
    rows = [
        (class_name(label),) if _is_whole(label, classes) else _names(label, separator, row)
        for row, label in enumerate(labels)
    ]
    refuse_unknown({name for names in rows for name in names}, classes)
    return Encoded(targets=_matrix(rows, classes), classes=tuple(classes))


def separator_of(labels: Sequence[Any]) -> str:
    """What parts the names in these texts; empty where no text holds any of :data:`SEPARATORS`.

    >>> separator_of(["a;b", "a|b;c"]), separator_of(["a,b"]), separator_of(["a"])
    (';', ',', '')
    """
    texts = [label for label in labels if isinstance(label, str)]
    often = {mark: sum(mark in text for text in texts) for mark in SEPARATORS}
    best = max(SEPARATORS[:2], key=lambda mark: often[mark])
    if not often[best]:
        best = SEPARATORS[2]
    return best if often[best] else ""


def outputs(classes: Sequence[str]) -> int:
    """Columns of scores: one a label."""
    return len(classes)


def strata(targets: IntArray) -> IntArray:
    """What every part should have in proportion ``[n]``: an item's rarest label, or C where it has none.

    >>> strata(np.array([[1, 1], [0, 1], [0, 0]])).tolist()
    [0, 1, 2]
    """
    counts = targets.sum(axis=0)
    rarity = np.where(targets > 0, counts, len(targets) + 1)
    found: IntArray = np.where(targets.any(axis=1), rarity.argmin(axis=1), targets.shape[1]).astype(np.int64)
    return found


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The header of the rows of :func:`decode`: item, prediction, then the probability of each label.

    >>> columns(("cat", "item"))
    ('item', 'prediction', 'cat', 'item (class)')
    """
    return header(_COLUMNS, classes)


def decode(
    P: FloatArray, *, names: Sequence[str], classes: Sequence[str], thresholds: FloatArray | None = None
) -> Iterator[tuple[str | float, ...]]:
    """Rows of ``(item, labels that are on, every label's probability ...)`` from probabilities ``[n, C]``.

    Labels are joined by ``;``. A label is on from its threshold (``[C]``, 0.5 where none are given).

    >>> list(decode(np.array([[0.75, 0.5]]), names=("a.jpg",), classes=("cat", "dog"), thresholds=np.array([0.5, 0.6])))
    [('a.jpg', 'cat', 0.75, 0.5)]
    """
    if P.shape != (len(names), len(classes)):
        raise OptionError(
            "the probabilities do not fit", given=f"shape {P.shape}", allowed=f"[{len(names)}, {len(classes)}]"
        )
    for name, on, row in zip(names, decide(P, thresholds), P.astype(np.float64).tolist(), strict=True):
        yield (name, SEPARATORS[0].join(classes[c] for c in np.flatnonzero(on).tolist()), *row)


def decide(P: FloatArray, thresholds: FloatArray | None = None) -> IntArray:
    """Labels on or off ``[n, C]`` from probabilities: on from the threshold.

    >>> decide(np.array([[0.4, 0.6]]), np.array([0.3, 0.7])).tolist()
    [[1, 0]]
    """
    least = 0.5 if thresholds is None else thresholds
    return np.asarray(least <= P, np.int64)


def _is_whole(label: Any, classes: Sequence[str]) -> bool:
    return isinstance(label, str) and class_name(label) in classes


def _is_marks(label: Any) -> bool:
    return isinstance(label, np.ndarray) and label.dtype.kind in "bif"


def _marked(label: Any) -> dict[str, bool]:
    """Names and whether they are on, of a mapping or a row of 0 and 1."""
    pairs = label if isinstance(label, Mapping) else dict(enumerate(label.tolist()))
    wrong = [value for value in pairs.values() if value not in (0, 1)]  # True and 1.0 are 1
    if wrong:
        raise DataError(
            "a label that is on or off is neither",
            given=repr(wrong[0]),
            allowed="0 and 1, one a label",
            todo="Give lists of names where these are names",
        )
    return {class_name(name): bool(value) for name, value in pairs.items()}


def _names(label: Any, separator: str, row: int) -> tuple[str, ...]:
    """The names of the labels that an item has."""
    if label is None or (isinstance(label, float) and label != label):
        return ()
    if isinstance(label, Mapping) or _is_marks(label):
        return tuple(name for name, on in _marked(label).items() if on)
    if isinstance(label, str):
        parts = label.split(separator) if separator else [label]
        return tuple(class_name(part.strip()) for part in parts if part.strip())
    if not is_many(label):
        return (class_name(label),)
    names = tuple(class_name(part) for part in label if part is not None)
    if len(names) < len(label) or not all(name.strip() for name in names):
        raise DataError("an item's list of labels holds an empty one", given=f"row {row}: {list(label)!r}")
    return names


def _matrix(rows: Sequence[tuple[str, ...]], classes: Sequence[str]) -> IntArray:
    number = {name: i for i, name in enumerate(classes)}
    targets = np.zeros((len(rows), len(classes)), np.int64)
    for row, names in enumerate(rows):
        targets[row, [number[name] for name in names]] = 1
    return targets


def _findings(classes: tuple[str, ...], targets: IntArray, separator: str) -> tuple[Finding, ...]:
    counts, n = targets.sum(axis=0), len(targets)
    none = int((~targets.any(axis=1)).sum())
    said = (
        ("label_never_on", "labels are on for no item: they cannot be learnt.", counts == 0),
        ("label_always_on", "labels are on for every item: they tell nothing apart.", counts == n),
        ("label_of_one", "labels have one item only: it cannot be both learnt from and tested on.", counts == 1),
    )
    findings = []
    for check, message, which in said:
        shown = tuple(classes[c] for c in np.flatnonzero(which).tolist())
        if shown:
            message = f"{len(shown)} of {len(classes)} {message}"
            findings.append(Finding(check=check, severity="warn", message=message, evidence=shown[:SHOWN]))
    if none:
        message = f"{none} items have none of the labels: they are taken as examples of that."
        findings.append(Finding(check="items_without_label", severity="note", message=message))
    if separator:
        message = f"Labels were parted at {separator!r} into {len(classes)}."
        findings.append(Finding(check="labels_parted", severity="note", message=message, evidence=classes[:SHOWN]))
    return tuple(findings)
