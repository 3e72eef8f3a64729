"""Cleaning that does not ask which language a text is in; off unless asked for."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

CLEANINGS = ("html", "controls", "nfc", "blanks")
"""``html``: ``&amp;`` and the like become characters, tags stay. ``controls``: control characters but line ends and
tabs, and byte order marks, go. ``nfc``: Unicode's composed form. ``blanks``: runs of white space become one blank, or
one line end where they hold one."""

# What joins emoji and shapes letters (U+200C, U+200D) and marks direction (U+200E, U+200F) is spelling: it stays.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")
_BLANKS = re.compile(r"\s+")


def cleaned(text: str, steps: Sequence[str]) -> str:
    r"""The text after the given steps, in the order of :data:`CLEANINGS`; ``html`` undoes one escape a time.

    >>> cleaned("a \t b \r\n c", ["blanks"])
    'a b\nc'
    """
    if "html" in steps:
        text = html.unescape(text)
    if "controls" in steps:
        text = _CONTROLS.sub("", text)
    if "nfc" in steps:
        text = unicodedata.normalize("NFC", text)
    if "blanks" in steps:
        text = _BLANKS.sub(lambda found: "\n" if "\n" in found[0] else " ", text).strip()
    return text


def is_blank(text: str) -> bool:
    r"""Whether nothing of a text would be seen: white space, control characters and byte order marks only.

    >>> is_blank(" \t\u200b"), is_blank("😀")
    (True, False)
    """
    if not text or text.isspace():
        return True
    # The first letter ends the search, so a long text costs no more than a short one.
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)
