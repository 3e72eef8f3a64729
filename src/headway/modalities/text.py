"""Texts: recognise, decode, clean, tell near-copies, and say how long they are, without any pretrained network.

A text is a ``str``; a pair of texts, or the tokens of a sentence, is a tuple of them. Every function here is safe to
call from many threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from headway.errors import OptionError, did_you_mean
from headway.modalities._cleaning import CLEANINGS, cleaned, is_blank
from headway.modalities._encoding import HEAD, is_text, sound, to_text
from headway.modalities._lengths import Lengths, lengths, truncated
from headway.modalities._minhash import HASH_VERSION, close_pairs, perceptual_hash
from headway.modalities._source import bad_item, content
from headway.modalities._tfidf import fit as fit_classical
from headway.modalities._tfidf import load as load_classical
from headway.modalities._tfidf import save as save_classical
from headway.modalities._tokens import CHUNK, batches, pack
from headway.types import Source, TextView

__all__ = [
    "CHUNK",
    "CLEANINGS",
    "HASH_VERSION",
    "MAX_BYTES",
    "Lengths",
    "Text",
    "batches",
    "checked_cleaning",
    "clean",
    "close_pairs",
    "decode",
    "fit_classical",
    "is_blank",
    "lengths",
    "load",
    "load_classical",
    "pack",
    "perceptual_hash",
    "read",
    "save_classical",
    "sniff",
    "truncated",
]

Text: TypeAlias = str | tuple[str, ...]

MAX_BYTES = 64_000_000
"""Bytes that a file of text may have: a larger one is a corpus, not an item."""


def sniff(source: Source) -> bool:
    """Whether the first bytes are those of a text that :func:`decode` reads; a ``str`` always is one.

    Raises :class:`~headway.errors.DataError` when the file cannot be opened.

    >>> sniff("anything"), sniff("grüße".encode()), sniff(b"%PDF-1.7"), sniff(b"")
    (True, True, False, False)
    """
    if isinstance(source, str | tuple):
        return True
    if isinstance(source, bytes):
        return is_text(source[:HEAD])
    if not isinstance(source, Path):
        return False
    try:
        with source.open("rb") as file:
            return is_text(file.read(HEAD))
    except OSError as error:
        raise bad_item(source, f"it cannot be opened ({error.strerror or error})", what="text") from error


def decode(source: Source) -> Text:
    r"""The text of a source, or its tuple of texts.

    Of files and bytes: a byte order mark decides the encoding; without one UTF-8, UTF-16 where every other byte is
    zero, and Windows-1252 for what is none of these. :func:`load` also says what was assumed. Lone surrogates become
    U+FFFD; nothing else is changed.
    Raises :class:`~headway.errors.DataError` for what is not text, is empty, or is larger than :data:`MAX_BYTES`.

    >>> decode(b"caf\xe9"), decode(("a", "b"))
    ('café', ('a', 'b'))
    """
    return load(source)[0]


def load(source: Source) -> tuple[Text, str]:
    r"""As :func:`decode`, and a few words on what was odd about it, or none.

    >>> load(b"caf\xe9")
    ('café', 'is not UTF-8: read as Windows-1252')
    """
    if isinstance(source, str):
        return sound(source), _nul(source)
    if isinstance(source, tuple):
        return tuple(map(sound, source)), _nul("".join(source))
    if not isinstance(source, Path | bytes):
        raise bad_item(source, "it is an array", what="text")
    _refuse_large(source)
    data = content(source, what="text")
    if not is_text(data[:HEAD]):
        raise bad_item(source, "its content is not text", what="text")
    read, odd = to_text(data)
    return read, odd or _nul(read)


def read(
    source: Source,
    views: Collection[TextView],  # noqa: ARG001 (every modality takes them; a text is the same for all)
    *,
    facts: bool,
    decode: Callable[[Source], Text] = decode,
) -> tuple[Text, Text | None]:
    """The text for :func:`pack`, and for facts where they are wanted; ``decode`` may be one that remembers.

    >>> read("a text", [], facts=False)
    ('a text', None)
    """
    text = decode(source)
    return text, text if facts else None


def clean(text: Text, steps: Sequence[str]) -> Text:
    r"""A text after the given steps of :data:`CLEANINGS`, always in their order there: html, controls, nfc, blanks.

    None is on by default: networks were trained on texts as they come, and what is noise in one language is spelling
    in another.

    >>> clean("fish &amp;\x07  chips", ("html", "controls", "blanks"))
    'fish & chips'
    """
    if isinstance(text, tuple):
        return tuple(cleaned(part, steps) for part in text)
    return cleaned(text, steps)


def checked_cleaning(steps: Sequence[str]) -> None:
    """Raise :class:`OptionError` for a step that is none of :data:`CLEANINGS`."""
    unknown = [step for step in steps if step not in CLEANINGS]
    if unknown:
        raise OptionError(
            "there is no such cleaning of texts",
            given=repr(unknown[0]),
            allowed=", ".join(CLEANINGS),
            todo=did_you_mean(unknown[0], CLEANINGS),
        )


def _nul(text: str) -> str:
    return "holds NUL characters" if "\0" in text else ""


def _refuse_large(source: Path | bytes) -> None:
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
    except OSError as error:
        raise bad_item(source, f"it cannot be opened ({error.strerror or error})", what="text") from error
    if size > MAX_BYTES:
        raise bad_item(source, f"it has {size:,} bytes, more than the limit of {MAX_BYTES:,}", what="text")
