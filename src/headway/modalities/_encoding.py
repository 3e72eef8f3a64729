"""Bytes to text: byte order marks first, then UTF-8, then what text of old programs most often is."""

from __future__ import annotations

import codecs
from typing import NamedTuple

HEAD = 32
"""Bytes that tell text from anything else; no fewer than the content index keeps of a file."""

_MARKS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHERS = (  # what begins so is another format, most of which hold readable words
    *(b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"RIFF", b"II*\0", b"MM\0*", b"%PDF-", b"PK\x03\x04"),
    *(b"\x1f\x8b", b"BZh9", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!\x1a", b"\x7fELF", b"OggS", b"ID3"),
    *(b"fLaC", b"PAR1", b"ARROW1", b"SQLite format 3", b"\x89HDF", b"\xd0\xcf\x11\xe0", b"\x93NUMPY", b"GGUF"),
)
_LAYOUT = frozenset(b"\t\n\v\f\r\x1b\0")
_MOST_CONTROLS = 0.3  # share of the first bytes that may be control characters


class Decoded(NamedTuple):
    """A text, and what was odd about its bytes: nothing, or a few words for the user."""

    text: str
    odd: str = ""


def is_text(head: bytes) -> bool:
    r"""Whether the first bytes are those of a text in UTF-8, UTF-16, UTF-32 or an 8-bit encoding.

    >>> is_text("grüße".encode()), is_text(b"\xff" * 40), is_text(b"%PDF-1.7"), is_text(b"")
    (True, False, False, False)
    """
    head = head[:HEAD]
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return True
    if not head.strip(b"\0") or head.startswith(_OTHERS):
        return False
    if _wide(head):
        return True
    controls = sum(byte < 32 and byte not in _LAYOUT for byte in head)
    foreign = len(head) >= HEAD // 2 and min(head) > 127 and not _is_utf8(head)  # 8-bit text has blanks in it
    return controls <= _MOST_CONTROLS * len(head) and not foreign


def to_text(data: bytes) -> Decoded:
    r"""The text of bytes; never fails, and says what it had to assume.

    A byte order mark decides. Without one: UTF-16 where every other byte is zero; UTF-8; UTF-8 with a replacement
    character for each damaged place, where it is sound in more places than it is damaged; else Windows-1252, and
    Latin-1 for the bytes that it lacks.

    >>> to_text(b"5 \xa3")
    Decoded(text='5 £', odd='is not UTF-8: read as Windows-1252')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _lenient(data[len(mark) :], encoding)
    wide = _wide(data[:HEAD])
    if wide:
        return _lenient(data, wide)
    try:
        return Decoded(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    repaired = data.decode("utf-8", "replace")
    broken = repaired.count("\ufffd")
    if sum(character > "\x7f" for character in repaired) > 2 * broken:
        return Decoded(repaired, f"has {broken} damaged places, shown as U+FFFD")
    return Decoded("".join(map(_western, data)), "is not UTF-8: read as Windows-1252")


def sound(text: str) -> str:
    r"""The text without lone surrogates, which no encoding can hold: each becomes U+FFFD.

    >>> sound("a\ud800b")
    'a�b'
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _lenient(data: bytes, encoding: str) -> Decoded:
    try:
        return Decoded(data.decode(encoding))
    except UnicodeDecodeError:
        return Decoded(data.decode(encoding, "replace"), f"is damaged {encoding.upper()}")


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: Latin text in it has a zero in every other byte."""
    if len(head) < 4:
        return ""
    even, odd = head[: len(head) // 2 * 2 : 2], head[1::2]
    if not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if not any(even) and all(odd) else ""


def _is_utf8(head: bytes) -> bool:
    try:  # the last character may be cut
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _western(byte: int) -> str:
    raw = bytes([byte])
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
