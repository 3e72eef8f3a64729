"""What a run found out about fine-tuning, as a person reads it: depth, rungs, training curves, the worth of labels.

Every function prints nothing where the manifest lacks its key: runs of earlier versions have none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headway.cli._numbers import MISSING, count, labels, mappings, metric_words, number, points, spark
from headway.cli._rows import line, show_rows
from headway.cli._screen import finding_lines, plain

if TYPE_CHECKING:
    from rich.console import Console

EPOCHS_SHOWN = 60  # bars of a curve: longer ones show every second epoch, or every third, ...


def show_depth(manifest: Mapping[str, Any], screen: Console) -> None:
    """A table a network: stage, validation score of a probe on it, and what a cut there would leave to train."""
    rows = mappings(manifest, "depth")
    for backbone in dict.fromkeys(row.get("backbone") for row in rows):
        own = [row for row in rows if row.get("backbone") == backbone]
        best = max(own, key=_validation)
        rows_shown = [
            (
                row.get("stage", MISSING),
                points({**row, "value": row.get("validation")}),
                _percent(row.get("frozen_share")),
                count(row.get("trainable")),
                number(row.get("seconds"), ".2f"),
            )
            for row in own
        ]
        title = f"Depth: a probe on each stage of {plain(backbone or MISSING)}"
        columns = ("=stage", ">validation", ">cost below", ">trained above", ">s")
        show_rows(screen, title, columns, rows_shown, styles=["bold" if row is best else None for row in own])


def show_ladder(manifest: Mapping[str, Any], screen: Console) -> None:
    """The rungs in their order: seconds and gain, predicted and measured, and what became of each.

    Of the frozen rungs the best of each kind: the others stand among the contenders.
    """
    rows = _best_of_each_kind(mappings(manifest, "ladder"))
    if not rows:
        return
    columns = ("rung", "network", "method", ">s", ">validation", ">gain", "state")
    title = "Ladder: seconds and points of gain, predicted → measured"
    styles = [None if row.get("state") == "climbed" else "dim" for row in rows]
    show_rows(screen, title, columns, [_rung(row) for row in rows], styles=styles)


def _best_of_each_kind(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One row for the frozen rungs of a kind, for which nothing is predicted, and every other row."""
    best: dict[object, Mapping[str, Any]] = {}
    for row in rows:
        if _frozen(row) and (row.get("rung") not in best or _validation(row) > _validation(best[row.get("rung")])):
            best[row.get("rung")] = row
    return [row for row in rows if not _frozen(row) or row is best[row.get("rung")]]


def _frozen(row: Mapping[str, Any]) -> bool:
    given = row.get("predicted")
    return not isinstance(given, Mapping) or given.get("gain") is None


def _rung(row: Mapping[str, Any]) -> tuple[object, ...]:
    given, why = row.get("predicted"), row.get("why")
    predicted: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    method, state, cut = row.get("method") or MISSING, row.get("state") or MISSING, row.get("cut")
    return (
        row.get("rung") or MISSING,
        row.get("backbone") or MISSING,
        f"{method} above {cut}" if cut else method,
        _both(number(predicted.get("seconds"), ".1f"), number(row.get("seconds"), ".1f")),
        number(row.get("validation"), ".1f", scale=100),
        _both(number(predicted.get("gain"), "+.1f", scale=100), number(row.get("gain"), "+.1f", scale=100)),
        f"{state}: {why}" if why else state,
    )


def show_data_value(manifest: Mapping[str, Any], screen: Console) -> None:
    """Two sentences: what more labels would bring, and when training from scratch would catch up."""
    for said in data_value_lines(manifest):
        line(screen, said)


def data_value_lines(manifest: Mapping[str, Any]) -> list[str]:
    """The same as text; where something cannot be told, that it cannot."""
    found = manifest.get("data_value")
    if not isinstance(found, Mapping):
        return []
    metric, why = metric_words(str(found.get("metric") or "the score")), found.get("why")
    because = f": {why}" if why else ""
    measured = ", ".join(
        f"{number(row.get('value'), '.1f', scale=100)} with {number(row.get('n'), ',.0f')}"
        for row in mappings(found, "points")
    )
    lines = [f"By labels: {measured} (points of {metric}, validation)."] if measured else []
    more = found.get("more")
    if isinstance(more, Mapping) and number(more.get("value"), "g") != MISSING:
        lines.append(
            f"{number(more.get('labels'), ',.0f')} more labels would bring {points(more, sign='+')} points of {metric}."
        )
    else:
        lines.append(f"What more labels would bring cannot be told from these data{because}.")
    return [*lines, _catching_up(found.get("catch_up"))]


def _catching_up(later: object) -> str:
    """One sentence: at how many labels training from scratch would catch up, or why that cannot be told."""
    found: Mapping[str, Any] = later if isinstance(later, Mapping) else {}
    if number(found.get("beyond"), "g") != MISSING:
        return f"Training from scratch would not catch up with {number(found['beyond'], ',.0f')} labels either."
    if labels(found.get("labels")) == MISSING:
        why = f": {plain(found['why'])}" if found.get("why") else ""
        return f"When training from scratch would catch up cannot be told{why or ' from these data'}."
    low, high = labels(found.get("low")), labels(found.get("high"))
    upper = "or more" if high == MISSING else f"to {high}"
    within = "" if low == MISSING else f" [{low} {upper}]"
    return (
        f"Training from scratch would need about {labels(found.get('labels'))} labels{within} to reach what "
        "transfer has now."
    )


def show_curves(manifest: Mapping[str, Any], screen: Console) -> None:
    """Bars of losses and of the validation score by epoch, a few lines a training; then warnings of overfitting."""
    for curve in mappings(manifest, "curves"):
        epochs = mappings(curve, "epochs")
        if not epochs:
            continue
        step = -(-len(epochs) // EPOCHS_SHOWN)
        cut = f" above {curve['cut']}" if curve.get("cut") else ""
        name = f"{curve.get('method') or MISSING}{cut} on {curve.get('backbone') or MISSING}"
        every = "" if step == 1 else f", every {step} shown"
        line(screen, f"Training: {name}, {len(epochs)} epochs{every}")
        for key, said, form, scale in (
            ("train_loss", "training loss", ".3f", 1.0),
            ("val_loss", "validation loss", ".3f", 1.0),
            ("val_score", "validation score", ".1f", 100.0),
        ):
            values = [epoch.get(key) for epoch in epochs]
            if any(number(value, "g") != MISSING for value in values):
                ends = f"{number(values[0], form, scale=scale)} to {number(values[-1], form, scale=scale)}"
                line(screen, f"  {said:17}{spark(values[::step])}  {ends}")
    for warning in finding_lines(row for row in mappings(manifest, "findings") if row.get("check") == "overfitting"):
        line(screen, warning)


def _validation(row: Mapping[str, Any]) -> float:
    value = row.get("validation")
    return float(value) if isinstance(value, int | float) else -1.0


def _percent(share: object) -> str:
    shown = number(share, ".0f", scale=100)
    return shown if shown == MISSING else f"{shown} %"


def _both(predicted: str, measured: str) -> str:
    return measured if predicted == MISSING else f"{predicted} → {measured}"
