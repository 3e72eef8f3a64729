"""The commands. Everything heavy is imported inside them: ``headway --help`` imports neither numpy nor rich."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from headway.budget import Deadline, seconds_of
from headway.cli import _models
from headway.cli._guard import guarded
from headway.cli._progress import live
from headway.cli._screen import add, console, finding_lines, note, plain, say, say_json, table

app = typer.Typer(
    help="Transfer learning that chooses, adapts, proves and ships.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help costs 0.1 s
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(_models.app, name="models")


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder with a folder a class (or train/, val/, test/ of these), a table of paths or texts and labels "
        "(CSV, Parquet, JSONL), or a saved Hugging Face data set.",
    ),
]
Models = Annotated[
    str | None,
    typer.Option(metavar="GLOB,...", help="Networks to try, as globs; default: the packaged general ones."),
]
Label = Annotated[
    list[str] | None,
    typer.Option(metavar="COL", help="The table's column of labels; repeated: columns of 0 and 1, one a label."),
]
Text = Annotated[
    list[str] | None,
    typer.Option(metavar="COL", help="The table's column of texts; given twice: pairs. Not needed where it is plain."),
]
Task = Annotated[
    str,
    typer.Option(
        metavar="T",
        help="classification, multilabel, regression, tagging or seq2seq (labels are texts to be written); auto: "
        "classification, unless the labels are lists, or many numbers that are not whole.",
    ),
]
Group = Annotated[
    str | None, typer.Option(metavar="COL", help="The table's column of groups that no split may tear apart.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result on the same machine.")]
On = Annotated[Device, typer.Option(help="Where networks run.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at a bad item instead of leaving it out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from headway import __version__

        say(__version__)
        raise typer.Exit


@app.command()
@guarded
def fit(
    data: Data,
    out: Annotated[
        str | None, typer.Option(metavar="RUN", help="Folder for the run; default: runs/NAME-1, -2, ...")
    ] = None,
    models: Models = None,
    budget: Annotated[str, typer.Option(help="Wall-clock time for the whole command: 90s, 2m, 1h.")] = "120s",
    label: Label = None,
    text: Text = None,
    group: Group = None,
    task: Task = "auto",
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Pin the method: probe (frozen features only), ridge, logistic, lora, full, ...; default: what pays.",
        ),
    ] = None,
    cut: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Pin the module after which tuning begins, as blocks.4.")
    ] = None,
    seed: Seed = 0,
    device: On = Device.auto,
    offline: Offline = False,
    strict: Strict = False,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run's path and nothing else.")] = False,
) -> None:
    """Choose, adapt, prove and save a model from labelled images or texts."""
    deadline = _started(budget)
    from headway.cli._fit import claimed
    from headway.recipe import fit as fit_recipe

    with claimed(out, data) as folder, live(quiet=quiet or json, deadline=deadline) as progress:
        run = fit_recipe(
            data,
            out=folder,
            models=_globs(models),
            label=label,
            text=text,
            group=group,
            task=task,
            method=method,
            cut=cut,
            seed=seed,
            device=device.value,
            offline=offline,
            strict=strict,
            deadline=deadline,
            progress=progress,
        )
    if json:
        say_json(run.manifest)
    elif quiet:
        say(str(folder))
    else:
        from headway.cli._show import show_run

        show_run(run)
    if json and out is None:
        note(f"Run: {folder}")


@app.command()
@guarded
def rank(
    data: Data,
    models: Models = None,
    budget: Annotated[str, typer.Option(help="Wall-clock time for the whole command: 90s, 2m, 1h.")] = "300s",
    label: Label = None,
    text: Text = None,
    group: Group = None,
    task: Task = "auto",
    seed: Seed = 0,
    device: On = Device.auto,
    offline: Offline = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Rank pretrained networks by how well they suit labelled data.

    Networks of one group cannot be told apart on these data.
    """
    deadline = _started(budget)
    from headway.cli._show import ranking_json, show_ranking
    from headway.recipe import rank as rank_recipe

    with live(quiet=json, deadline=deadline) as progress:
        ranking = rank_recipe(
            data,
            models=_globs(models),
            label=label,
            text=text,
            group=group,
            task=task,
            seed=seed,
            device=device.value,
            offline=offline,
            strict=strict,
            deadline=deadline,
            progress=progress,
        )
    if json:
        say_json(ranking_json(ranking))
    else:
        show_ranking(ranking)


@app.command()
@guarded
def predict(
    run: RunArgument,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, globs or tables.")],
    text: Text = None,
    out: Annotated[str | None, typer.Option(metavar="FILE.csv", help="Default: standard output.")] = None,
    strict: Strict = False,
) -> None:
    """Predict classes, labels, numbers, tags or texts, as CSV.

    The columns are item, prediction, probability and one a class; of several labels an item, a;b and a probability a
    label; of numbers, item and prediction. What a spreadsheet would take for a formula gets
    ./ before a path and ' before a class.
    """
    from headway.cli._predictions import header, predict_paths, rows, write_rows, writer
    from headway.run import open_run

    opened = open_run(run)
    if opened.task == "tagging":
        from headway.cli._tags import write_tags

        write_tags(opened, paths, out)
        return
    # One source after another: all are predicted before the first line, so that an error leaves no half a table.
    with live(quiet=False) as progress:
        found = list(predict_paths(opened, paths, text=text or (), strict=strict, progress=progress))
    with writer(out) as file:
        write_rows(file, [header(opened)])
        for before, predictions in found:
            write_rows(file, rows(predictions, before))
    for line in finding_lines([finding for _, predictions in found for finding in predictions.findings]):
        note(line)


@app.command()
@guarded
def evaluate(
    run: RunArgument,
    data: Data,
    label: Label = None,
    text: Text = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Measure a run on labelled data that it never saw.

    Classes and labels are matched by their names.
    """
    from headway.recipe.evaluation import evaluate as evaluate_recipe
    from headway.run import open_run

    with live(quiet=json) as progress:
        found = evaluate_recipe(open_run(run), data, label=label, text=text, strict=strict, progress=progress)
    for line in finding_lines(found.findings):
        note(line)
    if json:
        say_json(found.metrics)
        return
    shown = table(f"{plain(run)} on {found.metrics['n']} items", "metric", ">value")
    for name, value in list(found.metrics.items())[1:]:
        add(shown, name, f"{value:.4f}")
    console().print(shown)


@app.command()
@guarded
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of finished runs.")], json: Json = False
) -> None:
    """Show what each method brought over training from scratch, and at what cost."""
    from headway.cli._compare import compare_runs

    compare_runs(runs, json=json)


@app.command()
@guarded
def samples(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The data set to build.")] = None,
    to: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to build it in; default: samples/NAME.")] = None,
    offline: Offline = False,
) -> None:
    """List sample data sets, or build one as a plain folder or table."""
    from pathlib import Path

    from headway.samples import available, build

    if name is not None:
        say(str(build(name, Path(to or f"samples/{name}"), offline=offline)))
        return
    shown = table("Build one with: headway samples NAME --to DIR", "name", "modality", "task", ">items", "licence")
    for sample in available():
        add(shown, sample.name, sample.modality, sample.task, sample.items, sample.licence)
    console().print(shown)


@app.command()
@guarded
def demo(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="clip13|mnist|text", help="Default: the drawings, clip13, or digits where they cannot be had."
        ),
    ] = None,
    budget: Annotated[str, typer.Option(help="Wall-clock time for choosing, adapting and proving.")] = "150s",
    offline: Offline = False,
) -> None:
    """Build a sample data set, fit on it, and show what comes out."""
    seconds = seconds_of(budget)
    from headway.cli._demo import run_demo

    run_demo(name, seconds=seconds, offline=offline)


def _started(budget: str) -> Deadline:
    """The budget, running since this process was started."""
    seconds = seconds_of(budget)
    from headway.recipe.session import process_age

    return Deadline(seconds, started=time.monotonic() - process_age())


def _globs(models: str | None) -> list[str]:
    return [glob.strip() for glob in (models or "").split(",") if glob.strip()]
