"""Classification metrics with 95 % intervals. numpy only: prediction loads this without scipy or scikit-learn.

A *label metric* takes class indices, a *probability metric* takes ``[n, C]`` probabilities; label metrics given
probabilities use the class of the largest one. Every metric is a function of sums over items: see ``bootstrap.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import OptionError, did_you_mean
from headway.evaluate import bootstrap
from headway.evaluate.bootstrap import Combine, Sums
from headway.evaluate.checks import class_indices, item_weights, probabilities
from headway.types import FloatArray, IntArray, Interval

ECE_BINS = 15  # equal-width bins of the top probability, as in Guo et al., ICML 2017
_EPS = float(np.finfo(np.float32).eps)  # probabilities come from float32 scores: log loss is at most 15.94


@dataclass(frozen=True, slots=True)
class Metric:
    """``combine(sum over items of terms(y, prediction))`` is the metric's value."""

    name: str
    terms: Callable[[IntArray, Any], Sums]  # y [n] and indices [n] or probabilities [n, C], to [n, k]
    combine: Combine
    bounds: tuple[float, float]
    probabilities: bool = False
    larger_is_better: bool = True
    proportions: Callable[[Sums], tuple[Sums, Sums]] | None = None  # sums -> successes [G], totals [G]


# --- the terms that are summed, and what is made of the sums ------------------------------------


def _one_hot(index: IntArray, columns: int) -> Sums:
    hot: Sums = (index[:, None] == np.arange(columns)).astype(np.float64)
    return hot


def _with_ones(values: FloatArray) -> Sums:
    return np.column_stack([np.ones(len(values)), values.astype(np.float64)])


def _per_item(sums: Sums) -> NDArray[np.float64]:
    value: NDArray[np.float64] = sums[..., 1] / sums[..., 0]
    return value


def _class_terms(y: IntArray, prediction: IntArray) -> Sums:
    """``[n, 2C]``: the items of each class present in y, and the right ones among them."""
    present, index = np.unique(y, return_inverse=True)
    of_class = _one_hot(index, len(present))
    return np.concatenate([of_class, of_class * (y == prediction)[:, None]], axis=1)


def _mean_ratio(numerator: Sums, denominator: Sums) -> NDArray[np.float64]:
    """Mean of the ratios whose denominator is not 0."""
    there = denominator > 1e-9
    ratio = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=there)
    count = there.sum(axis=-1)
    mean: NDArray[np.float64] = np.divide(ratio.sum(axis=-1), count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def _mean_recall(sums: Sums) -> NDArray[np.float64]:
    of_class, right = np.split(sums, 2, axis=-1)
    return _mean_ratio(right, of_class)


def _f1_terms(y: IntArray, prediction: IntArray) -> Sums:
    """``[n, 2C]``: true positives, and true + predicted items, of each class in y or in the predictions."""
    known, index = np.unique(np.concatenate([y, prediction]), return_inverse=True)
    truth, guess = np.split(index, 2)
    said = _one_hot(guess, len(known))
    return np.concatenate([said * (y == prediction)[:, None], said + _one_hot(truth, len(known))], axis=1)


def _mean_f1(sums: Sums) -> NDArray[np.float64]:
    hits, both = np.split(sums, 2, axis=-1)
    return _mean_ratio(2 * hits, both)


def _log_loss_terms(y: IntArray, P: FloatArray) -> Sums:
    return _with_ones(-np.log(np.clip(P[np.arange(len(y)), y], _EPS, 1.0)))


def _brier_terms(y: IntArray, P: FloatArray) -> Sums:
    return _with_ones(((P - _one_hot(y, P.shape[1])) ** 2).sum(axis=1))


def _ece_terms(y: IntArray, P: FloatArray) -> Sums:
    """``[n, 1 + bins]``: 1, then confidence minus right in the bin of the confidence, bins ``[low, high)``."""
    top = P.max(axis=1)
    edges = np.linspace(0, 1, ECE_BINS + 1).astype(P.dtype)[1:-1]
    gap = top.astype(np.float64) - (P.argmax(axis=1) == y)
    return np.column_stack(
        [np.ones(len(y)), _one_hot(np.searchsorted(edges, top, side="right"), ECE_BINS) * gap[:, None]]
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
            lambda y, said: _with_ones(y == said),
            _per_item,
            (0.0, 1.0),
            proportions=lambda sums: (sums[1:], sums[:1]),
        ),
        Metric("balanced_accuracy", _class_terms, _mean_recall, (0.0, 1.0), proportions=_class_proportions),
        Metric("macro_f1", _f1_terms, _mean_f1, (0.0, 1.0), proportions=_f1_proportions),
        Metric(
            "log_loss",
            _log_loss_terms,
            _per_item,
            (0.0, float(-np.log(_EPS))),
            probabilities=True,
            larger_is_better=False,
        ),
        Metric("ece", _ece_terms, _mean_gap, (0.0, 1.0), probabilities=True, larger_is_better=False),
        Metric("brier", _brier_terms, _per_item, (0.0, 2.0), probabilities=True, larger_is_better=False),
    )
}
"""Every metric by name; a task names its own in its ``METRICS``."""


# --- what is called -----------------------------------------------------------------------------


def metric_named(name: str) -> Metric:
    """The metric of that name; :class:`OptionError` with the closest names when there is none.

    >>> metric_named("accuracy").larger_is_better
    True
    """
    if name not in METRICS:
        todo = did_you_mean(name, METRICS)
        raise OptionError("there is no such metric", given=repr(name), allowed=", ".join(METRICS), todo=todo)
    return METRICS[name]


def _checked(metric: Metric, y: ArrayLike, prediction: ArrayLike) -> tuple[IntArray, IntArray | FloatArray]:
    """``y [n]`` and what the metric takes, checked: indices ``[n]`` or probabilities ``[n, C]``."""
    truth = class_indices(y, "the true classes")
    given = np.asarray(prediction)
    if given.ndim == 2:
        P = probabilities(given, truth)
        return truth, P if metric.probabilities else P.argmax(axis=1)
    if metric.probabilities:
        raise OptionError(f"{metric.name} needs probabilities", given=f"shape {given.shape}", allowed="[n, C]")
    said = class_indices(given, "the predictions")
    if len(said) != len(truth):
        raise OptionError("as many predictions as items are needed", given=len(said), allowed=len(truth))
    return truth, said


def measure(metric: str, y: ArrayLike, prediction: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Any metric by name. ``y [n]`` class indices; ``prediction`` indices ``[n]`` or probabilities ``[n, C]``.

    ``weight [n]`` (>= 0, not all 0) counts an item that many times. Raises :class:`DataError` on an empty test set.

    >>> measure("accuracy", [0, 1, 1], [0, 1, 0])
    0.6666666666666666
    """
    found = metric_named(metric)
    terms = found.terms(*_checked(found, y, prediction))
    if weight is None:
        return float(found.combine(terms.sum(axis=0)))
    return float(found.combine(item_weights(weight, len(terms)) @ terms))


def accuracy(y: ArrayLike, prediction: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Share of items that are right, 0..1.

    >>> accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.75
    """
    return measure("accuracy", y, prediction, weight=weight)


def balanced_accuracy(y: ArrayLike, prediction: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean recall of the classes present in ``y``, 0..1; a constant guess scores 1 / classes.
    Brodersen et al., ICPR 2010; not corrected for chance.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    return measure("balanced_accuracy", y, prediction, weight=weight)


def macro_f1(y: ArrayLike, prediction: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean F1 over the classes in ``y`` or in the predictions, 0..1.

    >>> round(macro_f1([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.7333
    """
    return measure("macro_f1", y, prediction, weight=weight)


def log_loss(y: ArrayLike, P: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean ``-ln P[i, y_i]`` in nats, with P held at 1.2e-7 or more: one sure mistake costs 15.9, not infinity.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.5, 0.5]]), 4)
    0.6931
    """
    return measure("log_loss", y, P, weight=weight)


def brier(y: ArrayLike, P: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean squared distance of the probabilities to the truth, summed over classes, 0..2 (Brier 1950).

    >>> brier([0, 1], [[0.5, 0.5], [0.5, 0.5]])
    0.5
    """
    return measure("brier", y, P, weight=weight)


def ece(y: ArrayLike, P: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Expected calibration error of the top class, 0..1, in 15 equal-width bins (Guo et al., ICML 2017, eq. 3).

    >>> round(ece([0, 0, 1, 1], [[0.75, 0.25]] * 4), 4)
    0.25
    """
    return measure("ece", y, P, weight=weight)


def confusion_matrix(y: ArrayLike, prediction: ArrayLike, *, classes: int) -> IntArray:
    """Counts ``[C, C]``: row = truth, column = prediction.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    truth, said = _checked(METRICS["accuracy"], y, prediction)
    if max(truth.max(), said.max()) >= classes:
        raise OptionError(
            "a class index is too large", given=int(max(truth.max(), said.max())), allowed=f"0..{classes - 1}"
        )
    return np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def evaluate_probabilities(P: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """What ``headway evaluate`` reports of probabilities ``[n, C]`` against class indices ``[n]``.

    >>> list(evaluate_probabilities([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    ['n', 'accuracy', 'balanced_accuracy', 'macro_f1', 'log_loss', 'ece']
    """
    reported = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
    return {"n": np.size(y), **{name: measure(name, y, P) for name in reported}}


def metric_interval(
    metric: str, y: ArrayLike, prediction: ArrayLike, *, resamples: int = 4000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """A metric on a test set and its BCa bootstrap interval over items; never of width 0.

    A bootstrap cannot see what the sample lacks: all right gives [1, 1]. So proportions (accuracy, balanced accuracy,
    macro F1) also get :func:`.bootstrap.agresti_coull`, and the wider limit counts; the other metrics, when every item
    measures alike, get :func:`.bootstrap.unseen_limits`. The limits stay within the metric's own range.

    >>> found = metric_interval("accuracy", [0, 1] * 20, [0, 1] * 20)
    >>> found.value, round(found.low, 2), found.high
    (1.0, 0.9, 1.0)
    """
    found = metric_named(metric)
    terms = found.terms(*_checked(found, y, prediction))
    value, low, high = bootstrap.bca(terms, found.combine, resamples=resamples, seed=seed, confidence=confidence)
    if found.proportions is not None:
        successes, totals = found.proportions(terms.sum(axis=0))
        f1 = found.name == "macro_f1"
        limits = bootstrap.agresti_coull(successes, totals, confidence=confidence, f1=f1)
    elif len(terms) < 3 or np.ptp(terms, axis=0).max() < 1e-9:
        limits = bootstrap.unseen_limits(value, len(terms), found.bounds, confidence=confidence)
    else:
        limits = (low, high)
    return Interval(
        value=value, low=max(min(low, limits[0]), found.bounds[0]), high=min(max(high, limits[1]), found.bounds[1])
    )
