"""Predictions of many paths as one CSV file."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from headway.cli._screen import plain
from headway.errors import StorageError

if TYPE_CHECKING:
    from headway.run import Run
    from headway.run.read import Predictions
    from headway.types import Progress

Cell = str | float
_FORMULA = re.compile(r"[=@\t\r]|[+-].*[(|!]", re.DOTALL)


def predict_paths(
    run: Run, paths: Sequence[str], *, text: Sequence[str], strict: bool, progress: Progress | None
) -> Iterator[tuple[str, Predictions]]:
    """Predictions a source, each with what stands before its items' names: a folder's names are relative to it."""
    if len(paths) == 1:
        yield "", run.predict(paths[0], text=text, strict=strict, progress=progress)
        return
    for files, named in groupby(paths, key=_is_item):
        if files:
            yield "", run.predict(list(named), text=text, strict=strict, progress=progress)
            continue
        for path in named:
            before = f"{path.rstrip('/')}/" if Path(path).is_dir() else ""
            yield before, run.predict(path, text=text, strict=strict, progress=progress)


def rows(predictions: Predictions, before: str) -> Iterator[tuple[Cell, ...]]:
    """Item, prediction, and a column a class, as the task lays them out; text is made harmless, numbers short."""
    from headway import plugins
    from headway.modalities._source import display_name

    decode = plugins.load("tasks", predictions.task).decode
    names = [as_item(display_name(before) + name) for name in predictions.names]
    found = decode(predictions.answers, names=names, classes=predictions.classes, thresholds=predictions.thresholds)
    for item, *cells in found:
        yield item, *(as_label(cell) if isinstance(cell, str) else float(f"{cell:.6g}") for cell in cells)


def header(run: Run) -> list[str]:
    from headway import plugins

    return [as_label(name) for name in plugins.load("tasks", run.task).columns(run.classes)]


@contextmanager
def writer(out: str | None) -> Iterator[TextIO]:
    """Stdout, or a file that appears whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    if out is None:
        yield sys.stdout
        return
    target = Path(out)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        scratch.replace(target)
    except OSError as error:
        raise StorageError(
            "the predictions cannot be written",
            given=f"{out} ({error.strerror or error})",
            todo="Name another file with --out",
        ) from error
    finally:
        with suppress(OSError):
            scratch.unlink()


def write_rows(file: TextIO, table: Iterable[Sequence[Cell]]) -> None:
    """A file gets names as they are; a terminal gets them so that they cannot move its cursor."""
    shown = ([plain(cell) for cell in row] for row in table) if file.isatty() else table
    csv.writer(file, lineterminator="\n").writerows(shown)


def as_item(name: str) -> str:
    """A path that no spreadsheet takes for a formula: ``./`` before it names the same file.

    >>> as_item("=1+1.png"), as_item("a.png")
    ('./=1+1.png', 'a.png')
    """
    return f"./{name}" if name[:1] in tuple("=+-@\t\r") else name


def as_label(name: str) -> str:
    """A class that no spreadsheet takes for a formula: an apostrophe before what could call something.

    Numbers and signs stay as they are, so that labels can be compared with the user's own.

    >>> as_label("-1"), as_label("+"), as_label("-ve"), as_label("=cmd()"), as_label("+cmd()")
    ('-1', '+', '-ve', "'=cmd()", "'+cmd()")
    """
    return f"'{name}" if _FORMULA.match(name) else name


def _is_item(path: str) -> bool:
    """Whether a path is one file, not a folder or a glob."""
    return Path(path).is_file()
