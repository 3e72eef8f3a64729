"""Items of text: from files, bytes and cells to the texts themselves, empty ones found, odd ones named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from headway.data._items import IMAGE_SUFFIXES, TEXT_SUFFIXES, Items, warning
from headway.errors import DataError
from headway.modalities import text
from headway.modalities._source import display_name
from headway.types import Finding, Source

_PROBED = 20  # files looked into where no name tells what they are


def modality_of(names: Sequence[str], root: Path) -> str:
    """What the files of a folder are, by their names; by the first bytes of some where no name tells."""
    suffixes = [os.path.splitext(name)[1].lower() for name in names]  # noqa: PTH122 (a Path each costs too much)
    images = sum(suffix in IMAGE_SUFFIXES for suffix in suffixes)
    texts = sum(suffix in TEXT_SUFFIXES for suffix in suffixes)
    if images or texts:
        return "text" if texts > images else "image"
    bare = [name for name, suffix in zip(names, suffixes, strict=True) if not suffix]
    probed = bare[:: max(1, len(bare) // _PROBED)][:_PROBED]
    return "text" if probed and all(_is_text(root / name) for name in probed) else "image"


def meant(name: str) -> bool:
    """Whether a file in a folder of texts is one of them, by its name: ``.txt``, or no suffix."""
    suffix = Path(name).suffix.lower()
    return suffix in TEXT_SUFFIXES or not suffix


def prepare(items: Items, *, cleaning: Sequence[str], ignored: set[int]) -> dict[int, str]:
    """Put the texts themselves in place of files and bytes, cleaned as asked; the reason why each bad item is bad.

    Adds findings for texts whose bytes were odd. Raises :class:`OptionError` for an unknown cleaning.
    """
    text.checked_cleaning(cleaning)
    bad: dict[int, str] = {}
    odd: list[str] = []
    for row, source in enumerate(items.sources):
        if row in ignored:
            continue
        try:
            read, notes = text.load(source)
        except DataError as error:
            bad[row] = error.what.partition(": ")[2] or error.what
            continue
        if cleaning:
            read = text.clean(read, cleaning)
        if notes:
            odd.append(f"{display_name(items.names[row])} {notes}")
        items.sources[row] = read
        if is_empty(read):
            bad[row] = "is empty"
    items.findings += _odd(odd)
    return bad


def is_empty(source: Source) -> bool:
    """Whether a text, or a text of a pair, or a whole sentence of tokens, holds nothing but blanks."""
    if isinstance(source, tuple):
        return not source or any(text.is_blank(part) for part in source)
    return isinstance(source, str) and text.is_blank(source)


def _odd(odd: list[str]) -> list[Finding]:
    if not odd:
        return []
    message = f"{len(odd)} texts were stored in an odd way; they are used as they could be read."
    return [warning("odd_texts", message, odd)]


def _is_text(path: Path) -> bool:
    try:
        return text.sniff(path)
    except DataError:
        return False
