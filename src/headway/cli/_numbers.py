"""Measured numbers as cells of a table; a dash stands where a run holds none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"
METRICS = {"r2": "R²"}  # names that are not words
WORDS = {"chrf": "chrF", "bleu": "BLEU", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}


def metric_words(metric: str) -> str:
    """A metric's name as a person reads it.

    >>> metric_words("balanced_accuracy"), metric_words("r2")
    ('balanced accuracy', 'R²')
    """
    return METRICS.get(metric) or WORDS.get(metric, metric.replace("_", " "))


def number(value: object, form: str, *, scale: float = 1.0) -> str:
    """A number as text.

    >>> number(0.125, "+.1f", scale=100), number(None, ".1f")
    ('+12.5', '–')
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return MISSING
    return format(scale * value, form)


def points(interval: object, *, sign: str = "") -> str:
    """A value and its limits, in 0..1, as points.

    >>> points({"value": 0.716, "low": 0.68, "high": 0.75}), points({"value": 0.5}), points(None)
    ('71.6 [68.0, 75.0]', '50.0', '–')
    """
    if not isinstance(interval, Mapping):
        return MISSING
    value, low, high = (number(interval.get(key), f"{sign}.1f", scale=100) for key in ("value", "low", "high"))
    return value if MISSING in (low, high) else f"{value} [{low}, {high}]"


def count(value: object) -> str:
    """A number of things in three digits.

    >>> count(3371012), count(16654), count(260), count(None)
    ('3.37 M', '16.7 k', '260', '–')
    """
    shown = number(value, ".0f")
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if isinstance(value, int | float) and shown != MISSING and value >= 0.9995 * size:
            return f"{value / size:.3g} {letter}"
    return shown


def labels(value: object) -> str:
    """A number of labels that was extrapolated: two digits of it, as no more are known.

    >>> labels(2431.7), labels(87), labels(math.inf)
    ('2,400', '87', '–')
    """
    if number(value, "g") == MISSING:
        return MISSING
    assert isinstance(value, int | float)
    digits = max(0, math.floor(math.log10(max(value, 1))) - 1)
    return f"{round(value / 10**digits) * 10**digits:,}"


def spark(values: Sequence[object]) -> str:
    """A line of bars, low to high; a dot where there is no number.

    >>> spark([3.0, 2.0, None, 1.0])
    '█▅·▁'
    """
    known = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    bars = "▁▂▃▄▅▆▇█"

    def bar(value: Any) -> str:
        if number(value, "g") == MISSING:
            return "·"
        return bars[round((value - low) / (high - low) * 7)] if high > low else bars[0]

    return "".join(bar(value) for value in values)


def mappings(manifest: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A manifest's list of objects; empty where an earlier version did not write it."""
    found = manifest.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []
