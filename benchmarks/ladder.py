"""Fine-tuning under a budget: ``headway fit --budget`` against a probe, fastai, and full fine-tuning by a plain loop.

    python benchmarks/ladder.py                                  about 4 hours on 2 cores, 1 once the peers are cached
    python benchmarks/ladder.py --data stamp7 --splits 1 --budgets 20
    python benchmarks/ladder.py --peers-only --pace 32           the peers alone, their training counted in images

All sides are whole processes on the same split and predict the same test folder, scored here by the same lines. Peers
start from the same weights of EfficientNet-Lite0. Their answers are kept by split, as they do not change when Headway
does; ``--fresh-peers`` runs them again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from _shared import Target, arguments, cold_store, note, python_with, sample, silent, timed
from _shared import report as print_report
from end_to_end import COMMAND, PEER, balanced_accuracy, prepare
from headway import fetch
from headway.run import open_run

FINE_TUNING = Path(__file__).with_name("_ladder_peers.py")
FASTAI = "fastai==2.8.12"
BUDGETS = (20, 120)
LONG = 120  # from this budget on, fastai's ten epochs may take as long as they take
ASKED = 1000  # test items at most
BELOW_PROBE = -0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A sample, and how many of it a class are learnt from; two thirds of a class that has no more."""

    sample: str
    shots: int


DATA = {
    "clip13": Set(sample="clip13", shots=20),
    "stamp7": Set(sample="stamp7", shots=20),
    "fashion": Set(sample="fashion5k", shots=100),
    "mnist": Set(sample="mnist5k", shots=20),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One side on one split: balanced accuracy in points, seconds of the whole command, and what it did."""

    accuracy: float
    seconds: float
    what: str = ""


def main() -> None:
    options = _options()
    outcomes: dict[str, dict[str, list[Answer]]] = {}
    weights = prepare()
    for number in range(options.splits):  # split by split, so that what is there early says something of every set
        for name in options.data:
            folder = split_of(name, seed=number)
            found = {arm: peer(arm, name, folder, weights, options) for arm in arms(options.budgets)}
            if not options.peers_only:
                found |= ours(folder, options.budgets)
            for side, answer in found.items():
                outcomes.setdefault(name, {}).setdefault(side, []).append(answer)
                note(f"{folder.name}: {side} {answer.accuracy:.1f} in {answer.seconds:.1f} s {answer.what}")
    numbers = {
        "splits": options.splits,
        "budgets": options.budgets,
        "data": {
            name: {side: [asdict(a) for a in answers] for side, answers in outcomes[name].items()} for name in outcomes
        },
    }
    judged = [] if options.peers_only else targets_of(outcomes, options.budgets)
    print_report("ladder", numbers, judged, options, tables=tables_of(outcomes))


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA), help="data sets")
    parser.add_argument("--splits", type=int, default=3, help="random splits of each data set (default 3)")
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), metavar="S", help="seconds a fit")
    parser.add_argument("--fresh-peers", action="store_true", help="run the peers even where their answers are kept")
    parser.add_argument("--peers-only", action="store_true", help="leave Headway out")
    parser.add_argument("--pace", type=float, help="count the peers' training in images, so many a second")
    options = parser.parse_args()
    if options.quick:
        options.data, options.splits, options.budgets = options.data[1:2] or options.data, 1, [10]
    return options


# --- data ---------------------------------------------------------------------------------------


def home() -> Path:
    return fetch.cache_dir() / "benchmarks" / "ladder"


def split_of(name: str, *, seed: int) -> Path:
    """``train/`` and ``test/`` of a data set, by a draw of its own for each seed; the sample's own parts are kept."""
    to = home() / f"{name}-{seed}"
    if to.exists():
        return to
    wanted, source, rng = DATA[name], sample(DATA[name].sample), np.random.default_rng(seed)
    parted = (source / "train").is_dir()
    classes = sorted(path.name for path in (source / "train" if parted else source).iterdir() if path.is_dir())
    making = Path(tempfile.mkdtemp(prefix="split-", dir=_made(home())))
    for label in classes:
        files = sorted((source / "train" / label if parted else source / label).iterdir())
        shots = wanted.shots if len(files) > wanted.shots else round(len(files) * 2 / 3)
        shuffled = [files[i] for i in rng.permutation(len(files))]
        learnt, rest = shuffled[:shots], shuffled[shots:]
        asked = sorted((source / "test" / label).iterdir()) if parted else rest
        for part, taken in (("train", learnt), ("test", asked[: ASKED // len(classes)])):
            for path in taken:
                shutil.copy2(path, _made(making / part / label))
    making.rename(to)
    return to


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(folder: Path) -> str:
    """Of the names in a split: what says whether kept answers are to the same question."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()


# --- peers --------------------------------------------------------------------------------------


def arms(budgets: Sequence[int]) -> list[str]:
    """Every peer once, the quick ones first."""
    return list(dict.fromkeys(arm for budget in sorted(budgets) for arm in peers_at(budget)))


def peers_at(budget: int) -> tuple[str, ...]:
    return ("timm", f"full-{budget}", "fastai" if budget >= LONG else f"fastai-{budget}")


def peer(arm: str, name: str, folder: Path, weights: Path, options: argparse.Namespace) -> Answer:
    """A peer's answers to a split, kept from before or computed now."""
    kept = _made(home() / "peers") / f"{folder.name}.{arm}.json"
    if kept.exists() and not options.fresh_peers:
        found = json.loads(kept.read_text("utf-8"))
        if found["split"] == digest(folder):
            return Answer(**found["answer"])
    note(f"{folder.name}: {arm} ...")
    kind, _, seconds = arm.partition("-")
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch:
        out = Path(scratch) / "out.json"
        if kind == "timm":
            command = [sys.executable, "-W", "ignore", str(PEER), str(weights), str(folder), str(out), "0"]
        else:
            python = python_with(FASTAI) if kind == "fastai" else sys.executable
            limits = [seconds or "inf", *([str(options.pace)] if options.pace else [])]
            command = [python, "-W", "ignore", str(FINE_TUNING), kind, str(weights), str(folder), str(out), *limits]
        took = timed(lambda: silent(command))
        found = json.loads(out.read_text("utf-8"))
    facts = {key: round(value, 1) for key, value in found["seconds"].items()}
    answer = Answer(accuracy=balanced_accuracy(folder / "test", found["answers"]), seconds=took, what=json.dumps(facts))
    record = {"split": digest(folder), "data": name, "arm": arm, "pace": options.pace, "answer": asdict(answer)}
    making = kept.with_suffix(f".{os.getpid()}")
    making.write_text(json.dumps(record), "utf-8")
    making.rename(kept)
    return answer


# --- ours ---------------------------------------------------------------------------------------


def ours(folder: Path, budgets: Sequence[int]) -> dict[str, Answer]:
    """Headway at every budget, and its ridge probe alone where that can be asked for."""
    found = {}
    for budget in budgets:
        found[f"headway-{budget}"] = headway(folder, budget)
        if pins():
            found[f"probe-{budget}"] = headway(folder, budget, "--method", "ridge")
    return found


@cache
def pins() -> bool:
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    return "--method" in shown


def headway(folder: Path, budget: int, *more: str) -> Answer:
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch, cold_store():
        out = Path(scratch) / "run"
        seconds = timed(lambda: silent([*COMMAND, str(folder), "--out", str(out), "--budget", f"{budget}s", *more]))
        run = open_run(out)
        predicted = run.predict(folder / "test")  # the fit computed these features: no time of the fit is hidden here
        chosen = run.manifest["chosen"]
    answers = dict(zip(predicted.names, predicted.labels, strict=True))
    accuracy = balanced_accuracy(folder / "test", answers)
    return Answer(accuracy=accuracy, seconds=seconds, what=f"{chosen['features']}, {chosen['method']}")


# --- what comes out -----------------------------------------------------------------------------


def points(answers: Sequence[Answer]) -> float:
    return mean(answer.accuracy for answer in answers)


def targets_of(outcomes: Mapping[str, Mapping[str, list[Answer]]], budgets: Sequence[int]) -> list[Target]:
    found = []
    for name, sides in outcomes.items():
        for budget in budgets:
            own = points(sides[f"headway-{budget}"])
            best = max(peers_at(budget), key=lambda arm: points(sides[arm]))
            what = f"{name}, {budget} s: balanced accuracy over the best peer's ({best})"
            found.append(Target(what=what, value=own - points(sides[best]), limit=0, least=True, unit="points"))
            if f"probe-{budget}" in sides:
                value = own - points(sides[f"probe-{budget}"])
                what = f"{name}, {budget} s: balanced accuracy over our own probe's"
                found.append(Target(what=what, value=value, limit=BELOW_PROBE, least=True, unit="points"))
    for budget in budgets:
        longest = max(a.seconds for sides in outcomes.values() for a in sides[f"headway-{budget}"])
        what = f"longest command at a budget of {budget} s"
        found.append(Target(what=what, value=longest, limit=1.1 * budget + 5, least=False, unit="s"))
    return found


def tables_of(outcomes: Mapping[str, Mapping[str, list[Answer]]]) -> list[Any]:
    tables: list[Any] = []
    for name, sides in outcomes.items():
        rows: list[tuple[object, ...]] = [("side", "mean", "splits", "s", "what (last split)")]
        for side, answers in sorted(sides.items(), key=lambda item: -points(item[1])):
            each = " ".join(f"{answer.accuracy:.1f}" for answer in answers)
            took = f"{mean(answer.seconds for answer in answers):.1f}"
            rows.append((side, f"{points(answers):.1f}", each, took, answers[-1].what))
        tables.append((f"{name}: balanced accuracy on the test folder, whole commands", rows))
    return tables


if __name__ == "__main__":
    main()
