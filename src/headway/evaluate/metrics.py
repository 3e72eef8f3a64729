"""Metrics by name, with 95 % intervals; ``metrics_TASK.py`` defines them. numpy only: prediction loads no more.

A *label metric* takes class indices, a *probability metric* takes ``[n, C]`` probabilities; label metrics given
probabilities use the class of the largest one. Every metric is a function of sums over items: see ``bootstrap.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from headway.errors import OptionError, did_you_mean
from headway.evaluate import (
    bootstrap,
    checks,
    metrics_multilabel,
    metrics_regression,
    metrics_seq2seq,
    metrics_tagging,
)
from headway.evaluate.checks import class_indices, item_weights, probabilities
from headway.evaluate.metric import Metric
from headway.evaluate.metrics_classification import METRICS
from headway.linear.coding import link_of, task_of
from headway.linear.head import sigmoid
from headway.tasks.multilabel import decide
from headway.types import FloatArray, IntArray, Interval, Link

_OF_LINK: Mapping[Link, Mapping[str, Metric]] = {
    "softmax": METRICS,
    "sigmoid": metrics_multilabel.METRICS,
    "identity": metrics_regression.METRICS,
    "text": metrics_seq2seq.METRICS,
}


# --- what is called -----------------------------------------------------------------------------


def metric_named(name: str, link: Link = "softmax") -> Metric:
    """The metric of that name; :class:`OptionError` with the closest names when there is none.

    ``link`` says what is predicted: ``macro_f1`` of labels is another metric than that of classes.

    >>> metric_named("accuracy").larger_is_better
    True
    """
    known = _OF_LINK[link]
    if name not in known:
        raise OptionError(
            "there is no such metric", given=repr(name), allowed=", ".join(known), todo=did_you_mean(name, known)
        )
    return known[name]


def prepared(
    metric: str, y: ArrayLike, prediction: ArrayLike, thresholds: ArrayLike | None = None
) -> tuple[Metric, Any, Any]:
    """The metric, and ``y`` and prediction as it takes them, checked. The kind of ``y`` says what the task is.

    Raises :class:`DataError` on an empty test set, :class:`OptionError` where they do not fit.
    """
    checks.refuse_empty(np.asarray(y))
    if metric in metrics_tagging.METRICS:
        return metrics_tagging.METRICS[metric], *metrics_tagging.checked(y, prediction)
    link = link_of(np.asarray(y))
    found = metric_named(metric, link)
    if link == "sigmoid":
        truth, P = checks.labels(y, prediction)
        return (
            found,
            truth,
            P if found.probabilities else decide(P, None if thresholds is None else np.asarray(thresholds)),
        )
    if link == "identity":
        return found, *checks.numbers(y, prediction)
    if link == "text":
        return found, *checks.texts(y, prediction)
    return found, *_checked(found, y, prediction)


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


def measure(
    metric: str,
    y: ArrayLike,
    prediction: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    thresholds: ArrayLike | None = None,
) -> float:
    """Any metric by name. ``y [n]`` class indices; ``prediction`` indices ``[n]`` or probabilities ``[n, C]``.

    Or ``y [n, C]`` of 0 and 1 and probabilities of labels ``[n, C]``, which are on from their ``thresholds`` (``[C]``,
    0.5 where none are given); or ``y [n]`` and ``prediction`` (``[n]`` or ``[n, 1]``) floats. ``weight [n]`` (>= 0, not
    all 0) counts an item that many times. NaN where the items cannot tell: no item has any label, or all numbers are
    the same. Raises :class:`DataError` on an empty test set.

    >>> measure("accuracy", [0, 1, 1], [0, 1, 0])
    0.6666666666666666
    """
    found, truth, said = prepared(metric, y, prediction, thresholds)
    if found.terms is None or found.combine is None:
        w = np.asarray(np.ones(len(truth)) if weight is None else item_weights(weight, len(truth)), np.float64)
        return float(found.by_weights(truth, said)(w[None, :])[0])
    terms = found.terms(truth, said)
    if weight is None:
        return float(found.combine(terms.sum(axis=0)))
    return float(found.combine(item_weights(weight, len(terms)) @ terms))


def primary(y: ArrayLike, scores: ArrayLike) -> float:
    """The task's primary metric of a head's scores ``[n, C]``, calibrated or not; 0 where these items cannot tell.

    >>> primary([0, 1, 1], [[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]]), primary([0.5, 1.5], [[0.5], [1.5]])
    (0.75, 1.0)
    """
    truth, said = np.asarray(y), np.asarray(scores)
    task = task_of(truth)
    if task.LINK == "softmax":
        return measure(task.PRIMARY, truth, said.argmax(axis=1))
    found = measure(task.PRIMARY, truth, sigmoid(said) if task.LINK == "sigmoid" else said)
    return found if np.isfinite(found) else 0.0


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
    truth, said = _checked(metric_named("accuracy"), y, prediction)
    if max(truth.max(), said.max()) >= classes:
        raise OptionError(
            "a class index is too large", given=int(max(truth.max(), said.max())), allowed=f"0..{classes - 1}"
        )
    return np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def evaluate_probabilities(P: ArrayLike, y: ArrayLike, *, thresholds: ArrayLike | None = None) -> dict[str, float]:
    """What ``headway evaluate`` reports of a model's answers ``[n, C]`` against the truth, of any task.

    >>> list(evaluate_probabilities([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    ['n', 'accuracy', 'balanced_accuracy', 'macro_f1', 'log_loss', 'ece']
    """
    task = task_of(np.asarray(y))
    reported = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
    names = reported if task.LINK == "softmax" else task.METRICS
    return {"n": len(np.asarray(y)), **{name: measure(name, y, P, thresholds=thresholds) for name in names}}


def metric_interval(
    metric: str,
    y: ArrayLike,
    prediction: ArrayLike,
    *,
    resamples: int = 4000,
    confidence: float = 0.95,
    seed: int = 0,
    thresholds: ArrayLike | None = None,
) -> Interval:
    """A metric on a test set and its BCa bootstrap interval over items; never of width 0 where its range has ends.

    A bootstrap cannot see what the sample lacks: all right gives [1, 1]. So proportions (accuracy, balanced accuracy,
    F1) also get :func:`.bootstrap.agresti_coull`, and the wider limit counts; the other metrics, when every item
    measures alike, get :func:`.bootstrap.unseen_limits`. The limits stay within the metric's own range.

    >>> found = metric_interval("accuracy", [0, 1] * 20, [0, 1] * 20)
    >>> found.value, round(found.low, 2), found.high
    (1.0, 0.9, 1.0)
    """
    found, truth, said = prepared(metric, y, prediction, thresholds)
    options: dict[str, Any] = {"resamples": resamples, "seed": seed, "confidence": confidence}
    if found.terms is None or found.combine is None:
        value, low, high = bootstrap.bca_weighted(found.by_weights(truth, said), len(truth), **options)
        alike = high - low < 1e-9
    else:
        terms = found.terms(truth, said)
        value, low, high = bootstrap.bca(terms, found.combine, **options)
        alike = len(terms) < 3 or bool(np.ptp(terms, axis=0).max() < 1e-9)
    limits = (low, high)
    if not np.isfinite(value):
        return Interval(value=value, low=value, high=value)
    if found.proportions is not None:
        successes, totals = found.proportions(terms.sum(axis=0))
        limits = bootstrap.agresti_coull(
            successes, totals, confidence=confidence, f1=found.name in ("macro_f1", "micro_f1")
        )
    elif alike and np.isfinite(found.bounds).all():
        limits = bootstrap.unseen_limits(value, len(truth), found.bounds, confidence=confidence)
    return Interval(
        value=value, low=max(min(low, limits[0]), found.bounds[0]), high=min(max(high, limits[1]), found.bounds[1])
    )
