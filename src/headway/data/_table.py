"""Tables of paths (or image bytes) and labels: CSV, TSV, Parquet, JSON lines, and what ``datasets`` saves to disk."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.data._items import Items, Wanted, part_of, warning
from headway.data._label_columns import labels_of
from headway.errors import DataError, OptionError, did_you_mean
from headway.modalities._source import display_name
from headway.types import Finding, Part, Source

if TYPE_CHECKING:
    import polars as pl

_LABELS = ("label", "labels", "class", "class_name", "target", "category", "y")
_PARTS = ("split", "part", "subset", "partition")
_SHARD = re.compile(r"(.+?)-\d{5}-of-(\d{5})(?:-[0-9a-f]+)?\.parquet")  # train-00000-of-00002.parquet
_PROBED = 200  # values looked at to tell whether a column holds paths


@dataclass(frozen=True, slots=True)
class _Table:
    frame: pl.DataFrame
    folder: Path
    name: str
    latin: bool = False  # the text was not UTF-8: every byte became the character of its number


def items(path: Path, wanted: Wanted) -> Items:
    """The items of a table file; paths in it are relative to its folder."""
    table = _open(path)
    names = _class_names(path) if path.suffix.lower() == ".parquet" else {}
    return _items(table, names, wanted)


def saved(folder: Path, wanted: Wanted) -> Items:
    """The items of a folder written by ``save_to_disk``, one data set or several parts, or of Parquet files."""
    files: dict[str, list[Path]] = {}
    parts: list[str] | None = None
    if (folder / "dataset_dict.json").is_file():
        parts = _json(folder / "dataset_dict.json").get("splits")
    elif not (folder / "state.json").is_file():
        files = shards(folder)
        parts = list(files)
    joined: Items | None = None
    for name in parts or [""]:
        table, names = _parquet(folder, files[name]) if files else _arrow(folder / name)
        one = _items(table, names, wanted)
        if parts:
            one.parts = [part_of(name)] * len(one.names)
            one.names = [f"{name}/{item}" for item in one.names]
        joined = one if joined is None else _join(joined, one)
    if joined is None:
        raise DataError("the saved data set has no parts", given=display_name(folder))
    joined.name = folder.name
    joined.findings += _absent_shards(files)
    return joined


def shards(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of each part, as a data set of the hub has them: ``data/train-00000-of-00002.parquet``.

    Files named ``train.parquet`` count as well, but not beside folders, which may be classes.
    """
    inside = folder if any(folder.glob("*.parquet")) else folder / "data"
    alone = not any(entry.is_dir() for entry in inside.glob("[!.]*"))
    found: dict[str, list[Path]] = {}
    for path in sorted(inside.glob("*.parquet")):
        shard = _SHARD.fullmatch(path.name)
        if shard or (alone and part_of(path.stem)):
            found.setdefault(shard[1] if shard else path.stem, []).append(path)
    return found


def _absent_shards(files: dict[str, list[Path]]) -> list[Finding]:
    absent = []
    for part, paths in files.items():
        wanted = max((int(shard[2]) for path in paths if (shard := _SHARD.fullmatch(path.name))), default=0)
        if len(paths) < wanted:
            absent.append(f"{part}: {len(paths)} of {wanted} files are here")
    return [warning("absent_shards", "Files of the saved data set are missing.", absent)] if absent else []


def _items(table: _Table, names: dict[str, list[str]], wanted: Wanted) -> Items:
    frame, group = table.frame, wanted.group
    for column in (*wanted.label, *([] if group is None else [group])):
        if column not in frame.columns:
            raise OptionError(
                f"the table has no column {column!r}",
                given=display_name(table.name),
                allowed=", ".join(map(repr, frame.columns)),
                todo=did_you_mean(column, frame.columns),
            )
    label = wanted.label
    if not label and len(wanted.known) > 1 and set(wanted.known) <= set(frame.columns):
        label = wanted.known
    path = _path_column(table, {*label, group})
    part = next(
        (c for c in frame.columns if c.lower() in _PARTS and c not in (*label, group, path) and _is_part(frame[c])),
        None,
    )
    if wanted.labelled and not label:
        label = (_label_column(table, [c for c in frame.columns if c not in (path, part, group)]),)
    sources, shown = _sources(table, path)
    return Items(
        name=table.name,
        names=shown,
        sources=sources,
        labels=labels_of(frame, label, names) if wanted.labelled else None,
        groups=frame[group].to_list() if group is not None else None,
        parts=[part_of(value) for value in frame[part]] if part is not None else None,
    )


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


def _parquet(folder: Path, files: list[Path]) -> tuple[_Table, dict[str, list[str]]]:
    """Files of one part as one table."""
    import polars as pl

    try:
        frame = pl.concat([pl.read_parquet(path) for path in files])
    except (OSError, pl.exceptions.PolarsError) as error:
        given = f"{display_name(folder)}: {', '.join(path.name for path in files)} ({str(error).splitlines()[0]})"
        raise DataError("the saved data set cannot be read", given=given) from error
    return _Table(frame, files[0].parent, folder.name), _class_names(files[0])


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
    # A list of class labels holds their feature inside its own.
    inner = {name: f.get("feature", f) if isinstance(f, dict) else f for name, f in features.items()}
    classes = {name: f for name, f in inner.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"}
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
