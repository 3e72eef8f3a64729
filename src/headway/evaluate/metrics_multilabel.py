"""Metrics of labels: truth ``[n, C]`` of 0 and 1, and decisions (0 and 1) or probabilities of the same shape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.bootstrap import Sums
from headway.evaluate.metric import Metric, mean_ratio, one_hot, per_item, with_ones
from headway.tasks._measures import average_precision
from headway.types import FloatArray, IntArray

ECE_BINS = 15
_EPS = float(np.finfo(np.float32).eps)  # as for classes: one sure mistake costs 15.9, not infinity


def _f1_terms(Y: IntArray, said: IntArray) -> Sums:
    """``[n, 2C]``: true positives, and true + predicted positives, of each label."""
    return np.hstack([Y * said, Y + said]).astype(np.float64)


def _macro_f1(sums: Sums) -> NDArray[np.float64]:
    """Mean over the labels that occur in the truth or in the decisions."""
    hits, both = np.split(sums, 2, axis=-1)
    return mean_ratio(2 * hits, both)


def _micro_f1(sums: Sums) -> NDArray[np.float64]:
    hits, both = (part.sum(axis=-1, keepdims=True) for part in np.split(sums, 2, axis=-1))
    return mean_ratio(2 * hits, both)


def _macro_proportions(sums: Sums) -> tuple[Sums, Sums]:
    hits, both = np.split(sums, 2)
    there = both > 0  # a label that is nowhere is in no mean
    return hits[there], (both - hits)[there]


def _micro_proportions(sums: Sums) -> tuple[Sums, Sums]:
    hits, both = np.split(sums, 2)
    return hits.sum(keepdims=True), (both - hits).sum(keepdims=True)


def _log_loss_terms(Y: IntArray, P: FloatArray) -> Sums:
    right = np.where(Y > 0, P, 1.0 - P)
    return with_ones(-np.log(np.clip(right, _EPS, 1.0)).mean(axis=1))


def _ece_terms(Y: IntArray, P: FloatArray) -> Sums:
    """``[n, 1 + bins]``: 1, then probability minus truth in the bin of the probability, over all labels, over C."""
    edges = np.linspace(0, 1, ECE_BINS + 1)[1:-1]
    bins = np.searchsorted(edges, P, side="right")
    gap = (P - Y) / Y.shape[1]
    held = [np.einsum("nb,n->nb", one_hot(bins[:, c], ECE_BINS), gap[:, c]) for c in range(Y.shape[1])]
    return np.column_stack([np.ones(len(Y)), np.sum(held, axis=0)])


def _mean_gap(sums: Sums) -> NDArray[np.float64]:
    value: NDArray[np.float64] = np.abs(sums[..., 1:]).sum(axis=-1) / sums[..., 0]
    return value


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mean_average_precision", None, None, (0.0, 1.0), probabilities=True, weighted=average_precision),
        Metric("macro_f1", _f1_terms, _macro_f1, (0.0, 1.0), proportions=_macro_proportions),
        Metric("micro_f1", _f1_terms, _micro_f1, (0.0, 1.0), proportions=_micro_proportions),
        Metric(
            "hamming_loss",
            lambda Y, said: with_ones((said != Y).mean(axis=1)),
            per_item,
            (0.0, 1.0),
            larger_is_better=False,
        ),
        Metric(
            "subset_accuracy",
            lambda Y, said: with_ones((said == Y).all(axis=1)),
            per_item,
            (0.0, 1.0),
            proportions=lambda sums: (sums[1:], sums[:1]),
        ),
        Metric(
            "log_loss",
            _log_loss_terms,
            per_item,
            (0.0, float(-np.log(_EPS))),
            probabilities=True,
            larger_is_better=False,
        ),
        Metric("ece", _ece_terms, _mean_gap, (0.0, 1.0), probabilities=True, larger_is_better=False),
    )
}
"""Mean average precision is over the labels that occur in the truth; log loss (nats) and Hamming loss are means over
items and labels; the calibration error pools every yes and no in 15 bins."""
