"""What a word looks like, without any network: the features of the arm that does without transfer.

The word, its affixes, its shape and its neighbours, as taggers took them before there were embeddings: Ratnaparkhi
(EMNLP 1996), Sha and Pereira (NAACL 2003). Hashed by scikit-learn, so that nothing has to be remembered of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

BITS = 18
AFFIX = 4  # characters, at most


def hashed(sentences: Sequence[Sequence[str]]) -> Any:
    """A sparse 0/1 CSR matrix ``[N, 2**18]``, a row a word, sentence after sentence.

    >>> hashed([["The", "cat"], []]).shape
    (2, 262144)
    """
    from sklearn.feature_extraction import FeatureHasher

    hasher = FeatureHasher(2**BITS, input_type="string", alternate_sign=False, dtype="float32")
    made = hasher.transform(marks for words in sentences for marks in described(words))
    made.data[:] = 1.0  # two marks in one place count once
    return made


def described(words: Sequence[str]) -> Iterator[list[str]]:
    """The marks of each word of a sentence.

    >>> next(described(["Rome", "fell"]))[:3]
    ['bias', 'w=Rome', 'l=rome']
    """
    low = [word.lower() for word in words]
    forms = [shape(word) for word in words]
    n = len(words)

    def around(marks: list[str], at: int) -> str:
        return marks[at] if 0 <= at < n else "<s>" if at < 0 else "</s>"

    for i, word in enumerate(words):
        marks = ["bias", f"w={word}", f"l={low[i]}", f"s={forms[i]}", f"c={_short(forms[i])}"]
        marks += [f"p{k}={low[i][:k]}" for k in range(1, min(AFFIX, len(word)) + 1)]
        marks += [f"e{k}={low[i][-k:]}" for k in range(1, min(AFFIX, len(word)) + 1)]
        marks += [f"l{o}={around(low, i + o)}" for o in (-2, -1, 1, 2)]
        marks += [f"s{o}={around(forms, i + o)}" for o in (-1, 1)]
        marks += [f"e{o}={around(low, i + o)[-3:]}" for o in (-2, -1, 1, 2)]
        marks += [f"b-={around(low, i - 1)} {low[i]}", f"b+={low[i]} {around(low, i + 1)}"]
        marks += [f"t={around(forms, i - 1)} {forms[i]} {around(forms, i + 1)}"]
        marks += [f"n={around(low, i - 1)} {around(low, i + 1)}"]
        yield marks


def shape(word: str) -> str:
    """Letters as X and x, digits as 9, runs of more than four cut, all else as it is.

    >>> shape("McDonald's"), shape("1,234")
    ("XxXxxxx'x", '9,999')
    """
    signs = ["X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word[:100]]
    return "".join(sign * min(4, len(list(run))) for sign, run in groupby(signs))


def _short(form: str) -> str:
    return "".join(sign for sign, _ in groupby(form))
