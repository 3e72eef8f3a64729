"""Texts: features against sentence-transformers, and a fit under a budget against SetFit, the Trainer and TF-IDF.

    python benchmarks/text.py                                    hours of SetFit, and 1 hour once the peers are cached
    python benchmarks/text.py --data --documents 400             the features alone, on 400 documents
    python benchmarks/text.py --data bbc-5 --splits 1 --no-extraction
    python benchmarks/text.py --peers-only --pace 3000           the peers alone, the Trainer's time counted in tokens

All sides start from the same weights of MiniLM-L6, are whole processes on the same split, and predict the same test
folder, scored here by the same lines. SetFit has its defaults and all the time it takes, the Trainer 120 s of training.
The peers' answers are kept by split, as they do not change when Headway does; ``--fresh-peers`` runs them again.
Sentiment is judged as classes: mean ratings cut at -1 and 1 (of -4..4) into negative, neutral and positive.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

from _shared import Target, arguments, cold_store, note, python_with, silent, timed
from _shared import report as print_report
from _text_data import ASKED, DATA, GROUPS, digest, home, split_of
from _text_extraction import NETWORK, measure, peer_folder
from end_to_end import COMMAND, balanced_accuracy
from headway import backbones, fetch
from headway.engine.pool import open_network
from headway.run import open_run
from ladder import Answer, points

PEERS = Path(__file__).with_name("_text_peers.py")
SETFIT = "setfit==1.2.0"
BUDGETS = (30, 120)
ARMS = ("tfidf", "trainer-120", "setfit")  # the quick ones first
BELOW_TFIDF = -0.5
AHEAD = 0.1  # points that are more than a tie
QUICK = {"data": ["bbc-5"], "splits": 1, "budgets": [10], "documents": 50, "rounds": 2, "asked": 50}
QUICK_ARMS = ("tfidf", "trainer-5", "setfit-2")

Outcomes = Mapping[str, Mapping[str, Sequence[Answer]]]


def main() -> None:
    options = _options()
    numbers: dict[str, Any] = {}
    targets: list[Target] = []
    tables: list[Any] = []
    if not options.no_extraction:
        numbers["extraction"], targets, tables = measure(options.rounds, count=options.documents)
    outcomes = compare(options) if options.data else {}
    numbers |= {"splits": options.splits, "budgets": options.budgets, "data": as_numbers(outcomes)}
    judged = [] if options.peers_only else targets_of(outcomes, options.budgets, options.arms)
    print_report("text", numbers, [*targets, *judged], options, tables=[*tables, *tables_of(outcomes)])


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="*", choices=list(DATA), default=list(DATA), help="data sets; none: no fits")
    parser.add_argument("--splits", type=int, default=3, help="random splits of each data set (default 3)")
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), metavar="S", help="seconds a fit")
    parser.add_argument("--rounds", type=int, default=3, help="how often extraction is measured (default 3)")
    parser.add_argument("--documents", type=int, help="of extraction (default: all 2,124)")
    parser.add_argument("--no-extraction", action="store_true", help="leave extraction out")
    parser.add_argument("--peers", nargs="+", choices=ARMS, default=list(ARMS), help="peers to compare with")
    parser.add_argument("--fresh-peers", action="store_true", help="run the peers even where their answers are kept")
    parser.add_argument("--peers-only", action="store_true", help="leave Headway's fits out, and extraction")
    parser.add_argument("--pace", type=float, help="count the Trainer's time in tokens, so many a second")
    parser.set_defaults(asked=ASKED)
    options = parser.parse_args()
    options.arms = options.peers
    if options.quick:
        options.arms = QUICK_ARMS
        vars(options).update(QUICK)
    options.no_extraction |= options.peers_only
    return options


def compare(options: argparse.Namespace) -> dict[str, dict[str, list[Answer]]]:
    """Every side on every split; split by split, so that what is there early says something of every set."""
    outcomes: dict[str, dict[str, list[Answer]]] = {}
    if not options.peers_only:
        ready()
    for number in range(options.splits):
        for name in options.data:
            folder = split_of(name, seed=number, asked=options.asked)
            found = {arm: peer(arm, folder, options) for arm in options.arms}
            if not options.peers_only:
                found |= {f"headway-{budget}": headway(folder, budget) for budget in options.budgets}
            for side, answer in found.items():
                outcomes.setdefault(name, {}).setdefault(side, []).append(answer)
                note(f"{folder.name}: {side} {answer.accuracy:.1f} in {answer.seconds:.1f} s {answer.what}")
    return outcomes


def ready() -> None:
    """Convert and compile the network and its random twin, as they are after the first use."""
    backbone = backbones.open(NETWORK, offline=False)
    for network in (backbone, backbones.sibling(backbone, seed=0)):
        opened = open_network(network, device="cpu", cache=fetch.cache_dir() / "networks")
        note(f"ready: {opened.spec.name}")


def peer(arm: str, folder: Path, options: argparse.Namespace) -> Answer:
    """A peer's answers to a split, kept from before or computed now."""
    (home() / "peers").mkdir(exist_ok=True)
    kept = home() / "peers" / f"{folder.name}.{arm}.json"
    if kept.exists() and not options.fresh_peers:
        found = json.loads(kept.read_text("utf-8"))
        if found["split"] == digest(folder):
            return Answer(**found["answer"])
    note(f"{folder.name}: {arm} ...")
    kind, _, limit = arm.partition("-")
    python = python_with(SETFIT) if kind == "setfit" else sys.executable
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch:
        out = Path(scratch) / "out.json"
        limits = [limit or "inf", *([str(options.pace)] if options.pace else [])]
        command = [python, "-W", "ignore", str(PEERS), kind, str(peer_folder()), str(folder), str(out), *limits]
        took = timed(lambda: silent(command))
        found = json.loads(out.read_text("utf-8"))
    facts = {key: round(value, 1) for key, value in found["seconds"].items()}
    answer = Answer(accuracy=balanced_accuracy(folder / "test", found["answers"]), seconds=took, what=json.dumps(facts))
    record = {"split": digest(folder), "arm": arm, "pace": options.pace, "answer": asdict(answer)}
    making = kept.with_suffix(f".{os.getpid()}")
    making.write_text(json.dumps(record), "utf-8")
    making.rename(kept)
    return answer


def headway(folder: Path, budget: int) -> Answer:
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch, cold_store():
        out = Path(scratch) / "run"
        command = [*COMMAND, str(folder), "--models", NETWORK, "--budget", f"{budget}s", "--out", str(out)]
        seconds = timed(lambda: silent(command))
        run = open_run(out)
        predicted = run.predict(folder / "test")  # the fit computed these features: no time of the fit is hidden here
        chosen = run.manifest["chosen"]
    answers = dict(zip(predicted.names, predicted.labels, strict=True))
    what = f"{chosen['features']}, {chosen['method']}; {run.manifest['verdict']['outcome']}"
    return Answer(accuracy=balanced_accuracy(folder / "test", answers), seconds=seconds, what=what)


# --- what comes out -----------------------------------------------------------------------------


def targets_of(outcomes: Outcomes, budgets: Sequence[int], arms: Sequence[str]) -> list[Target]:
    """Of each group of sets: the median over its sets and splits, and against TF-IDF the set that does worst."""
    found = []
    for group, names in GROUPS.items():
        sets = [outcomes[name] for name in names if name in outcomes]
        for budget in budgets if sets else ():
            for arm in arms:
                each = [leads(sides[f"headway-{budget}"], sides[arm]) for sides in sets]
                value, limit = median(lead for of_set in each for lead in of_set), AHEAD
                what = f"{group}, {budget} s: balanced accuracy over {arm}'s"
                if arm == "tfidf":
                    value, limit = min(median(of_set) for of_set in each), BELOW_TFIDF
                elif budget < max(BUDGETS):
                    if not arm.startswith("setfit"):
                        continue  # the Trainer is compared at its own time
                    limit = 0.0
                found.append(Target(what=what, value=value, limit=limit, least=True, unit="points"))
    for budget in budgets if outcomes else ():
        longest = max(answer.seconds for sides in outcomes.values() for answer in sides[f"headway-{budget}"])
        what = f"longest command at a budget of {budget} s"
        found.append(Target(what=what, value=longest, limit=1.1 * budget + 5, least=False, unit="s"))
    return found


def leads(ours: Sequence[Answer], theirs: Sequence[Answer]) -> list[float]:
    return [own.accuracy - other.accuracy for own, other in zip(ours, theirs, strict=True)]


def as_numbers(outcomes: Outcomes) -> dict[str, Any]:
    return {
        name: {side: [asdict(answer) for answer in answers] for side, answers in sides.items()}
        for name, sides in outcomes.items()
    }


def tables_of(outcomes: Outcomes) -> list[Any]:
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
