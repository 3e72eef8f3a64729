"""Regression: one number an item.

Metrics are named here and computed in ``evaluate/``, which stands to the right of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError, OptionError
from headway.tasks._labels import SHOWN, Encoded, is_many, missing, refuse_few, refuse_many, refuse_missing
from headway.types import Finding, FloatArray, IntArray, Link

METRICS = ("r2", "mae", "rmse", "pearson", "spearman")
PRIMARY = "r2"  # what is chosen by, reported first and argued about
LINK: Link = "identity"
PRIOR = "the mean"  # what the arm without features always answers
BINS = 10
"""Quantile bins that every part of a split has in proportion, at most."""
LEAST = 8
"""Items that such a bin has, at least."""

_FAR = 20  # times the middle half's width beyond it: far enough that a slip of the pen is likelier than a value


def encode(labels: Sequence[Any]) -> Encoded:
    """Numbers ``[n]``, float64; text is read as Python reads it (``"1e-3"``, a decimal point), booleans are refused.

    Raises :class:`DataError` for fewer than 2 items, a missing, infinite or unreadable number, or numbers that are all
    the same. A number far outside all others is a finding.

    >>> encode(["1.5", 2, np.float32(4)]).targets.tolist()
    [1.5, 2.0, 4.0]
    """
    refuse_few(labels)
    refuse_many(labels, "regression")
    refuse_missing(labels)
    targets = _numbers(labels)
    if targets.min() == targets.max():
        raise DataError(
            "all targets are the same number, so there is nothing to predict",
            given=f"{len(labels)} items of {targets[0]:g}",
            allowed="2 different numbers or more",
            todo="Name the right column with --label",
        )
    return Encoded(targets=targets, classes=(), findings=_findings(targets))


def encode_as(labels: Sequence[Any], classes: Sequence[str]) -> Encoded:
    """Numbers ``[n]`` that a model is to be judged by; any number of items will do. There are no ``classes``.

    >>> encode_as(["1.5"], ()).targets.tolist()
    [1.5]
    """
    refuse_missing(labels)
    return Encoded(targets=_numbers(labels), classes=tuple(classes))


def number(label: Any) -> float | None:
    """A label as a number, infinite and NaN included; ``None`` where it is none.

    >>> number("1.5"), number("1,5"), number(True), number("1_000")
    (1.5, None, None, None)
    """
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, bool) or is_many(value):
        return None
    if isinstance(value, str | bytes):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        try:
            return None if "_" in text else float(text)
        except ValueError:
            return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def outputs(classes: Sequence[str]) -> int:
    """Columns of scores: the number is the only one, and there are no classes."""
    return 1 + len(classes)


def strata(targets: FloatArray) -> IntArray:
    """What every part should have in proportion ``[n]``: up to ten quantile bins, of eight items or more each.

    Eight, because of eight a quarter is held out for testing and each of five folds still gets one of the other six.

    >>> strata(np.arange(16.0)).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    values, inverse = np.unique(targets, return_inverse=True)
    bins = max(1, min(BINS, len(targets) // LEAST))
    # A value's bin is that of its middle rank, so that equal numbers share one.
    counts = np.bincount(inverse, minlength=len(values))
    middle = np.cumsum(counts) - (counts + 1) / 2
    bin_of = np.floor(middle * bins / len(targets)).astype(np.int64)
    found: IntArray = np.unique(bin_of[inverse], return_inverse=True)[1].astype(np.int64)
    return found


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The header of the rows of :func:`decode`; there are no classes.

    >>> columns(())
    ('item', 'prediction')
    """
    return ("item", "prediction", *classes)


def decode(
    P: FloatArray, *, names: Sequence[str], classes: Sequence[str], thresholds: FloatArray | None = None
) -> Iterator[tuple[str | float, ...]]:
    """Rows of ``(item, number)`` from the head's outputs ``[n, 1]``.

    >>> list(decode(np.array([[2.5]]), names=("a.jpg",), classes=()))
    [('a.jpg', 2.5)]
    """
    if P.shape != (len(names), 1) or thresholds is not None or classes:
        raise OptionError("the predictions do not fit", given=f"shape {P.shape}", allowed=f"[{len(names)}, 1]")
    yield from zip(names, P[:, 0].astype(np.float64).tolist(), strict=True)


def _numbers(labels: Sequence[Any]) -> NDArray[np.float64]:
    numbers = [number(label) for label in labels]
    unread = [row for row, value in enumerate(numbers) if value is None]
    if unread:
        shown = ", ".join(f"{labels[row]!r} in row {row}" for row in unread[:3])
        raise DataError(
            "a target is not a number",
            given=shown + (f" and {len(unread) - 3} more" if len(unread) > 3 else ""),
            allowed="numbers, with a decimal point in text",
            todo="Correct them, or fit with --task classification",
        )
    targets = np.array(numbers, np.float64)
    odd = np.flatnonzero(~np.isfinite(targets))
    if len(odd):
        raise DataError(
            "a target is not a finite number",
            given=f"{targets[odd[0]]} in row {odd[0]}, {len(odd)} in all",
            allowed="finite numbers",
            todo="Correct these items or leave them out",
        )
    return targets


def _findings(targets: NDArray[np.float64]) -> tuple[Finding, ...]:
    low, high = np.quantile(targets, [0.25, 0.75])
    reach = _FAR * (high - low)
    far = np.flatnonzero((targets < low - reach) | (targets > high + reach)) if reach > 0 else np.zeros(0, np.int64)
    if not len(far):
        return ()
    message = (
        f"{len(far)} targets lie more than {_FAR} times the middle half's width away from it: squared errors, and so "
        "R², will be about them."
    )
    shown = tuple(f"{targets[row]:g}" for row in far[:SHOWN])
    return (Finding(check="far_targets", severity="warn", message=message, evidence=shown),)


__all__ = ["Encoded", "columns", "decode", "encode", "encode_as", "missing", "number", "outputs", "strata"]
