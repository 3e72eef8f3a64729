"""A table's columns of texts: which they are where it is unmistakable, and what their cells hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headway.data._items import Wanted
from headway.errors import OptionError
from headway.modalities._encoding import to_text
from headway.modalities._source import display_name
from headway.types import Source

if TYPE_CHECKING:
    import polars as pl

_NAMED = (
    "text",
    "texts",
    "sentence",
    "document",
    "review",
    "tweet",
    "comment",
    "message",
    "content",
    "body",
    "article",
)
_PAIRS = (
    *(("text1", "text2"), ("text_1", "text_2"), ("text_a", "text_b"), ("sentence1", "sentence2")),
    *(("sentence_a", "sentence_b"), ("question1", "question2"), ("premise", "hypothesis"), ("query", "passage")),
)
_TARGETS = ("target_text", "translation", "summary", "highlights", "target")
_LABELS = ("label", "labels", "class", "class_name", "target", "category", "y", "score", "rating", "id", "index")
_PROBED = 200
_WORDS = 2.0  # least mean number of blanks in the cells of a column that is taken for text without being named so
_LONGER = 3.0  # how much longer than every other column's such a column's cells are


def clear(frame: pl.DataFrame, wanted: Wanted) -> bool:
    """Whether it is unmistakable which columns hold texts."""
    return bool(_found(frame, wanted))


def find(frame: pl.DataFrame, wanted: Wanted, *, name: str) -> tuple[str, ...]:
    """The column of texts, or the two of pairs: as asked, else as found.

    Raises :class:`OptionError` where it is not clear, and for more than two columns.
    """
    if len(wanted.text) > 2:
        raise OptionError("too many columns of texts", given=", ".join(wanted.text), allowed="one, or two for pairs")
    if wanted.text:
        return wanted.text
    found = _found(frame, wanted)
    if found:
        return found
    texts = _texts(frame, wanted)
    raise OptionError(
        "it is not clear which column holds the texts",
        given=f"{display_name(name)} with the columns {', '.join(map(repr, frame.columns))}",
        allowed=" or ".join(f"--text {column}" for column in texts) or "a table with a column of texts",
        todo="Name the column with --text, or two for pairs",
    )


def targets(frame: pl.DataFrame, candidates: Sequence[str]) -> str:
    """The column of texts to be written, where one is named so and no column is named as labels are."""
    named = [c for c in candidates if c.lower() in _TARGETS and _is_prose(frame, c)]
    return named[0] if len(named) == 1 else ""


def sources(frame: pl.DataFrame, text: tuple[str, ...]) -> list[Source]:
    """A text a row, or a pair; a missing one is the empty text."""
    columns = [["" if cell is None else str(cell) for cell in frame[name]] for name in text]
    return list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True))


def decoded(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with each cell read on its own, where the file was not UTF-8 and every byte became a character."""
    import polars as pl

    def right(cell: str) -> str:
        return to_text(cell.encode("latin-1")).text

    return frame.with_columns(pl.col(pl.String).map_elements(right, return_dtype=pl.String))


def _found(frame: pl.DataFrame, wanted: Wanted) -> tuple[str, ...]:
    texts = _texts(frame, wanted)
    lower = {column.lower(): column for column in texts}
    pairs = [pair for pair in _PAIRS if lower.keys() >= {*pair}]
    if len(pairs) == 1:
        return (lower[pairs[0][0]], lower[pairs[0][1]])
    named = [column for column in texts if column.lower() in _NAMED]
    if len(named) == 1:
        return (named[0],)
    if named or not texts:
        return ()
    longest, *others = sorted(texts, key=lambda column: -_length(frame, column))
    if _is_prose(frame, longest) and all(_length(frame, longest) >= _LONGER * _length(frame, c) for c in others):
        return (longest,)
    return ()


def _texts(frame: pl.DataFrame, wanted: Wanted) -> list[str]:
    import polars as pl

    taken = {*wanted.label, wanted.group}
    return [
        column
        for column in frame.columns
        if frame[column].dtype == pl.String and column not in taken and column.lower() not in _LABELS
    ]


def _probed(frame: pl.DataFrame, column: str) -> list[str]:
    return [str(cell) for cell in frame[column].drop_nulls().head(_PROBED).to_list()]


def _length(frame: pl.DataFrame, column: str) -> float:
    cells = _probed(frame, column)
    return sum(map(len, cells)) / max(len(cells), 1)


def _is_prose(frame: pl.DataFrame, column: str) -> bool:
    cells = _probed(frame, column)
    return sum(len(cell.split()) - 1 for cell in cells) >= _WORDS * max(len(cells), 1)
