"""A run and a ranking as a person reads them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.cli._ladder_screen import show_curves, show_data_value, show_depth, show_ladder
from headway.cli._numbers import METRICS, metric_words
from headway.cli._screen import add, console, cut_lines, finding_lines, plain, say, table

if TYPE_CHECKING:
    from rich.table import Table

    from headway.recipe.ranking import Ranking
    from headway.run import Run

HEADLINES = {
    "helps": ("Transfer helps", "green"),
    "equivalent": ("Transfer makes no difference", "yellow"),
    "harms": ("Transfer harms", "red"),
    "undecided": ("Undecided: these data do not tell whether transfer helps", "yellow"),
}
_INPUTS = {"image": "IMAGES", "text": "TEXTS"}
ARMS = {
    "transfer": "with transfer",
    "classical": "classical features",
    "random": "the network with random weights",
    "scratch": "the network trained from scratch",
    "copy": "the source copied",
    "lead": "its first three sentences",
    "untuned": "the untuned model, prompted",
}


def show_run(run: Run) -> None:
    """Ranking, contenders, verdict, what was left out, findings, and what to do next."""
    manifest = run.manifest
    screen = console()
    if manifest["ranking"]:
        screen.print(_ranking_table(manifest["ranking"], manifest["verdict"]["metric"]))
    screen.print(_contenders_table(manifest))
    show_depth(manifest, screen)
    show_ladder(manifest, screen)
    show_curves(manifest, screen)
    screen.print(_verdict_panel(manifest))
    show_data_value(manifest, screen)
    others = [row for row in manifest["findings"] if row["check"] != "overfitting"]  # those stand beneath the curves
    for line in [*cut_lines(manifest["cut"]), *finding_lines(others)]:
        say(line)
    chosen = manifest["chosen"]
    data = manifest["data"]
    say(f"Learnt from {data['train']} items, tested on {data['test']}, in {manifest['timings']['total']:.1f} s.")
    say(f"Model: {chosen['method']} on {_features(chosen, manifest['task'])}")
    say(f"Run:   {plain(run.path)}")
    inputs = _INPUTS.get(manifest.get("modality", "image"), "DATA")
    say(f"Next:  headway predict {quoted(run.path)} {inputs} --out predictions.csv")


def show_ranking(ranking: Ranking) -> None:
    """The lines, best first, what was left out, and findings."""
    from dataclasses import asdict

    console().print(_ranking_table([asdict(line) for line in ranking.lines], ranking.metric))
    for line in [*cut_lines(ranking.cut), *finding_lines(ranking.findings)]:
        say(line)
    say(f"Ranked on {ranking.items} items. Within a group, differences of score are noise.")


def ranking_json(ranking: Ranking) -> list[dict[str, Any]]:
    """One object a network, best first; every score by its name beside the contract's keys."""
    return [
        {
            "backbone": line.backbone,
            "score": line.score,
            "low": line.low,
            "high": line.high,
            "tie": line.tie,
            "seconds": line.seconds,
            **line.scores,
        }
        for line in ranking.lines
    ]


def quoted(path: Path | str) -> str:
    """A path as it is pasted into a shell; one that begins with a dash is kept from looking like an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _ranking_table(ranking: Sequence[Mapping[str, Any]], metric: str) -> Table:
    shown = table(
        f"Ranking: leave-one-out {metric_words(metric)} on these data",
        *("=network", ">score", ">95 % interval", ">group", ">s"),
    )
    for line in ranking:
        interval = f"{line['low']:.3f} to {line['high']:.3f}"
        add(shown, line["backbone"], f"{line['score']:.3f}", interval, line["tie"], f"{line['seconds']:.1f}")
    return shown


def _contenders_table(manifest: Mapping[str, Any]) -> Table:
    metric = metric_words(manifest["verdict"]["metric"])
    title = f"Contenders: mean {metric.removeprefix('mean ')} of the validation folds"
    shown = table(title, "features", "method", ">score", ">s")
    kept = manifest["chosen"]
    for line in manifest["contenders"]:
        own = all(line[key] == kept[key] for key in ("arm", "features", "method"))
        mark = " (kept)" if own else ""
        score, seconds = f"{line['validation']:.3f}", f"{line['seconds']:.1f}"
        add(
            shown,
            _features(line, manifest["task"]),
            line["method"] + mark,
            score,
            seconds,
            style="bold" if own else None,
        )
    return shown


def _verdict_panel(manifest: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.panel import Panel
    from rich.text import Text

    verdict = manifest["verdict"]
    headline, colour = HEADLINES[verdict["outcome"]]
    body = Text(f"{headline}.", style=f"bold {colour}")
    body.append(f"\n{plain(verdict['advice'])}\n", style="not bold default")
    metric = metric_words(verdict["metric"])
    body.append(f"\n{metric[:1].upper()}{metric[1:]} on the test set:", style="not bold default")
    for arm, found in verdict["arms"].items():
        interval = f"{found['value']:.3f}  [{found['low']:.3f}, {found['high']:.3f}]"
        body.append(f"\n  {arm_words(arm, manifest['task']):32} {interval}", style="not bold default")
    effect = _effect(verdict)
    against = arm_words(verdict["against"], manifest["task"])
    body.append(f"\n  {'difference':32} {effect}, p = {verdict['p']:.2g}, to {against}", style="not bold default")
    return Panel(body, title=Text("Verdict"), title_align="left", box=box.ROUNDED, border_style=colour)


def _effect(verdict: Mapping[str, Any]) -> str:
    """The difference in the metric's own unit: points of what lies in 0..1."""
    value, low, high = (verdict[key] for key in ("effect", "low", "high"))
    if verdict["metric"] in METRICS:
        return f"{value:+.3f}  [{low:+.3f}, {high:+.3f}]"
    return f"{100 * value:+.1f} points  [{100 * low:+.1f}, {100 * high:+.1f}]"


def arm_words(arm: str, task: str) -> str:
    """What an arm is, as a person reads it."""
    from headway import plugins

    return str(plugins.load("tasks", task).PRIOR) if arm == "prior" else ARMS.get(arm, arm)


def _features(chosen: Mapping[str, Any], task: str) -> str:
    return str(chosen["features"]) if chosen["backbones"] else arm_words(str(chosen["arm"]), task)
