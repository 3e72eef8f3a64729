"""Tables of paths (or image bytes) and labels: CSV, TSV, Parquet, JSON lines, and what ``datasets`` saves to disk."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.data._items import Items, part_of
from headway.errors import DataError, OptionError, did_you_mean
from headway.modalities._source import display_name
from headway.types import Part, Source

if TYPE_CHECKING:
    import polars as pl

_LABELS = ("label", "labels", "class", "class_name", "target", "category", "y")
_PARTS = ("split", "part", "subset", "partition")
_PROBED = 200  # values looked at to tell whether a column holds paths


@dataclass(frozen=True, slots=True)
class _Table:
    frame: pl.DataFrame
    folder: Path
    name: str
    latin: bool = False  # the text was not UTF-8: every byte became the character of its number


def items(path: Path, *, label: str | None, group: str | None, labelled: bool) -> Items:
    """The items of a table file; paths in it are relative to its folder."""
    table = _open(path)
    names = _class_names(path) if path.suffix.lower() == ".parquet" else {}
    return _items(table, names, label=label, group=group, labelled=labelled)


def saved(folder: Path, *, label: str | None, group: str | None, labelled: bool) -> Items:
    """The items of a folder written by ``save_to_disk``, one data set or a dictionary of parts."""
    parts = _json(folder / "dataset_dict.json").get("splits") if (folder / "dataset_dict.json").is_file() else None
    joined: Items | None = None
    for name in parts or [""]:
        table, names = _arrow(folder / name)
        one = _items(table, names, label=label, group=group, labelled=labelled)
        if parts:
            one.parts = [part_of(name)] * len(one.names)
            one.names = [f"{name}/{item}" for item in one.names]
        joined = one if joined is None else _join(joined, one)
    if joined is None:
        raise DataError("the saved data set has no parts", given=display_name(folder))
    joined.name = folder.name
    return joined


def _items(
    table: _Table, names: dict[str, list[str]], *, label: str | None, group: str | None, labelled: bool
) -> Items:
    frame = table.frame
    for wanted in (label, group):
        if wanted is not None and wanted not in frame.columns:
            raise OptionError(
                f"the table has no column {wanted!r}",
                given=display_name(table.name),
                allowed=", ".join(map(repr, frame.columns)),
                todo=did_you_mean(wanted, frame.columns),
            )
    path = _path_column(table, {label, group})
    part = next(
        (c for c in frame.columns if c.lower() in _PARTS and c not in (label, group, path) and _is_part(frame[c])), None
    )
    if labelled and label is None:
        label = _label_column(table, [c for c in frame.columns if c not in (path, part, group)])
    sources, shown = _sources(table, path)
    return Items(
        name=table.name,
        names=shown,
        sources=sources,
        labels=_labels(frame[label], names.get(label)) if labelled and label is not None else None,
        groups=frame[group].to_list() if group is not None else None,
        parts=[part_of(value) for value in frame[part]] if part is not None else None,
    )


def _labels(column: pl.Series, names: list[str] | None) -> list[Any]:
    """Values, or the class names that a saved data set gives to its numbers; -1 is its sign for "no label"."""
    if names is None:
        return column.to_list()
    return [None if value is None or value < 0 else names[value] for value in column]


def _path_column(table: _Table, taken: set[str | None]) -> str:
    """The column of image bytes, else the one whose values are most often files."""
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
            files = sum(_file(table, value).is_file() for value in probed)
            if probed and files / len(probed) > share:
                best, share = name, files / len(probed)
    if not best:
        raise DataError(
            "no column of the table holds paths of files",
            given=f"{display_name(table.name)} with the columns {', '.join(map(repr, table.frame.columns))}",
            allowed=f"paths relative to {display_name(table.folder)}, or absolute ones",
            todo="Put the table beside the images, or correct the paths",
        )
    return best


def _label_column(table: _Table, candidates: list[str]) -> str:
    named = [c for c in candidates if c.lower() in _LABELS]
    n = table.frame.height
    # A column that differs in every row is an identifier, and one that never differs says nothing.
    sensible = [c for c in candidates if _hashable(table.frame[c]) and 1 < table.frame[c].n_unique() < max(n, 3)]
    for found in (named, sensible):
        if len(found) == 1:
            return found[0]
    raise OptionError(
        "it is not clear which column holds the labels",
        given=f"{display_name(table.name)} with the columns {', '.join(map(repr, table.frame.columns))}",
        allowed=" or ".join(f"--label {c}" for c in candidates) or "a table with a label column",
        todo="Name the column with --label",
    )


def _hashable(column: pl.Series) -> bool:
    return not column.dtype.is_nested()


def _is_part(column: pl.Series) -> bool:
    values = column.drop_nulls().unique().to_list()
    return bool(values) and all(part_of(value) for value in values)


def _file(table: _Table, value: str) -> Path:
    # Text that was not UTF-8 was read byte for byte: back to those bytes, which the file system knows.
    return table.folder / (os.fsdecode(value.encode("latin-1")) if table.latin else value)


def _sources(table: _Table, name: str) -> tuple[list[Source], list[str]]:
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


def _open(path: Path) -> _Table:
    import polars as pl

    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            return _Table(pl.read_parquet(path), path.parent, path.name)
        data = path.read_bytes()
        if kind in (".jsonl", ".ndjson"):
            return _Table(pl.read_ndjson(data, infer_schema_length=None), path.parent, path.name)
        return _csv(path, data)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            "the table cannot be read", given=f"{display_name(path)} ({str(error).splitlines()[0]})"
        ) from error


def _csv(path: Path, data: bytes) -> _Table:
    """All columns as text, so that a label "007" stays what it is."""
    import polars as pl

    try:
        text, latin = data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        text, latin = data.decode("latin-1"), True
    header = text.partition("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    frame = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False)
    twice = sorted({c.rpartition("_duplicated_")[0] for c in frame.columns if "_duplicated_" in c})
    if twice:
        raise DataError(
            "columns of the table have the same name",
            given=f"{display_name(path)}: {', '.join(map(repr, twice))}",
            todo="Rename them, so that each column has a name of its own",
        )
    return _Table(frame, path.parent, path.name, latin)


def _arrow(folder: Path) -> tuple[_Table, dict[str, list[str]]]:
    import polars as pl

    files = [entry["filename"] for entry in _json(folder / "state.json").get("_data_files", [])]
    try:
        frame = pl.concat([pl.read_ipc_stream(folder / Path(name).name) for name in files])
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        given = f"{display_name(folder)} ({str(error).splitlines()[0]})"
        raise DataError("the saved data set cannot be read", given=given) from error
    features = _json(folder / "dataset_info.json").get("features") or {}
    return _Table(frame, folder, folder.name), _names_in(features)


def _names_in(features: dict[str, Any]) -> dict[str, list[str]]:
    classes = {name: f for name, f in features.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"}
    return {name: list(feature["names"]) for name, feature in classes.items()}


def _class_names(path: Path) -> dict[str, list[str]]:
    """Class names that ``datasets`` writes into a Parquet file's metadata."""
    import polars as pl

    written = pl.read_parquet_metadata(path).get("huggingface")
    return _names_in(json.loads(written)["info"]["features"]) if written else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError("the saved data set is damaged", given=f"{display_name(path)} ({error})") from error
    return value if isinstance(value, dict) else {}


def _join(first: Items, second: Items) -> Items:
    for column in ("names", "sources", "labels", "groups", "parts"):
        ours: list[Part | None] | None = getattr(first, column)
        theirs = getattr(second, column)
        if ours is not None and theirs is not None:
            ours.extend(theirs)
    return first
