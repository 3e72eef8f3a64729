"""From folders of images to a tested model: ``headway fit`` against timm and scikit-learn by hand; and the ranking.

    python benchmarks/end_to_end.py                         about 25 minutes on 2 cores
    python benchmarks/end_to_end.py --data clip13 --splits 5 --no-ranking

Each split has 20 training images a class (two thirds where a class has no more); the rest is for testing. Both sides
are whole processes, started in turn: imports, loading, features, choosing, predicting. Headway's networks are converted
and compiled already, as they are after the first use; its store is empty for every fit. Both predict the same test
folder and are scored here, by the same lines.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from _ranking import Choice, judge_ranking
from _shared import Target, arguments, cold_store, note, sample, silent, timed
from _shared import report as print_report
from headway import backbones, fetch
from headway.engine.pool import open_network
from headway.run import open_run

DATA = ("clip13", "stamp7")
SHOTS = 20
COMMAND = (str(Path(sys.executable).with_name("headway")), "fit")
PROBE = ("--method", "probe")  # what is compared here is the frozen rungs; ladder.py has those above
PEER = Path(__file__).with_name("_peer.py")
WORKERS = (0, 2)  # of the peer's DataLoader: the faster on the first split is used for all others
POINTS_BETTER, SHARE_OF_TIME = 2.0, 0.5
RANKING_COST, REGRET = 1.3, 1.5


@dataclass(slots=True, kw_only=True)
class Outcome:
    """One row a split: balanced accuracies in points, and seconds of the whole commands."""

    headway: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    headway_seconds: list[float] = field(default_factory=list)
    peer_seconds: list[float] = field(default_factory=list)
    peer_stages: list[dict[str, float]] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    cut: list[dict[str, str]] = field(default_factory=list)

    @property
    def difference(self) -> float:
        return mean(self.headway) - mean(self.peer)

    @property
    def time_ratio(self) -> float:
        return median(a / b for a, b in zip(self.headway_seconds, self.peer_seconds, strict=True))

    @property
    def error(self) -> float | None:
        """Standard error of the mean difference over splits, which share images: a lower bound of what is not known."""
        differences = np.subtract(self.headway, self.peer)
        return float(differences.std(ddof=1) / len(differences) ** 0.5) if len(differences) > 1 else None


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="sample data sets")
    parser.add_argument("--splits", type=int, default=5, help="random splits of each data set (default 5)")
    parser.add_argument("--no-ranking", action="store_true", help="leave the ranking out")
    options = parser.parse_args()
    splits, names = (1, options.data[-1:]) if options.quick else (options.splits, options.data)
    weights = prepare()
    outcomes: dict[str, Outcome] = {}
    choices: dict[str, Choice] = {}
    workers: Sequence[int] = WORKERS
    for name in names:
        with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch:
            folders = [draw(sample(name), Path(scratch) / str(seed), seed=seed) for seed in range(splits)]
            outcomes[name], workers = compare(folders, weights, workers)
            if not options.no_ranking:
                choices[name] = judge_ranking(folders, models=["*lite*"] if options.quick else ["packaged:*"])
    numbers: dict[str, Any] = {
        "peer_workers": workers[0],
        "data": {n: numbers_of(outcomes[n], choices.get(n)) for n in outcomes},
    }
    print_report("end_to_end", numbers, targets_of(outcomes, choices), options, tables=tables_of(outcomes, choices))


def prepare() -> Path:
    """Convert and compile all networks that a fit may need, and return the peer's file of weights."""
    cache = fetch.cache_dir() / "networks"
    lite0 = None
    for spec in backbones.resolve(modality="image", offline=False):
        backbone = backbones.open(spec, offline=False)
        if backbone.weights_file() is None:
            backbone.module()
        lite0 = lite0 or (backbone.weights_file() if spec.arch == "efficientnet_lite0" else None)
        for network in (backbone, backbones.sibling(backbone, seed=0)):
            note(f"ready: {open_network(network, device='cpu', cache=cache).spec.name}")
    assert lite0 is not None
    return lite0


def draw(source: Path, to: Path, *, seed: int) -> Path:
    """Copy a folder a class into ``train/`` and ``test/``, stratified, by a draw of its own for each seed."""
    rng = np.random.default_rng(seed)
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(folder.iterdir())
        shots = SHOTS if len(files) > SHOTS else round(len(files) * 2 / 3)
        for place, number in enumerate(rng.permutation(len(files))):
            target = to / ("train" if place < shots else "test") / folder.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(files[number], target)
    return to


def compare(folders: Sequence[Path], weights: Path, workers: Sequence[int]) -> tuple[Outcome, Sequence[int]]:
    """Both sides on every split, in turn, the one first that was second before."""
    outcome = Outcome()
    for number, folder in enumerate(folders):
        for side in ("peer", "headway") if number % 2 == 0 else ("headway", "peer"):
            if side == "headway":
                run_headway(folder, outcome)
                continue
            tried = {w: run_peer(folder, weights, w) for w in workers}
            best = min(tried, key=lambda w: tried[w][0])
            workers = (best,)
            seconds, found = tried[best]
            outcome.peer_seconds.append(seconds)
            outcome.peer_stages.append(found["seconds"])
            outcome.peer.append(balanced_accuracy(folder / "test", found["answers"]))
        note(
            f"split {number + 1} of {len(folders)}: headway {outcome.headway[-1]:.1f} in "
            f"{outcome.headway_seconds[-1]:.1f} s, timm {outcome.peer[-1]:.1f} in {outcome.peer_seconds[-1]:.1f} s"
        )
    return outcome, workers


def run_headway(folder: Path, outcome: Outcome) -> None:
    out = folder.with_name(f"{folder.name}.run")
    with cold_store():
        outcome.headway_seconds.append(timed(lambda: silent([*COMMAND, str(folder), "--out", str(out), *PROBE])))
        run = open_run(out)
        predicted = run.predict(folder / "test")  # the fit computed these features: no time of the fit is hidden here
    answers = dict(zip(predicted.names, predicted.labels, strict=True))
    outcome.headway.append(balanced_accuracy(folder / "test", answers))
    cut = f"; cut: {', '.join(run.manifest['cut'])}" if run.manifest["cut"] else ""
    outcome.chosen.append(f"{run.manifest['chosen']['features']}, {run.manifest['chosen']['method']}{cut}")
    outcome.verdicts.append(run.manifest["verdict"]["outcome"])
    outcome.cut.append(run.manifest["cut"])


def run_peer(folder: Path, weights: Path, workers: int) -> tuple[float, dict[str, Any]]:
    out = folder.with_name(f"{folder.name}.peer-{workers}.json")
    command = [sys.executable, "-W", "ignore", str(PEER), str(weights), str(folder), str(out), str(workers)]
    seconds = timed(lambda: silent(command))
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return seconds, found


def balanced_accuracy(test: Path, answers: dict[str, str]) -> float:
    """In points, over every file of the test folder; one without an answer is wrong."""
    recalls = []
    for folder in sorted(test.iterdir()):
        files = sorted(folder.iterdir())
        recalls.append(mean(answers.get(f"{folder.name}/{path.name}") == folder.name for path in files))
    return 100 * mean(recalls)


def numbers_of(outcome: Outcome, choice: Choice | None) -> dict[str, Any]:
    numbers: dict[str, Any] = {name: getattr(outcome, name) for name in Outcome.__slots__}
    numbers |= {"difference": outcome.difference, "standard_error": outcome.error, "time_ratio": outcome.time_ratio}
    without_imports = [sum(s.values()) - s["imports"] for s in outcome.peer_stages]
    numbers["time_ratio_to_peer_without_imports"] = median(
        a / b for a, b in zip(outcome.headway_seconds, without_imports, strict=True)
    )
    if choice is not None:
        numbers["ranking"] = {
            "cost": choice.cost,
            "regret": choice.regret,
            "seconds": choice.rank_seconds,
            "extraction_seconds": choice.extraction_seconds,
            "splits": choice.splits,
        }
    return numbers


def targets_of(outcomes: dict[str, Outcome], choices: dict[str, Choice]) -> list[Target]:
    found = []
    for name, outcome in outcomes.items():
        if name == "clip13":
            what = "clip13: balanced accuracy over timm by hand"
            found.append(Target(what=what, value=outcome.difference, limit=POINTS_BETTER, least=True, unit="points"))
        what = f"{name}: time of headway fit over timm by hand's"
        found.append(Target(what=what, value=outcome.time_ratio, limit=SHARE_OF_TIME, least=False))
    for name, choice in choices.items():
        what = f"{name}: time of ranking all over extracting all"
        found.append(Target(what=what, value=choice.cost, limit=RANKING_COST, least=False))
        what = f"{name}: regret of the ranking's first, mean over splits"
        found.append(Target(what=what, value=choice.regret, limit=REGRET, least=False, unit="points"))
    return found


def tables_of(outcomes: dict[str, Outcome], choices: dict[str, Choice]) -> list[Any]:
    tables: list[Any] = []
    for name, o in outcomes.items():
        rows: list[tuple[object, ...]] = [("split", "headway", "timm", "headway s", "timm s", "verdict", "chosen")]
        columns = (o.headway, o.peer, o.headway_seconds, o.peer_seconds, o.verdicts, o.chosen)
        for split, (ours, theirs, our_s, their_s, verdict, chosen) in enumerate(zip(*columns, strict=True)):
            rows.append((split, f"{ours:.1f}", f"{theirs:.1f}", f"{our_s:.1f}", f"{their_s:.1f}", verdict, chosen))
        means = [f"{mean(values):.1f}" for values in (o.headway, o.peer, o.headway_seconds, o.peer_seconds)]
        error = "" if o.error is None else f" ± {o.error:.1f} (standard error)"
        rows.append(("mean", *means, "", f"difference {o.difference:+.1f}{error}"))
        tables.append((f"{name}: balanced accuracy on the test folder, whole commands", rows))
    for name, choice in choices.items():
        rows = [("split", "ranked first", "its test", "best by test", "its test")]
        for number, s in enumerate(choice.splits):
            rows.append((number, s["first"], f"{s['first_test']:.1f}", s["best"], f"{s['best_test']:.1f}"))
        tables.append((f"{name}: ridge probe on the ranking's first and on the best network", rows))
    return tables


if __name__ == "__main__":
    main()
