"""Budgets kept: 20 runs of ``headway fit`` with budgets from 10 s to 120 s end within 1.1 times that and 5 s.

    python benchmarks/budgets.py                     about 25 minutes on 2 cores
    python benchmarks/budgets.py --runs 4 --data clip13

Budgets rise in equal ratios, and the data sets take turns. Each fit is a whole process with an empty feature store, on
networks that are converted and compiled already; what the process takes to start counts.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from _shared import Target, arguments, cold_store, note, silent, timed
from _shared import report as print_report
from end_to_end import COMMAND, prepare
from headway.run import open_run
from ladder import DATA, split_of

LEAST, MOST, RUNS = 10, 120, 20
TIMES, MORE = 1.1, 5.0


def main() -> None:
    options = _options()
    prepare()
    found = []
    for number, budget in enumerate(np.geomspace(LEAST, MOST, options.runs).round(1).tolist()):
        name = options.data[number % len(options.data)]
        line = fit(split_of(name, seed=0), name, budget)
        found.append(line)
        note(f"{name}, {budget:g} s: ended after {line['seconds']:.1f} s of {line['limit']:.1f} s; {line['what']}")
    kept = sum(line["seconds"] <= line["limit"] for line in found)
    nearest = max(line["seconds"] / line["limit"] for line in found)
    rows: list[tuple[object, ...]] = [("data", "budget s", "limit s", "took s", "", "what was kept")]
    for line in found:
        late = "" if line["seconds"] <= line["limit"] else "LATE"
        rows.append((line["data"], line["budget"], line["limit"], f"{line['seconds']:.1f}", late, line["what"]))
    targets = [
        Target(what=f"budgets kept within {TIMES:g} times and {MORE:g} s", value=kept, limit=len(found), least=True),
        Target(what="longest command over its limit", value=nearest, limit=1.0, least=False),
    ]
    print_report("budgets", {"runs": found}, targets, options, tables=[("whole commands", rows)])


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA), help="data sets")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how many (default {RUNS})")
    options = parser.parse_args()
    if options.quick:
        options.data, options.runs = ["stamp7"], 1
    return options


def fit(folder: Path, name: str, budget: float) -> dict[str, Any]:
    """Seconds of one command, and what its run says it kept."""
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as scratch, cold_store():
        out = Path(scratch) / "run"
        seconds = timed(lambda: silent([*COMMAND, str(folder), "--out", str(out), "--budget", f"{budget:g}s"]))
        manifest = open_run(out).manifest
    chosen = manifest["chosen"]
    return {
        "data": name,
        "budget": budget,
        "limit": round(TIMES * budget + MORE, 2),
        "seconds": seconds,
        "what": f"{chosen['features']}, {chosen['method']}",
        "cut": len(manifest["cut"]),
    }


if __name__ == "__main__":
    main()
