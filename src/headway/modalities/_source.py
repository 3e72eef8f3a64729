"""Where bytes come from, and how a name is shown: shared by every modality."""

from __future__ import annotations

import os
from pathlib import Path

from headway.errors import DataError
from headway.types import Source


def content(source: Path | bytes, *, what: str = "image") -> bytes:
    """The encoded bytes of a source. Raises :class:`DataError` when they cannot be read or are none."""
    if isinstance(source, bytes):
        data = source
    else:
        try:
            data = source.read_bytes()
        except OSError as error:
            raise bad_item(source, f"it cannot be opened ({error.strerror or error})", what=what) from error
    if not data:
        raise bad_item(source, "it is empty (zero bytes)", what=what)
    return data


def bad_item(source: Source, reason: str, *, what: str = "image") -> DataError:
    """The error for one item that cannot be used; the caller skips and counts it, or stops where it is strict."""
    return DataError(
        f"the {what} cannot be used: {reason}",
        given=display_name(source),
        todo="Replace or remove it; unless strict is asked for, bad items are skipped and counted",
    )


def display_name(source: object) -> str:
    r"""A name that is safe to print: one line, valid UTF-8, whatever bytes the file system holds.

    >>> print(display_name("two\nlines\udcff.png"))
    two\nlines\xff.png
    """
    if isinstance(source, bytes):
        return f"{len(source):,} bytes in memory"
    if not isinstance(source, str | Path):
        return "an array in memory"
    text = os.fspath(source)
    if text.isprintable():  # lone surrogates, which stand for bytes that are not UTF-8, are not printable
        return text
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
