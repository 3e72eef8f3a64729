"""Losses by link, each a plain mean over the rows of a batch, and the scale on which a regression's targets are learnt.

A plain mean can be taken apart: the mean over a batch is the weighted sum of the means over its parts, which is what
gradient accumulation needs. Class weights therefore scale the rows and are not divided by their sum in the batch, as
``torch.nn.CrossEntropyLoss`` would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from headway.errors import DataError, OptionError
from headway.types import FloatArray, IntArray, LinearHead, Link

if TYPE_CHECKING:
    from torch import Tensor

    Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

SMALLEST_SPREAD = 1e-12  # below it a target is constant


def loss_for(
    link: Link,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    huber: float | None = None,
) -> Loss:
    """``loss(scores, targets)``: a scalar, the mean over rows.

    - ``"softmax"``: cross entropy of scores ``[n, C]`` with class numbers ``[n]`` or soft targets ``[n, C]``;
      ``class_weights`` ``[C]`` multiply each class's share, smoothing mixes the target with 1/C (Szegedy et al. 2016,
      arXiv 1512.00567, section 7).
    - ``"sigmoid"``: binary cross entropy of scores ``[n, C]`` with 0/1 targets ``[n, C]``, mean over labels too;
      ``class_weights`` ``[C]`` multiply the share of the ones, smoothing mixes the target with 1/2.
    - ``"identity"``: squared error, or Huber's loss with its threshold ``huber`` in the units of the targets; mean over
      columns too.

    Raises:
        OptionError: smoothing outside 0..1, or an option that the link does not have.

    >>> import torch
    >>> float(loss_for("softmax")(torch.zeros(3, 4), torch.tensor([0, 1, 3]))) == float(torch.tensor(4.0).log())
    True
    """
    if link not in ("softmax", "sigmoid", "identity"):
        raise OptionError("there is no such link", given=link, allowed="softmax, sigmoid, identity")
    if not 0 <= label_smoothing < 1:
        raise OptionError("label smoothing is a share", given=label_smoothing, allowed="0 to below 1")
    if link == "identity":
        if label_smoothing or class_weights is not None:
            raise OptionError("numbers have neither classes to weigh nor labels to smooth", given=link)
        return partial(_squared, huber=huber)
    if huber is not None:
        raise OptionError("Huber's loss is for numbers", given=link, allowed="identity")
    return partial(_softmax if link == "softmax" else _sigmoid, smoothing=label_smoothing, weights=class_weights)


def balanced_weights(y: IntArray, /, *, classes: int) -> tuple[float, ...]:
    """``n / (present classes × n_c)`` for each class that is present, 1 for the others: equal say for each class.

    >>> balanced_weights(np.array([0, 0, 0, 2]), classes=3)
    (0.6666666666666666, 1.0, 2.0)
    """
    counts = np.bincount(y, minlength=classes)
    present = np.maximum(counts, 1)
    return tuple(np.where(counts > 0, len(y) / ((counts > 0).sum() * present), 1.0).tolist())


def _softmax(scores: Tensor, targets: Tensor, *, smoothing: float, weights: Sequence[float] | None) -> Tensor:
    from torch.nn.functional import cross_entropy

    weight = None if weights is None else scores.new_tensor(weights)
    total = cross_entropy(scores, targets, weight=weight, label_smoothing=smoothing, reduction="sum")
    return total / len(scores)


def _sigmoid(scores: Tensor, targets: Tensor, *, smoothing: float, weights: Sequence[float] | None) -> Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits

    weight = None if weights is None else scores.new_tensor(weights)
    smoothed = _like(targets, scores) * (1 - smoothing) + smoothing / 2
    return binary_cross_entropy_with_logits(scores, smoothed, pos_weight=weight)


def _squared(scores: Tensor, targets: Tensor, *, huber: float | None) -> Tensor:
    from torch.nn.functional import huber_loss, mse_loss

    wanted = _like(targets, scores)
    return mse_loss(scores, wanted) if huber is None else huber_loss(scores, wanted, delta=huber)


def _like(targets: Tensor, scores: Tensor) -> Tensor:
    """``[n]`` targets of one column as ``[n, 1]``; another shape would be broadcast in silence."""
    if targets.numel() != scores.numel() or len(targets) != len(scores):
        raise DataError(
            "targets and scores differ in shape",
            given=f"{list(targets.shape)} and {list(scores.shape)}",
            allowed="one target a score",
        )
    return targets.reshape(scores.shape).to(scores.dtype)


# --- regression ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScale:
    """Mean and standard deviation of each target column ``[k]``, of the training rows: what a network learns is near 1.

    >>> scale = target_scale(np.array([10.0, 14.0]))
    >>> scaled(np.array([10.0, 14.0]), scale).tolist(), unscaled(np.array([[-1.0], [1.0]]), scale).tolist()
    ([[-1.0], [1.0]], [[10.0], [14.0]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def target_scale(targets: FloatArray, /) -> TargetScale:
    """From training targets ``[n]`` or ``[n, k]``. A constant column keeps the spread 1.

    Raises:
        DataError: no rows, or values that are not finite.
    """
    columns = _columns(targets)
    if not len(columns) or not np.isfinite(columns).all():
        raise DataError("targets must be finite numbers", given=f"{len(columns)} rows, some not finite or none at all")
    spread = columns.std(axis=0)
    constant = spread <= SMALLEST_SPREAD * np.maximum(1.0, np.abs(columns).max(axis=0))
    return TargetScale(mean=tuple(columns.mean(axis=0).tolist()), std=tuple(np.where(constant, 1.0, spread).tolist()))


def scaled(targets: FloatArray, scale: TargetScale) -> FloatArray:
    """``(targets - mean) / std``, ``[n, k]`` in float64."""
    return (_columns(targets) - scale.mean) / scale.std


def unscaled(scores: FloatArray, scale: TargetScale) -> FloatArray:
    """``scores × std + mean``, ``[n, k]`` in float64: back in the user's units."""
    return _columns(scores) * scale.std + scale.mean


def folded(head: LinearHead, scale: TargetScale) -> LinearHead:
    """The same head with scores in the user's units: the scale goes into its weight and bias."""
    std, mean = np.asarray(scale.std, np.float32), np.asarray(scale.mean, np.float32)
    return replace(head, weight=head.weight * std, bias=head.bias * std + mean)


def unfolded(head: LinearHead, scale: TargetScale) -> LinearHead:
    """The inverse of :func:`folded`: a probe of the user's units as the start of what learns scaled targets."""
    std, mean = np.asarray(scale.std, np.float32), np.asarray(scale.mean, np.float32)
    return replace(head, weight=head.weight / std, bias=(head.bias - mean) / std)


def _columns(values: FloatArray) -> FloatArray:
    table = np.asarray(values, np.float64)
    return table[:, None] if table.ndim == 1 else table
