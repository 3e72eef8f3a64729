"""Where a run goes when the user does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from headway.errors import StorageError


@contextmanager
def claimed(out: str | None, data: str) -> Iterator[Path]:
    """``out``; or the first free ``runs/NAME-1``, ``-2``, ..., made at once so that two commands never share one."""
    if out is not None:
        yield Path(out)
        return
    folder = _free(_name(data))
    try:
        yield folder
    finally:
        with suppress(OSError):  # nothing was begun in it
            folder.rmdir()


def _free(name: str) -> Path:
    for number in count(1):
        folder = Path("runs") / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(
                "there is no place for the run",
                given=f"{folder} ({error.strerror or error})",
                todo="Name a folder with --out",
            ) from error
        return folder
    raise AssertionError("unreachable: counting has no end")


def _name(data: str) -> str:
    """The data's own name, as far as it makes a plain file name.

    >>> _name("/data/my birds/"), _name("birds.csv"), _name("..")[:1] != "."
    ('my-birds', 'birds', True)
    """
    path = Path(data)
    stem = path.stem if path.is_file() or path.suffix else path.resolve().name
    return re.sub(r"[^\w.]+", "-", stem, flags=re.ASCII).strip("-.") or "data"
