"""How long the commands take that answer at once: ``headway --help``, and ``headway predict`` on one image.

    python benchmarks/commands.py           about 1 minute on 2 cores

Whole processes, the median after one warm-up. The model is what ``headway fit`` makes of clip13 by default, so as many
networks as it found worth fusing answer. Features are never in the store; the networks are compiled for this processor
already, except in the line that says otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _shared import Target, arguments, cold_store, note, report, sample, timed
from headway.recipe import fit

HEADWAY = str(Path(sys.executable).with_name("headway"))
HELP, PREDICT, FIRST, BARE = (
    "headway --help",
    "headway predict RUN IMAGE",
    "the same, networks not compiled yet",
    "python -c pass",
)
HELP_SECONDS, PREDICT_SECONDS = 0.3, 1.5


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="how often each command runs (default 9)")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch:
        data = few(sample("clip13"), Path(scratch) / "data", per_class=20 if options.quick else None)
        note("fitting a model")
        run = fit(data, out=Path(scratch) / "run", models=["*lite0*"] if options.quick else [])
        picture = sorted(sample("clip13").rglob("*.png"))[0]
        cases = commands(Path(scratch), picture)
        found: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, seconds in cases.items():
                taken = seconds()
                if number:  # the first round warms up the disk's cache, and compiles
                    found[name].append(taken)
    medians = {name: median(values) for name, values in found.items()}
    targets = [
        Target(what=HELP, value=medians[HELP], limit=HELP_SECONDS, least=False, unit="s"),
        Target(what=PREDICT, value=medians[PREDICT], limit=PREDICT_SECONDS, least=False, unit="s"),
    ]
    names = list(run.manifest["chosen"]["backbones"])
    rows = [
        ("command", "median s", "fastest", "slowest"),
        *((n, f"{medians[n]:.2f}", f"{min(v):.2f}", f"{max(v):.2f}") for n, v in found.items()),
    ]
    numbers: dict[str, Any] = {"seconds": found, "medians": medians, "networks": names}
    report("commands", numbers, targets, options, tables=[(f"whole processes; the model: {', '.join(names)}", rows)])


def commands(scratch: Path, picture: Path) -> dict[str, Callable[[], float]]:
    """Each case runs one process and gives its seconds."""
    predict = [HEADWAY, "predict", str(scratch / "run"), str(picture), "--out", str(scratch / "predictions.csv")]

    def predicted(kept: Sequence[str]) -> float:
        (scratch / "predictions.csv").unlink(missing_ok=True)
        with cold_store(kept):
            seconds = process(predict)
        assert len((scratch / "predictions.csv").read_text("utf-8").splitlines()) == 2
        return seconds

    return {
        BARE: lambda: process([sys.executable, "-c", "pass"]),
        HELP: lambda: process([HEADWAY, "--help"]),
        PREDICT: lambda: predicted(["networks"]),
        FIRST: lambda: predicted([]),
    }


def process(command: Sequence[str]) -> float:
    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)

    return timed(run)


def few(source: Path, to: Path, *, per_class: int | None) -> Path:
    """The first files of each class; the whole folder where no number is given."""
    if per_class is None:
        return source
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (to / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:per_class]:
            shutil.copy2(path, to / folder.name)
    return to


if __name__ == "__main__":
    main()
