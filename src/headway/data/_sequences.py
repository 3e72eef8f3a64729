"""Targets that are texts themselves: what is to be written for an item, or a tag for each of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.errors import DataError
from headway.tasks._labels import refuse_unknown, sorted_names
from headway.types import TextTargets

TASKS = ("seq2seq", "tagging")


def encode(labels: Sequence[Any], task: str, known: Sequence[str] | None) -> tuple[TextTargets, tuple[str, ...]]:
    """The targets of every item; and of tagging the tags that occur, or those that are ``known``.

    Raises :class:`DataError` for tags that are not known, and for tagging with labels that are no lists of tags.

    >>> encode([("B", "O"), ("O",)], "tagging", None)
    ((('B', 'O'), ('O',)), ('B', 'O'))
    """
    if task == "seq2seq":
        return tuple(map(str, labels)), ()
    whole = next((label for label in labels if not isinstance(label, tuple)), None)
    if whole is not None:
        raise DataError("tagging takes a list of tags an item", given=repr(whole))
    tags = {tag for label in labels for tag in label}
    if known is not None:
        refuse_unknown(tags, known)
    return tuple(labels), sorted_names(tags) if known is None else tuple(known)
