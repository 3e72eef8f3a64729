"""Metrics of classes: truth ``[n]``, and class numbers ``[n]`` or probabilities ``[n, C]``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.bootstrap import Sums
from headway.evaluate.metric import Metric, mean_ratio, one_hot, per_item, with_ones
from headway.types import FloatArray, IntArray

ECE_BINS = 15  # equal-width bins of the top probability, as in Guo et al., ICML 2017
_EPS = float(np.finfo(np.float32).eps)  # probabilities come from float32 scores: log loss is at most 15.94


def _class_terms(y: IntArray, prediction: IntArray) -> Sums:
    """``[n, 2C]``: the items of each class present in y, and the right ones among them."""
    present, index = np.unique(y, return_inverse=True)
    of_class = one_hot(index, len(present))
    return np.concatenate([of_class, of_class * (y == prediction)[:, None]], axis=1)


def _mean_recall(sums: Sums) -> NDArray[np.float64]:
    of_class, right = np.split(sums, 2, axis=-1)
    return mean_ratio(right, of_class)


def _f1_terms(y: IntArray, prediction: IntArray) -> Sums:
    """``[n, 2C]``: true positives, and true + predicted items, of each class in y or in the predictions."""
    known, index = np.unique(np.concatenate([y, prediction]), return_inverse=True)
    truth, guess = np.split(index, 2)
    said = one_hot(guess, len(known))
    return np.concatenate([said * (y == prediction)[:, None], said + one_hot(truth, len(known))], axis=1)


def _mean_f1(sums: Sums) -> NDArray[np.float64]:
    hits, both = np.split(sums, 2, axis=-1)
    return mean_ratio(2 * hits, both)


def _log_loss_terms(y: IntArray, P: FloatArray) -> Sums:
    return with_ones(-np.log(np.clip(P[np.arange(len(y)), y], _EPS, 1.0)))


def _brier_terms(y: IntArray, P: FloatArray) -> Sums:
    return with_ones(((P - one_hot(y, P.shape[1])) ** 2).sum(axis=1))


def _ece_terms(y: IntArray, P: FloatArray) -> Sums:
    """``[n, 1 + bins]``: 1, then confidence minus right in the bin of the confidence, bins ``[low, high)``."""
    top = P.max(axis=1)
    edges = np.linspace(0, 1, ECE_BINS + 1).astype(P.dtype)[1:-1]
    gap = top.astype(np.float64) - (P.argmax(axis=1) == y)
    return np.column_stack(
        [np.ones(len(y)), one_hot(np.searchsorted(edges, top, side="right"), ECE_BINS) * gap[:, None]]
    )


def _mean_gap(sums: Sums) -> NDArray[np.float64]:
    value: NDArray[np.float64] = np.abs(sums[..., 1:]).sum(axis=-1) / sums[..., 0]
    return value


def _f1_proportions(sums: Sums) -> tuple[Sums, Sums]:
    hits, both = np.split(sums, 2)
    return hits, both - hits


def _class_proportions(sums: Sums) -> tuple[Sums, Sums]:
    of_class, right = np.split(sums, 2)
    return right, of_class


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            lambda y, said: with_ones(y == said),
            per_item,
            (0.0, 1.0),
            proportions=lambda sums: (sums[1:], sums[:1]),
        ),
        Metric("balanced_accuracy", _class_terms, _mean_recall, (0.0, 1.0), proportions=_class_proportions),
        Metric("macro_f1", _f1_terms, _mean_f1, (0.0, 1.0), proportions=_f1_proportions),
        Metric(
            "log_loss",
            _log_loss_terms,
            per_item,
            (0.0, float(-np.log(_EPS))),
            probabilities=True,
            larger_is_better=False,
        ),
        Metric("ece", _ece_terms, _mean_gap, (0.0, 1.0), probabilities=True, larger_is_better=False),
        Metric("brier", _brier_terms, per_item, (0.0, 2.0), probabilities=True, larger_is_better=False),
    )
}
"""A task names its own in its ``METRICS``."""
