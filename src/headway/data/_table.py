"""Tables of paths (or image bytes) and labels: CSV, TSV, Parquet, JSON lines, and what ``datasets`` saves to disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from headway.data import _tagged, _text_columns
from headway.data._items import Items, Wanted, is_file, part_of, warning
from headway.data._label_columns import labels_of
from headway.data._open_table import Table, absent_shards, arrow, class_names, open_table, parquet, read_json, shards
from headway.data._texts import modality_of
from headway.errors import DataError, OptionError, did_you_mean
from headway.modalities._source import display_name
from headway.types import Part, Source

if TYPE_CHECKING:
    import polars as pl

_LABELS = ("label", "labels", "class", "class_name", "target", "category", "y")
_PARTS = ("split", "part", "subset", "partition")
_PROBED = 200  # values looked at to tell whether a column holds paths


def items(path: Path, wanted: Wanted) -> Items:
    """The items of a table file; paths in it are relative to its folder."""
    table = open_table(path)
    names = class_names(path) if path.suffix.lower() == ".parquet" else {}
    return _items(table, names, wanted)


def saved(folder: Path, wanted: Wanted) -> Items:
    """The items of a folder written by ``save_to_disk``, one data set or several parts, or of Parquet files."""
    files: dict[str, list[Path]] = {}
    parts: list[str] | None = None
    if (folder / "dataset_dict.json").is_file():
        parts = read_json(folder / "dataset_dict.json").get("splits")
    elif not (folder / "state.json").is_file():
        files = shards(folder)
        parts = list(files)
    joined: Items | None = None
    for name in parts or [""]:
        table, names = parquet(folder, files[name]) if files else arrow(folder / name)
        one = _items(table, names, wanted)
        if parts:
            one.parts = [part_of(name)] * len(one.names)
            one.names = [f"{name}/{item}" for item in one.names]
        joined = one if joined is None else _join(joined, one)
    if joined is None:
        raise DataError("the saved data set has no parts", given=display_name(folder))
    joined.name = folder.name
    joined.findings += absent_shards(files)
    return joined


def _items(table: Table, names: dict[str, list[str]], wanted: Wanted) -> Items:
    frame, group = table.frame, wanted.group
    for column in (*wanted.label, *wanted.text, *([] if group is None else [group])):
        if column not in frame.columns:
            raise OptionError(
                f"the table has no column {column!r}",
                given=display_name(table.name),
                allowed=", ".join(map(repr, frame.columns)),
                todo=did_you_mean(column, frame.columns),
            )
    if wanted.task == "tagging":
        return _tagged.table(frame, names, wanted, name=table.name)
    if wanted.text or wanted.modality == "text":
        return _of_texts(table, names, wanted)
    label = wanted.label
    if not label and len(wanted.known) > 1 and set(wanted.known) <= set(frame.columns):
        label = wanted.known
    path = _path_column(table, {*label, group})
    if not path:
        if wanted.modality is None and _text_columns.clear(frame, wanted):
            return _of_texts(table, names, wanted)
        raise _no_paths(table)
    part = _part_column(frame, {*label, group, path})
    if wanted.labelled and not label:
        label = (_label_column(table, [c for c in frame.columns if c not in (path, part, group)]),)
    sources, shown = _sources(table, path)
    items = Items(
        name=table.name,
        names=shown,
        sources=sources,
        labels=labels_of(frame, label, names) if wanted.labelled else None,
        groups=frame[group].to_list() if group is not None else None,
        parts=[part_of(value) for value in frame[part]] if part is not None else None,
    )
    if wanted.modality is None and any(isinstance(source, Path) for source in sources):
        items.modality = modality_of(shown, table.folder)
    return items


def _of_texts(table: Table, names: dict[str, list[str]], wanted: Wanted) -> Items:
    """The rows of a table whose cells are the texts themselves."""
    frame, group = _text_columns.decoded(table.frame) if table.latin else table.frame, wanted.group
    text = _text_columns.find(frame, wanted, name=table.name)
    label = wanted.label
    if not label and len(wanted.known) > 1 and set(wanted.known) <= set(frame.columns):
        label = wanted.known
    part = _part_column(frame, {*label, *text, group})
    if wanted.labelled and not label:
        taken = (*text, part, group)
        candidates = [c for c in frame.columns if c not in taken]
        label = (_target_column(table, candidates) if wanted.task == "seq2seq" else _label_column(table, candidates),)
    return Items(
        name=table.name,
        names=[f"row {row}" for row in range(frame.height)],
        sources=_text_columns.sources(frame, text),
        labels=labels_of(frame, label, names) if wanted.labelled else None,
        groups=frame[group].to_list() if group is not None else None,
        parts=[part_of(value) for value in frame[part]] if part is not None else None,
        modality="text",
        findings=[warning("odd_table", f"The table {table.odd}.", ())] if table.odd else [],
    )


def _part_column(frame: pl.DataFrame, taken: set[str | None]) -> str | None:
    return next((c for c in frame.columns if c.lower() in _PARTS and c not in taken and _is_part(frame[c])), None)


def _path_column(table: Table, taken: set[str | None]) -> str:
    """The column of image bytes, else the one whose values are most often files; "" where none holds any."""
    import polars as pl

    best, share = "", 0.0
    for name in table.frame.columns:
        column = table.frame[name]
        if name in taken:
            continue
        if column.dtype == pl.Binary or (isinstance(column.dtype, pl.Struct) and "bytes" in column.struct.fields):
            return name
        if column.dtype == pl.String:
            probed = column.drop_nulls().head(_PROBED).to_list()
            files = sum(is_file(_file(table, value)) for value in probed)
            if probed and files / len(probed) > share:
                best, share = name, files / len(probed)
    return best


def _no_paths(table: Table) -> DataError:
    return DataError(
        "no column of the table holds paths of files",
        given=f"{display_name(table.name)} with the columns {', '.join(map(repr, table.frame.columns))}",
        allowed=f"paths relative to {display_name(table.folder)}, or absolute ones",
        todo="Put the table beside the images, or correct the paths; where a column holds texts, name it with --text",
    )


def _target_column(table: Table, candidates: list[str]) -> str:
    return _text_columns.targets(table.frame, candidates) or _unclear(table, candidates, "texts to be written")


def _label_column(table: Table, candidates: list[str]) -> str:
    named = [c for c in candidates if c.lower() in _LABELS]
    n = table.frame.height
    # A column that differs in every row is an identifier, and one that never differs says nothing.
    sensible = [c for c in candidates if _hashable(table.frame[c]) and 1 < table.frame[c].n_unique() < max(n, 3)]
    for found in (named, sensible):
        if len(found) == 1:
            return found[0]
    return _unclear(table, candidates, "labels")


def _unclear(table: Table, candidates: list[str], what: str) -> NoReturn:
    raise OptionError(
        f"it is not clear which column holds the {what}",
        given=f"{display_name(table.name)} with the columns {', '.join(map(repr, table.frame.columns))}",
        allowed=" or ".join(f"--label {c}" for c in candidates) or "a table with a label column",
        todo="Name the column with --label",
    )


def _hashable(column: pl.Series) -> bool:
    return not column.dtype.is_nested()


def _is_part(column: pl.Series) -> bool:
    values = column.drop_nulls().unique().to_list()
    return bool(values) and all(part_of(value) for value in values)


def _file(table: Table, value: str) -> Path:
    # Text that was not UTF-8 was read byte for byte: back to those bytes, which the file system knows.
    return table.folder / (os.fsdecode(value.encode("latin-1")) if table.latin else value)


def _sources(table: Table, name: str) -> tuple[list[Source], list[str]]:
    sources: list[Source] = []
    shown: list[str] = []
    for row, value in enumerate(table.frame[name].to_list()):
        data = value.get("bytes") if isinstance(value, dict) else value
        path = value.get("path") if isinstance(value, dict) else value
        if isinstance(data, bytes):
            sources.append(data)
            shown.append(path if isinstance(value, dict) and path else f"row {row}")
        elif isinstance(path, str):
            sources.append(_file(table, path))
            shown.append(path)
        else:
            sources.append(b"")
            shown.append(f"row {row}")
    return sources, shown


def _join(first: Items, second: Items) -> Items:
    for column in ("names", "sources", "labels", "groups", "parts"):
        ours: list[Part | None] | None = getattr(first, column)
        theirs = getattr(second, column)
        if ours is not None and theirs is not None:
            ours.extend(theirs)
    return first
