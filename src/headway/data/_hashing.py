"""What identifies each item's content, and which items cannot be used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from headway.data import _tagged, _texts
from headway.data._items import IMAGE_SUFFIXES, SHOWN, Items, warning
from headway.data.index import ContentIndex, contents
from headway.errors import DataError
from headway.modalities import image
from headway.modalities._source import display_name
from headway.types import ByteArray, Finding, Source


def hashed_texts(
    items: Items, *, cleaning: Sequence[str], every: bool, tagged: bool = False
) -> tuple[ByteArray, dict[int, str], list[int]]:
    """As :func:`hashed` for texts, which are read on the way: the sources become the texts themselves.

    ``every`` takes every file of a folder for a text that is meant, whatever its name. ``tagged``: the labels are tags,
    one a token.
    """
    ignored = [] if items.listed or every else [row for row, name in enumerate(items.names) if not _texts.meant(name)]
    bad = _texts.prepare(items, cleaning=cleaning, ignored=set(ignored))
    if tagged:
        bad |= _tagged.mismatched(items)
    digests = np.zeros((len(items.names), 16), np.uint8)
    for row in {*range(len(items.names))} - {*bad, *ignored}:
        digests[row] = np.frombuffer(_digest(items.sources[row]), np.uint8)
    return digests, bad, ignored


def hashed(items: Items, index: ContentIndex | None) -> tuple[ByteArray, dict[int, str], list[int]]:
    """Digests ``[n, 16]``, the reason why each bad item is bad, and the rows of files that were never meant."""
    files = [(row, str(source)) for row, source in enumerate(items.sources) if isinstance(source, Path)]
    digests = np.zeros((len(items.names), 16), np.uint8)
    bad: dict[int, str] = {}
    ignored: list[int] = []
    for row, source in enumerate(items.sources):
        if isinstance(source, str | tuple):
            bad[row] = "is no image but text"
        elif not isinstance(source, Path):
            digests[row] = np.frombuffer(_digest(source), np.uint8)
            if isinstance(source, bytes) and not image.sniff(source):
                bad[row] = "is not an image" if source else "is empty"
    found = contents([path for _, path in files], wanted=image.sniff, index=index)
    good = [(row, content.digest) for (row, _), content in zip(files, found, strict=True) if content.digest]
    if good:
        digests[[row for row, _ in good]] = np.frombuffer(b"".join(d for _, d in good), np.uint8).reshape(-1, 16)
    if len(good) == len(files):
        return digests, bad, ignored
    for (row, path), content in zip(files, found, strict=True):
        if content.digest is None:
            if not items.listed and not content.error and not path.lower().endswith(IMAGE_SUFFIXES):
                ignored.append(row)
            else:
                bad[row] = content.error or ("is not an image" if content.head else "is empty (zero bytes)")
    return digests, bad, ignored


def _digest(source: Source) -> bytes:
    """Of a text, that of its UTF-8 bytes, so that a cell and a file with the same text are the same item."""
    state = blake2b(digest_size=16)
    if isinstance(source, tuple):  # each with its length, so that ("ab", "c") is not ("a", "bc")
        for part in source:
            encoded = part.encode()
            state.update(b"%d:" % len(encoded) + encoded)
        return state.digest()
    if isinstance(source, str | Path):
        state.update(os.fsencode(source) if isinstance(source, Path) else source.encode())
        return state.digest()
    if isinstance(source, np.ndarray):  # pixels alone would make a 2 x 8 image equal to a 4 x 4 one
        state.update(repr(source.shape).encode())
        source = source.tobytes()
    state.update(source)
    return state.digest()


def bad_items(items: Items, bad: dict[int, str], strict: bool) -> list[Finding]:
    if not bad:
        return []
    shown = [f"{display_name(items.names[row])} {reason}" for row, reason in list(bad.items())[:SHOWN]]
    if strict:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"{len(bad)} items cannot be used",
            given="; ".join(shown) + more,
            todo="Mend or remove them, or do not ask for strict",
        )
    return [warning("bad_items", f"{len(bad)} items cannot be used and were left out.", shown)]
