"""Text to text: translation, and summarisation where what is written is much shorter than what is read.

Metrics are named here and computed in ``evaluate/metrics_seq2seq.py``, which stands to the right of this package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError, OptionError
from headway.tasks._labels import refuse_few, refuse_many, refuse_missing
from headway.types import Finding, IntArray, Link

Kind = Literal["translation", "summarisation"]

METRICS = ("chrf", "bleu", "rouge1", "rouge2", "rougeL", "exact")
PRIMARY = "chrf"  # of translation; see primary_of
LINK: Link = "text"
PRIOR = "the most frequent target"  # what the arm that reads nothing always answers
RECIPE = "seq2seq"  # texts are written word by word: the flow differs from that of scores

_SHORTER = 0.5  # a summary has at most this share of its source's words
_LONG = 40  # words that a source has at least before writing less than half of it is summarising


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Target texts ``[n]``, ``str`` in an object array; there are no classes."""

    targets: NDArray[np.object_]
    classes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def encode(labels: Sequence[Any]) -> Written:
    """Target texts ``[n]``, an object array of ``str``, as they are: nothing is stripped or normalised.

    Raises :class:`DataError` for fewer than 2 items, a missing or blank target, or targets that are all the same.
    One target that most items share is a finding.

    >>> encode(["oui", "non"]).targets.tolist()
    ['oui', 'non']
    """
    refuse_few(labels)
    found = encode_as(labels, ())
    counts = Counter(found.targets.tolist())
    if len(counts) < 2:
        raise DataError(
            "all targets are the same text, so there is nothing to learn",
            given=f"{len(labels)} items of {found.targets[0][:60]!r}",
            allowed="2 different texts or more",
            todo="Name the right column with --label",
        )
    return Written(targets=found.targets, classes=(), findings=_findings(counts))


def encode_as(labels: Sequence[Any], classes: Sequence[str]) -> Written:
    """Target texts that a model is to be judged by; any number of items will do. There are no ``classes``.

    >>> encode_as([3], ()).targets.tolist()
    ['3']
    """
    refuse_many(labels, "seq2seq")
    refuse_missing(labels)
    return Written(targets=texts([str(label) for label in labels]), classes=tuple(classes))


def texts(found: Sequence[str]) -> NDArray[np.object_]:
    """Texts as an array ``[n]`` of ``str``; numpy's own text type would drop NULs and pad all to the longest."""
    out = np.empty(len(found), object)
    out[:] = [text.encode("utf-8", "backslashreplace").decode("utf-8") for text in found]
    return out


def kind_of(sources: Sequence[str], targets: Sequence[str]) -> Kind:
    """Summarisation where the middle source has 40 words or more and the middle target less than half as many as it.

    >>> kind_of(["a word " * 50], ["short"]), kind_of(["a cat"], ["un chat"])
    ('summarisation', 'translation')
    """
    read = np.array([len(text.split()) for text in sources])
    written = np.array([len(text.split()) for text in targets])
    if not len(read) or np.median(read) < _LONG:
        return "translation"
    return "summarisation" if np.median(written / np.maximum(read, 1)) < _SHORTER else "translation"


def primary_of(kind: Kind) -> str:
    """The metric by which a kind is chosen and argued about.

    >>> primary_of("translation"), primary_of("summarisation")
    ('chrf', 'rougeL')
    """
    return PRIMARY if kind == "translation" else "rougeL"


def outputs(classes: Sequence[str]) -> int:
    """Columns of answers: one text, and there are no classes.

    >>> outputs(())
    1
    """
    return 1 + len(classes)


def strata(targets: NDArray[np.object_]) -> IntArray:
    """What every part of a split should have in proportion ``[n]``: up to ten ranges of target length.

    >>> strata(texts(["a", "a b"] * 20))[:4].tolist()
    [0, 1, 0, 1]
    """
    from headway.tasks import regression

    lengths = np.log1p(np.array([len(text) for text in targets], np.float64))
    return regression.strata(lengths)


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The header of the rows of :func:`decode`; there are no classes.

    >>> columns(())
    ('item', 'prediction')
    """
    return ("item", "prediction", *classes)


def decode(
    P: NDArray[Any], *, names: Sequence[str], classes: Sequence[str], thresholds: object = None
) -> Iterator[tuple[str, ...]]:
    """Rows of ``(item, text)`` from texts ``[n]`` or ``[n, 1]``.

    >>> list(decode(texts(["un chat"]), names=("row 0",), classes=()))
    [('row 0', 'un chat')]
    """
    if P.size != len(names) or P.dtype.kind not in "OU" or thresholds is not None or classes:
        raise OptionError("the predictions do not fit", given=f"shape {P.shape}", allowed=f"{len(names)} texts")
    yield from zip(names, map(str, P.ravel()), strict=True)


def _findings(counts: Counter[str]) -> tuple[Finding, ...]:
    text, most = counts.most_common(1)[0]
    if 2 * most <= counts.total():
        return ()
    message = f"{most} of {counts.total()} targets are the same text: answering it always would look good."
    return (Finding(check="frequent_target", severity="warn", message=message, evidence=(text[:200],)),)


__all__ = [
    *("Kind", "Written", "columns", "decode", "encode", "encode_as", "kind_of", "outputs", "primary_of", "strata"),
    "texts",
]
