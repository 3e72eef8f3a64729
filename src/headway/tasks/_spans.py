"""Spans written as tags: which scheme a data set is in, spans from tags, tags from spans.

=========  ====================================================================================================
scheme     how it writes a span of type X
=========  ====================================================================================================
``IOB1``   ``I-X I-X``; its first word is ``B-X`` only straight after another span of the same type
``IOB2``   ``B-X I-X``
``IOBES``  ``B-X I-X E-X``, and ``S-X`` for one word; ``L`` and ``U`` (BILOU) are read as ``E`` and ``S``
``plain``  no spans: every word has a tag of its own, as a part of speech
=========  ====================================================================================================

Ramshaw and Marcus, WVLC 1995 (IOB1); Tjong Kim Sang and Veenstra, EACL 1999 (IOB2, IOBES).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

Scheme: TypeAlias = Literal["IOB1", "IOB2", "IOBES", "plain"]
Span: TypeAlias = tuple[str, int, int]
"""Type, first word, and the word after the last."""

OUTSIDE = "O"
_TAG = re.compile(r"([BIESLU])(?:-(.+))?", re.DOTALL)
_SAME = {"L": "E", "U": "S"}


def parted(tag: str) -> tuple[str, str] | None:
    """A span tag's letter (B, I, E or S) and type; ``("O", "")`` outside; None for a tag that is none of these.

    >>> parted("B-NP"), parted("U-PER"), parted("O"), parted("NOUN")
    (('B', 'NP'), ('S', 'PER'), ('O', ''), None)
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    match = _TAG.fullmatch(tag)
    return None if match is None else (_SAME.get(match[1], match[1]), match[2] or "")


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that tags are in: the one of which they break the fewest rules, IOB2 where several fit.

    Tags are of spans where every one is ``O`` or begins with a scheme's letter and a dash, and at least one begins or
    is inside. Bare letters (``B``, ``I``, ``O``) are spans without a type where ``O`` is among them.

    >>> scheme_of([["I-X", "B-X", "O"]]), scheme_of([["B-X", "I-X"]]), scheme_of([["S-X", "O"]]), scheme_of([["DET"]])
    ('IOB1', 'IOB2', 'IOBES', 'plain')
    """
    known = [tuple(sentence) for sentence in sentences]
    tags = {tag for sentence in known for tag in sentence}
    parts = {tag: parted(tag) for tag in tags}
    marks = [mark for mark in parts.values() if mark is not None and mark[0] != OUTSIDE]
    bare = any(not kind for _, kind in marks)
    if None in parts.values() or not marks or (bare and OUTSIDE not in tags):
        return "plain"
    if any(letter in "ES" for letter, _ in marks):
        return "IOBES"
    breaks: dict[Scheme, int] = {scheme: sum(broken(s, scheme) for s in known) for scheme in ("IOB2", "IOB1")}
    return min(breaks, key=lambda scheme: breaks[scheme])


def broken(tags: Sequence[str], scheme: Scheme) -> int:
    """How many words of a sentence break the scheme's rules.

    >>> broken(["I-X", "I-X"], "IOB2"), broken(["B-X"], "IOB1"), broken(["B-X", "O"], "IOBES")
    (1, 1, 1)
    """
    if scheme == "plain":
        return 0
    before, count = (OUTSIDE, ""), 0
    for tag in (*tags, OUTSIDE):
        now = parted(tag) or (OUTSIDE, "")
        joined = now[0] in "IE" and before[0] in "BI" and now[1] == before[1]
        if scheme == "IOBES":  # what was begun goes on, and nothing else does
            count += joined != (before[0] in "BI") or (now[0] in "IE" and not joined)
        elif scheme == "IOB2":
            count += now[0] == "I" and not joined
        else:
            count += now[0] == "B" and not (before[0] in "BI" and now[1] == before[1])
        before = now
    return count


def spans_of(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """The spans of a sentence, in order. Broken tags are read as conlleval does: a span begins where none goes on.

    >>> spans_of(["I-X", "B-X", "I-Y", "O"], "IOB1")
    [('X', 0, 1), ('X', 1, 2), ('Y', 2, 3)]
    """
    if scheme == "plain":
        return []
    found: list[Span] = []
    start, kind, last = -1, "", OUTSIDE
    for at, tag in enumerate((*tags, OUTSIDE)):
        letter, own = parted(tag) or (OUTSIDE, "")
        goes_on = start >= 0 and letter in "IE" and own == kind and last not in "ES"
        if not goes_on:
            if start >= 0:
                found.append((kind, start, at))
            start, kind = (-1, "") if letter == OUTSIDE else (at, own)
        last = letter
    return found


def iob2(spans: Iterable[Span], length: int) -> tuple[str, ...]:
    """Spans that do not overlap as the IOB2 tags of ``length`` words.

    >>> iob2([("X", 0, 2), ("", 3, 4)], 4)
    ('B-X', 'I-X', 'O', 'B')
    """
    tags = [OUTSIDE] * length
    for kind, start, stop in spans:
        tail = f"-{kind}" if kind else ""
        tags[start:stop] = [f"B{tail}", *[f"I{tail}"] * (stop - start - 1)]
    return tuple(tags)
