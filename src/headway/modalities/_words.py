"""Raw text to sentences and words with their places, by Unicode's rules where a language has blanks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A run of letters, marks and digits with what joins them (don't, 3.5, e-mail); else one sign that is no blank.
_WORD = re.compile(r"\w+(?:[.,:](?=\d)\w+|['’_-](?=\w)\w+)*|[^\w\s]", re.UNICODE)
_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it stands in the text: ``text[start:stop]``."""

    text: str
    start: int
    stop: int


def words_of(text: str) -> tuple[Word, ...]:
    """The words and signs of a text, in order; blanks are none.

    >>> [word.text for word in words_of("It's 3.5 kg, isn't it?")]
    ["It's", '3.5', 'kg', ',', "isn't", 'it', '?']
    """
    return tuple(Word(match[0], match.start(), match.end()) for match in _WORD.finditer(text))


def sentences_of(text: str) -> Iterator[tuple[Word, ...]]:
    """The words of each sentence, their places counted in the whole text; a sentence ends with its sign and a blank.

    >>> [[w.text for w in s] for s in sentences_of("Hi there. You?")]
    [['Hi', 'there', '.'], ['You', '?']]
    """
    start = 0
    for end in [match.end() for match in _END.finditer(text)] + [len(text)]:
        words = tuple(Word(w.text, w.start + start, w.stop + start) for w in words_of(text[start:end]))
        if words:
            yield words
        start = end
