"""Tagging: a tag for every word, of spans (IOB) or plain ones (a part of speech).

Targets are the tags themselves, a tuple a sentence, those of spans in IOB2. What learns and measures takes numbers
(:func:`numbered`): of spans 0 is ``O``, ``2k - 1`` and ``2k`` are ``B`` and ``I`` of type k, so that a span can be read
off the numbers alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.tasks._labels import SHOWN, class_name, refuse_few, refuse_unknown, sorted_names
from headway.tasks._spans import OUTSIDE, Scheme, broken, iob2, parted, scheme_of, spans_of
from headway.types import Finding, IntArray

__all__ = ["Tags", "columns", "decode", "encode", "encode_as", "is_spans", "legal", "metrics", "numbered", "strata"]

SPAN_METRICS = ("span_f1", "span_precision", "span_recall", "word_accuracy", "sentence_accuracy")
PLAIN_METRICS = ("word_accuracy", "sentence_accuracy")
PRIOR = "the most frequent tag of each word"  # what the arm without features answers

_COLUMNS = ("item", "tokens", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Tags a sentence, those of spans in IOB2, and their names in the order of their numbers."""

    targets: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    scheme: Scheme = "plain"  # what the data were written in
    findings: tuple[Finding, ...] = ()


def encode(labels: Sequence[Any]) -> Tags:
    """Sentences of tags, of spans or plain; the scheme is recognised, and spans are rewritten in IOB2.

    Raises :class:`DataError` for fewer than two sentences, a missing tag, or one tag only. Tags that break their
    scheme's rules are read as conlleval reads them, and counted in a finding.

    >>> found = encode([["I-X", "I-X", "O"], ["O", "I-Y"]])
    >>> found.scheme, found.targets[0], found.classes
    ('IOB1', ('B-X', 'I-X', 'O'), ('O', 'B-X', 'I-X', 'B-Y', 'I-Y'))
    """
    refuse_few(labels)
    sentences = [_names(row, tags) for row, tags in enumerate(labels)]
    scheme = scheme_of(sentences)
    if scheme == "plain":
        classes = sorted_names({tag for sentence in sentences for tag in sentence})
        targets = tuple(sentences)
    else:
        kinds = sorted({kind for tag in {t for s in sentences for t in s} for _, kind in [parted(tag) or ("", "")]})
        classes = (OUTSIDE, *(f"{letter}-{k}" if k else letter for k in _used(kinds, sentences) for letter in "BI"))
        targets = tuple(iob2(spans_of(sentence, scheme), len(sentence)) for sentence in sentences)
    if len(classes) < 2:
        raise DataError(
            "there is only one tag, so there is nothing to tell apart",
            given=f"{len(labels)} sentences of {classes[0]!r}" if classes else "no words at all",
            allowed="2 or more tags",
            todo="Name the right columns of tokens and tags",
        )
    return Tags(targets=targets, classes=classes, scheme=scheme, findings=_findings(sentences, scheme))


def encode_as(labels: Sequence[Any], classes: Sequence[str]) -> Tags:
    """The same in the tags of a model; any number of sentences will do.

    Raises :class:`DataError` for a tag that is none of the model's.

    >>> encode_as([["S-X"]], ("O", "B-X", "I-X")).targets
    (('B-X',),)
    """
    sentences = [_names(row, tags) for row, tags in enumerate(labels)]
    scheme: Scheme = scheme_of(sentences) if is_spans(classes) else "plain"
    if scheme == "plain":
        targets = tuple(sentences)
    else:
        targets = tuple(iob2(spans_of(sentence, scheme), len(sentence)) for sentence in sentences)
    refuse_unknown({tag for sentence in targets for tag in sentence}, classes)
    return Tags(targets=targets, classes=tuple(classes), scheme=scheme)


def is_spans(classes: Sequence[str]) -> bool:
    """Whether tags are of spans, in the order that :func:`encode` gives them.

    >>> is_spans(("O", "B-X", "I-X")), is_spans(("ADJ", "NOUN"))
    (True, False)
    """
    pairs = list(zip(classes[1::2], classes[2::2], strict=False))
    return (
        len(classes) > 1
        and len(classes) % 2 == 1
        and classes[0] == OUTSIDE
        and all(b[:1] == "B" and i[:1] == "I" and b[1:] == i[1:] and b[1:2] in ("", "-") for b, i in pairs)
    )


def metrics(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics that such tags are measured by, the primary one first."""
    return SPAN_METRICS if is_spans(classes) else PLAIN_METRICS


def numbered(targets: Sequence[Sequence[str]], classes: Sequence[str]) -> IntArray:
    """Numbers ``[n, L]`` of the tags of n sentences, the longest of L words; -1 past a sentence's end.

    >>> numbered([("O",), ("B-X", "I-X")], ("O", "B-X", "I-X")).tolist()
    [[0, -1], [1, 2]]
    """
    number = {name: i for i, name in enumerate(classes)}
    found = np.full((len(targets), max(map(len, targets), default=0)), -1, np.int64)
    for row, tags in enumerate(targets):
        found[row, : len(tags)] = [number[tag] for tag in tags]
    return found


def legal(classes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether tag j may follow tag i ``[C + 1, C]``; the last row says which tags may begin a sentence.

    >>> legal(("O", "B-X", "I-X")).astype(int).tolist()
    [[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 0]]
    """
    allowed = np.ones((len(classes) + 1, len(classes)), bool)
    if is_spans(classes):
        for inside in range(2, len(classes), 2):
            allowed[:, inside] = False
            allowed[inside - 1 : inside + 1, inside] = True
    return allowed


def strata(targets: Sequence[Sequence[str]]) -> IntArray:
    """What every part of a split should have in proportion: 0/1 ``[n, T]``, whether a sentence holds a span or tag.

    >>> strata([("O",), ("B-X", "I-X")]).tolist()
    [[0], [1]]
    """
    kinds = [{tag.partition("-")[2] if tag[:2] in ("B-", "I-") else tag for tag in tags} for tags in targets]
    number = {kind: i for i, kind in enumerate(sorted({k for found in kinds for k in found} - {OUTSIDE}))}
    marks = np.zeros((len(targets), len(number)), np.int64)
    for row, found in enumerate(kinds):
        marks[row, [number[kind] for kind in found if kind in number]] = 1
    return marks


def columns(classes: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG001 (every task takes them)
    """The header of the rows of :func:`decode`: item, tokens, tags."""
    return _COLUMNS


def decode(
    answers: Sequence[Sequence[str]], *, names: Sequence[str], tokens: Sequence[Sequence[str]]
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Rows of ``(item, its words, their tags)``.

    >>> list(decode([("O",)], names=("row 0",), tokens=[("Hi",)]))
    [('row 0', ('Hi',), ('O',))]
    """
    for name, words, tags in zip(names, tokens, answers, strict=True):
        yield name, tuple(words), tuple(tags)


def _used(kinds: Sequence[str], sentences: Sequence[Sequence[str]]) -> list[str]:
    """Types of spans; the empty one only where some tag is a bare letter."""
    bare = any(tag in "BIESLU" and tag for sentence in sentences for tag in sentence)
    return [kind for kind in kinds if kind or bare]


def _names(row: int, tags: Any) -> tuple[str, ...]:
    if isinstance(tags, str | bytes) or not isinstance(tags, Sequence | np.ndarray):
        raise DataError("tagging takes a tag for every word", given=f"{tags!r} in row {row}", allowed="lists of tags")
    absent = [at for at, tag in enumerate(tags) if tag is None or not str(tag).strip()]
    if absent:
        raise DataError(
            "some words have no tag",
            given=f"word {absent[0]} of row {row}",
            allowed="a tag for every word",
            todo="Tag these words, with O where there is no span",
        )
    return tuple(class_name(tag) for tag in tags)


def _findings(sentences: Sequence[Sequence[str]], scheme: Scheme) -> tuple[Finding, ...]:
    found = []
    if scheme not in ("plain", "IOB2"):
        found.append(Finding(check="tag_scheme", severity="note", message=f"Tags are in {scheme}: rewritten in IOB2."))
    wrong = [row for row, sentence in enumerate(sentences) if broken(sentence, scheme)]
    if wrong:
        words = sum(broken(sentences[row], scheme) for row in wrong)
        message = f"{words} tags break the rules of {scheme}: a span was begun wherever none could go on."
        shown = tuple(f"sentence {row}" for row in wrong[:SHOWN])
        found.append(Finding(check="broken_tags", severity="warn", message=message, evidence=shown))
    lone = [tag for tag, count in Counter(t for s in sentences for t in s).items() if count == 1]
    if lone:
        message = f"{len(lone)} tags occur once only: they cannot be both learnt from and tested on."
        found.append(
            Finding(check="tag_of_one", severity="warn", message=message, evidence=tuple(sorted(lone)[:SHOWN]))
        )
    return tuple(found)
