"""``headway compare``: what each method brought over training from scratch, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headway.cli._numbers import MISSING, count, mappings, metric_words, number, points
from headway.cli._rows import show_rows
from headway.cli._screen import console, note, say_json
from headway.cli._show import arm_words
from headway.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from headway.run import Run


def compare_runs(paths: Sequence[str], *, json: bool) -> None:
    """One table, or JSON, of all runs' models, in the order given; a run without a comparison is named on stderr.

    Raises:
        RunError: a run cannot be opened, or none of them has a comparison.
    """
    from headway.run import open_run

    found = {path: rows_of(open_run(path), name=path) for path in paths}
    without = [path for path, rows in found.items() if not rows]
    if len(without) == len(found):
        raise RunError("no comparison in any run", given=", ".join(without), todo="Fit again with this version")
    for path in without:
        note(f"Left out: {path}: it holds no comparison. Fit again with this version.")
    rows = [row for lines in found.values() for row in lines]
    if json:
        say_json(rows)
    else:
        show_comparison(rows, console())


def rows_of(run: Run, *, name: str) -> list[dict[str, Any]]:
    """The run's comparison, a line a model, each with the run's name, task and metric; empty where there is none."""
    verdict = run.manifest.get("verdict")
    metric = verdict.get("metric") if isinstance(verdict, Mapping) else None
    return [{"run": name, "task": run.task, "metric": metric, **row} for row in mappings(run.manifest, "comparison")]


def show_comparison(rows: Sequence[Mapping[str, Any]], screen: Console) -> None:
    """The table, with a column of runs where there are several; on stderr, which run has no model from scratch."""
    runs = list(dict.fromkeys(row.get("run") for row in rows))
    several = len(runs) > 1
    metrics = sorted({metric_words(str(row.get("metric") or "score")) for row in rows})
    columns = ["model", "method", ">test [95 %]", ">over scratch [95 %]", ">trained s", ">trainable"]
    show_rows(
        screen,
        f"{' or '.join(metrics).capitalize()} on the test set, in points",
        ["run", *columns] if several else columns,
        [(row.get("run"), *_cells(row)) if several else _cells(row) for row in rows],
    )
    scratch = {row.get("run") for row in rows if row.get("arm") == "scratch"}
    for run in runs:
        if run not in scratch:
            note(f"Note: {run}: no model was trained from scratch, so no gain over it is known.")


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        described(row),
        row.get("method") or MISSING,
        points(row.get("test")),
        points(row.get("gain"), sign="+"),
        number(row.get("seconds"), ".1f"),
        count(row.get("trainable")),
    )


def described(row: Mapping[str, Any]) -> str:
    """What was learnt from, in words: ``packaged:efficientnet_lite0.in1k, tuned above blocks.4``."""
    arm, backbone, cut = str(row.get("arm") or MISSING), row.get("backbone"), row.get("cut")
    known = (
        str(backbone)
        if backbone and arm in ("transfer", MISSING)
        else arm_words(arm, str(row.get("task") or "classification"))
    )
    return f"{known}, tuned above {cut}" if cut else known
