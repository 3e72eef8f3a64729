"""A table's columns of labels: names, numbers, lists of names, or one column of 0 and 1 a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def labels_of(frame: pl.DataFrame, label: tuple[str, ...], names: dict[str, list[str]]) -> list[Any]:
    """One column's labels; or, of several columns of 0 and 1, which are on."""
    if len(label) == 1:
        return _labels(frame[label[0]], names.get(label[0]))
    marks = [[_mark(value, name) for value in frame[name].to_list()] for name in label]
    return [None if None in row else dict(zip(label, row, strict=True)) for row in zip(*marks, strict=True)]


def _mark(value: Any, column: str) -> bool | None:
    """Whether a label is on; ``None`` where nothing is said."""
    text = "" if value is None or value != value else str(value).strip().lower()
    if text and text not in _MARKS:
        raise DataError(
            "a column of several that are labels does not hold 0 and 1",
            given=f"{value!r} in {column!r}",
            allowed="0 and 1, or true and false",
            todo="Name one --label column, or mend this one",
        )
    return _MARKS[text] if text else None


def _labels(column: pl.Series, names: list[str] | None) -> list[Any]:
    """Values, or the class names that a saved data set gives to its numbers; -1 is its sign for "no label"."""
    if names is None:
        return column.to_list()
    if column.dtype.is_nested():
        return [None if row is None else [names[value] for value in row] for row in column.to_list()]
    return [None if value is None or value < 0 else names[value] for value in column]
