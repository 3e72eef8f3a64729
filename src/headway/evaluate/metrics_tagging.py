"""Metrics of tags: items are sentences ``[n, L]`` of tag numbers, -1 past a sentence's end.

Of spans the numbers are those of :mod:`headway.tasks.tagging`: 0 outside, ``2k - 1`` and ``2k`` for B and I of type k.
A span is right where its type, its first and its last word are: micro-averaged, as conlleval and seqeval count
(Tjong Kim Sang and Buchholz, CoNLL 2000). Every metric is a function of sums over sentences, so that whole sentences
are resampled: words of one sentence are wrong together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import OptionError
from headway.evaluate.bootstrap import Sums
from headway.evaluate.metric import Metric, per_item, with_ones
from headway.types import IntArray


def checked(y: ArrayLike, prediction: ArrayLike) -> tuple[IntArray, IntArray]:
    """Both as tag numbers ``[n, L]`` of the same words. Raises :class:`OptionError` where they are not."""
    truth, said = np.asarray(y), np.asarray(prediction)
    whole = truth.dtype.kind in "iu" and said.dtype.kind in "iu"
    if not whole or truth.ndim != 2 or truth.shape != said.shape or ((truth < 0) != (said < 0)).any():
        raise OptionError(
            "tags are numbers, one a word",
            given=f"{truth.dtype} {truth.shape} and {said.dtype} {said.shape}",
            allowed="whole numbers [n, L] of the same words, -1 past a sentence's end",
        )
    return truth.astype(np.int64), said.astype(np.int64)


def spans(tags: IntArray) -> tuple[NDArray[np.bool_], IntArray]:
    """Where spans begin ``[n, L]``, and the place after the last word of a span that begins there.

    An I that continues nothing begins a span, as conlleval reads it.

    >>> begins, ends = spans(np.array([[1, 2, 0, 4]]))
    >>> begins.astype(int).tolist(), ends[begins].tolist()
    ([[1, 0, 0, 1]], [2, 4])
    """
    n, length = tags.shape
    now = np.where(tags > 0, (tags + 1) // 2, 0)
    before = np.hstack([np.zeros((n, 1), np.int64), now[:, :-1]])
    goes_on = (tags > 0) & (tags % 2 == 0) & (before == now)
    stops = np.hstack([np.where(goes_on, length, np.arange(length)), np.full((n, 1), length)])
    after = np.minimum.accumulate(stops[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return (tags > 0) & ~goes_on, np.minimum(after, length)


def counts(y: IntArray, prediction: IntArray) -> Sums:
    """``[n, 3]``: a sentence's spans that are right, that were predicted, and that are there.

    >>> counts(np.array([[1, 2, 0]]), np.array([[1, 0, 1]])).tolist()
    [[0.0, 2.0, 1.0]]
    """
    (true, end), (said, said_end) = spans(y), spans(prediction)
    right = true & said & (end == said_end) & ((y + 1) // 2 == (prediction + 1) // 2)
    return np.column_stack([right.sum(axis=1), said.sum(axis=1), true.sum(axis=1)]).astype(np.float64)


def _f1(sums: Sums) -> NDArray[np.float64]:
    return _ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _precision(sums: Sums) -> NDArray[np.float64]:
    return _ratio(sums[..., 0], sums[..., 1])


def _recall(sums: Sums) -> NDArray[np.float64]:
    return _ratio(sums[..., 0], sums[..., 2])


def _ratio(part: Sums, whole: Sums) -> NDArray[np.float64]:
    """0 where there is nothing to be right about, as seqeval has it."""
    found: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
    return found


def _words(y: IntArray, prediction: IntArray) -> Sums:
    there = y >= 0
    return np.column_stack([there.sum(axis=1), ((y == prediction) & there).sum(axis=1)]).astype(np.float64)


def _sentences(y: IntArray, prediction: IntArray) -> Sums:
    return with_ones((y == prediction).all(axis=1))


def _rate(sums: Sums) -> NDArray[np.float64]:
    return _ratio(sums[..., 1], sums[..., 0])


METRICS = {
    metric.name: metric
    for metric in (
        Metric("span_f1", counts, _f1, (0.0, 1.0)),
        Metric("span_precision", counts, _precision, (0.0, 1.0)),
        Metric("span_recall", counts, _recall, (0.0, 1.0)),
        Metric("word_accuracy", _words, _rate, (0.0, 1.0)),
        Metric("sentence_accuracy", _sentences, per_item, (0.0, 1.0)),
    )
}
