"""Tokens and their tags: files with a token a line, and tables with lists of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.data._items import Items, Wanted, part_of
from headway.data._label_columns import labels_of
from headway.errors import DataError, OptionError
from headway.modalities import text
from headway.modalities._source import display_name

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".tsv", ".txt", ".data")
"""Files with a token a line; ``.tsv``, ``.txt`` and ``.data`` only where the task is tagging."""

_TOKENS = ("tokens", "words")
_TAGS = ("tags", "ner_tags", "pos_tags", "chunk_tags", "labels", "upos")
_Sentence = tuple[tuple[str, ...], tuple[str, ...]]


def column_file(path: Path, wanted: Wanted) -> Items:
    """The sentences of a file with a token a line and an empty line between sentences.

    Columns are parted by tabs or blanks. The first holds tokens and the last tags (of ``.conllu`` the second and the
    fourth), unless ``text`` and ``label`` give their numbers, counted from 1. ``-DOCSTART-`` lines are skipped, as are
    comments, ranges and empty nodes of ``.conllu``.

    Raises :class:`DataError` where a line lacks a column, :class:`OptionError` for what is no column's number.
    """
    universal = path.suffix.lower() == ".conllu"
    token, tag = _column(wanted.text, 1 if universal else 0), _column(wanted.label, 3 if universal else -1)
    items = Items(name=path.name, names=[], sources=[], labels=[], modality="text")
    for number, rows in _sentences(path, universal=universal):
        try:
            tokens, tags = tuple(row[token] for row in rows), tuple(row[tag] for row in rows)
        except IndexError as error:
            raise _short(path, number, rows, needed=max(token, tag) + 1) from error
        if not wanted.text and not wanted.label and any(len(row) < 2 for row in rows):
            raise _short(path, number, rows, needed=2)
        items.names.append(f"line {number}")
        items.sources.append(tokens)
        assert items.labels is not None
        items.labels.append(tags)
    if not items.names:
        raise DataError("the file holds no tokens", given=display_name(path), allowed="a token and its tag a line")
    return items


def column_files(folder: Path, wanted: Wanted) -> Items:
    """The sentences of all such files in a folder; ``train.txt``, ``dev.txt`` and ``test.txt`` are its parts."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    named = [path for path in paths if part_of(path.stem)]
    joined = Items(name=folder.name, names=[], sources=[], labels=[], parts=[] if named else None, modality="text")
    for path in named or [path for path in paths if not path.stem.lower().startswith("readme")]:
        one = column_file(path, wanted)
        joined.names += [f"{path.name} {name}" for name in one.names]
        joined.sources += one.sources
        assert joined.labels is not None
        joined.labels += one.labels or []
        if joined.parts is not None:
            joined.parts += [part_of(path.stem)] * len(one.names)
    if not joined.names:
        raise DataError(
            "the folder holds no files of tokens and tags",
            given=display_name(folder),
            allowed=f"files with a token and its tag a line, named {', '.join(SUFFIXES)}",
        )
    return joined


def table(frame: pl.DataFrame, names: dict[str, list[str]], wanted: Wanted, *, name: str) -> Items:
    """The rows of a table with a list of tokens and a list of tags each; without tags where none are wanted.

    Raises :class:`OptionError` where the columns are not there or not clear.
    """
    token = wanted.text[0] if wanted.text else _named(frame, _TOKENS, "tokens", "--text", name)
    tokens = [None if row is None else tuple("" if t is None else str(t) for t in row) for row in frame[token]]
    items = Items(
        name=name,
        names=[f"row {row}" for row in range(len(tokens))],
        sources=[tokens_of or () for tokens_of in tokens],
        groups=frame[wanted.group].to_list() if wanted.group is not None else None,
        modality="text",
    )
    if wanted.labelled:
        tag = wanted.label[0] if wanted.label else _named(frame, _TAGS, "tags", "--label", name)
        items.labels = [None if tags is None else tags_of(tags) for tags in labels_of(frame, (tag,), names)]
    return items


def tags_of(tags: Sequence[Any]) -> tuple[str, ...]:
    """Tags as texts; a missing one is the empty text."""
    return tuple("" if tag is None else str(tag) for tag in tags)


def mismatched(items: Items) -> dict[int, str]:
    """Rows without exactly one tag a token, and what is wrong with them."""
    bad: dict[int, str] = {}
    if items.labels is None:
        return bad
    for row, (tokens, tags) in enumerate(zip(items.sources, items.labels, strict=True)):
        if isinstance(tokens, tuple) and tags is not None and len(tokens) != len(tags):
            bad[row] = f"has {len(tokens)} tokens and {len(tags)} tags"
        elif tags is not None and not all(tags):
            bad[row] = "has a token without a tag"
    return bad


def _sentences(path: Path, *, universal: bool) -> Iterator[tuple[int, list[list[str]]]]:
    """The number of each sentence's first line, and its rows."""
    content = text.decode(path)
    assert isinstance(content, str)
    lines = content.replace("\r\n", "\n").split("\n")  # not splitlines, which also parts at characters inside tokens
    tabbed = any("\t" in line for line in lines)
    start, rows = 0, list[list[str]]()
    for number, line in enumerate([*lines, ""], 1):
        row = line.split("\t") if tabbed else line.split()
        if not line.strip():
            if rows:
                yield start, rows
            rows = []
        elif row[0] == "-DOCSTART-" or (universal and (line.startswith("#") or not row[0].isdigit())):
            continue
        else:
            start = start if rows else number
            rows.append([cell.strip() for cell in row])


def _column(given: tuple[str, ...], default: int) -> int:
    if not given:
        return default
    if not given[0].isdecimal() or int(given[0]) < 1:
        raise OptionError(
            "a file of tokens has no names of columns", given=repr(given[0]), allowed="a column's number, from 1"
        )
    return int(given[0]) - 1


def _short(path: Path, number: int, rows: list[list[str]], *, needed: int) -> DataError:
    at = next(i for i, row in enumerate(rows) if len(row) < needed)
    return DataError(
        "a line of the file has too few columns",
        given=f"{display_name(path)}, line {number + at}: {' '.join(rows[at])!r}",
        allowed=f"a token and its tag a line, {needed} columns or more",
    )


def _named(frame: pl.DataFrame, known: Sequence[str], what: str, option: str, name: str) -> str:
    nested = [column for column in frame.columns if frame[column].dtype.is_nested()]
    found = [column for column in nested if column.lower() in known]
    if len(found) == 1:
        return found[0]
    raise OptionError(
        f"it is not clear which column holds the {what}",
        given=f"{display_name(name)} with the columns {', '.join(map(repr, frame.columns))}",
        allowed=" or ".join(f"{option} {c}" for c in found or nested) or "a column of lists",
        todo=f"Name the column with {option}",
    )
