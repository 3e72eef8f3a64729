"""Opening tables: CSV and TSV whatever their separator and encoding, Parquet, JSON lines, Arrow, and class names."""

from __future__ import annotations

import codecs
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.data._items import part_of, warning
from headway.errors import DataError
from headway.modalities._encoding import to_text
from headway.modalities._source import display_name
from headway.types import Finding

if TYPE_CHECKING:
    import polars as pl

_SHARD = re.compile(r"(.+?)-\d{5}-of-(\d{5})(?:-[0-9a-f]+)?\.parquet")  # train-00000-of-00002.parquet
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Table:
    """A table's content and what it is called; paths in it are relative to its folder."""

    frame: pl.DataFrame
    folder: Path
    name: str
    latin: bool = False  # the text was not UTF-8: every byte became the character of its number
    odd: str = ""  # what was odd about the encoding, in a few words


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


def absent_shards(files: dict[str, list[Path]]) -> list[Finding]:
    absent = []
    for part, paths in files.items():
        wanted = max((int(shard[2]) for path in paths if (shard := _SHARD.fullmatch(path.name))), default=0)
        if len(paths) < wanted:
            absent.append(f"{part}: {len(paths)} of {wanted} files are here")
    return [warning("absent_shards", "Files of the saved data set are missing.", absent)] if absent else []


def open_table(path: Path) -> Table:
    import polars as pl

    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            return Table(pl.read_parquet(path), path.parent, path.name)
        data = path.read_bytes()
        if kind in (".jsonl", ".ndjson"):
            lines = to_text(data)  # which may be UTF-16, begin with a mark, or be damaged in places
            frame = pl.read_ndjson(lines.text.encode(), infer_schema_length=None)
            return Table(frame, path.parent, path.name, odd=lines.odd)
        return _csv(path, data)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            "the table cannot be read", given=f"{display_name(path)} ({str(error).splitlines()[0]})"
        ) from error


def parquet(folder: Path, files: list[Path]) -> tuple[Table, dict[str, list[str]]]:
    """Files of one part as one table."""
    import polars as pl

    try:
        frame = pl.concat([pl.read_parquet(path) for path in files])
    except (OSError, pl.exceptions.PolarsError) as error:
        given = f"{display_name(folder)}: {', '.join(path.name for path in files)} ({str(error).splitlines()[0]})"
        raise DataError("the saved data set cannot be read", given=given) from error
    return Table(frame, files[0].parent, folder.name), class_names(files[0])


def _csv(path: Path, data: bytes) -> Table:
    """All columns as text, so that a label "007" stays what it is."""
    import polars as pl

    latin, odd = False, ""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = to_text(data).text
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text, latin = data.decode("latin-1"), True
            odd = "is not UTF-8 throughout: each cell was read on its own, as UTF-8 or else as Windows-1252"
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of old Macs
    header = _QUOTED.sub("", text.partition("\n")[0])
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    frame = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False)
    twice = sorted({c.rpartition("_duplicated_")[0] for c in frame.columns if "_duplicated_" in c} & {*frame.columns})
    if twice:
        raise DataError(
            "columns of the table have the same name",
            given=f"{display_name(path)}: {', '.join(map(repr, twice))}",
            todo="Rename them, so that each column has a name of its own",
        )
    return Table(frame, path.parent, path.name, latin, odd)


def arrow(folder: Path) -> tuple[Table, dict[str, list[str]]]:
    import polars as pl

    files = [entry["filename"] for entry in read_json(folder / "state.json").get("_data_files", [])]
    try:
        frame = pl.concat([pl.read_ipc_stream(folder / Path(name).name) for name in files])
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        given = f"{display_name(folder)} ({str(error).splitlines()[0]})"
        raise DataError("the saved data set cannot be read", given=given) from error
    features = read_json(folder / "dataset_info.json").get("features") or {}
    return Table(frame, folder, folder.name), _names_in(features)


def _names_in(features: dict[str, Any]) -> dict[str, list[str]]:
    # A list of class labels holds their feature inside its own.
    inner = {name: f.get("feature", f) if isinstance(f, dict) else f for name, f in features.items()}
    classes = {name: f for name, f in inner.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"}
    return {name: list(feature["names"]) for name, feature in classes.items()}


def class_names(path: Path) -> dict[str, list[str]]:
    """Class names that ``datasets`` writes into a Parquet file's metadata."""
    import polars as pl

    written = pl.read_parquet_metadata(path).get("huggingface")
    return _names_in(json.loads(written)["info"]["features"]) if written else {}


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError("the saved data set is damaged", given=f"{display_name(path)} ({error})") from error
    return value if isinstance(value, dict) else {}
