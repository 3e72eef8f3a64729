"""Which task a column of labels asks for: what the user said, or what is unmistakable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway import plugins
from headway.data._sequences import TASKS
from headway.errors import OptionError, did_you_mean
from headway.tasks import multilabel, regression
from headway.tasks._labels import class_name, is_many, missing
from headway.types import Finding

AUTO = "auto"
MANY = 20
"""Up to so many distinct numbers are classes without a word."""


def checked_task(task: str) -> str:
    """``task`` where it is one, or "auto"; raises :class:`OptionError` with the closest names."""
    known = tuple(dict.fromkeys((AUTO, *plugins.names("tasks"), *TASKS)))
    if task not in known:
        raise OptionError(
            "there is no such task", given=repr(task), allowed=", ".join(known), todo=did_you_mean(task, known)
        )
    return task


def task_of(labels: Sequence[Any], task: str) -> tuple[str, tuple[Finding, ...]]:
    """The task and what the user should know of the decision.

    ``auto`` is classification unless the labels are lists, or rows or several columns of 0 and 1 (multi-label), or
    more than :data:`MANY` distinct numbers most of which are not whole (regression). Many whole numbers stay classes,
    and texts that hold separators stay whole; a finding names the other reading.

    >>> task_of([["a"], ["a", "b"]], "auto")[0], task_of(["a;b", "a"], "auto")[0], task_of([3, 4, 3], "auto")[0]
    ('multilabel', 'classification', 'classification')
    """
    if task != AUTO:
        return task, ()
    if any(map(is_many, labels)):
        return "multilabel", ()
    numbers = [regression.number(label) for label in labels if not missing(label)]
    distinct = {value for value in numbers if value is not None}
    if None not in numbers and len(distinct) > MANY:
        broken = sum(not value.is_integer() for value in distinct)
        if broken > len(distinct) / 2:
            return "regression", (
                _note(f"The labels are {len(distinct)} different numbers, most of them not whole: {_READ}"),
            )
        return "classification", (_note(f"The labels are {len(distinct)} different whole numbers: {_KEPT}"),)
    return "classification", _parted(labels)


_READ = "they are read as numbers to predict (regression). Where they are names, say --task classification."
_KEPT = "they are read as names of classes. Where they are numbers to predict, say --task regression."


def _parted(labels: Sequence[Any]) -> tuple[Finding, ...]:
    """Whether texts look like several labels each: parted, they are fewer different ones, and some stand alone too."""
    texts = {class_name(label) for label in labels if isinstance(label, str) and label.strip()}
    mark = multilabel.separator_of([text.replace(",", " ") for text in texts])
    if not mark:
        return ()
    pieces = {piece.strip() for text in texts for piece in text.split(mark) if piece.strip()}
    if len(pieces) >= len(texts):
        return ()
    return (
        _note(
            f"Labels hold {mark!r}: parted there they would be {len(pieces)} different ones, not {len(texts)}. They "
            "are read as one class each; where an item has several labels, say --task multilabel."
        ),
    )


def _note(message: str) -> Finding:
    return Finding(check="task", severity="note", message=message)
