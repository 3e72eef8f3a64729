"""What the benchmarks share: data, a cold feature store, cases measured in turn, targets and the printed report."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from headway import fetch, samples

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
KEPT = ("weights", "networks", "packages", "debian")  # of a user's cache: everything but features and content hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A number that must be reached: ``value`` at least, or at most, ``limit``."""

    what: str
    value: float
    limit: float
    least: bool  # True: value >= limit, False: value <= limit
    unit: str = ""

    @property
    def passed(self) -> bool:
        return not math.isnan(self.value) and (self.value >= self.limit if self.least else self.value <= self.limit)


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="small settings: shows that it runs, measures nothing")
    return parser


def note(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def sample(name: str) -> Path:
    """A sample data set's folder, built once beside the user's cache."""
    folder = fetch.cache_dir() / "benchmarks" / name
    if not folder.exists():
        note(f"building the sample {name}")
        samples.build(name, folder)
    return folder


def silent(command: Sequence[str]) -> None:
    """Run a command to its end; one that fails ends the benchmark with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")


@cache
def python_with(requirement: str) -> str:
    """Python of an environment with ``NAME==VERSION``; what Headway's own environment has is taken from there."""
    module = requirement.partition("=")[0]
    folder = fetch.cache_dir() / "benchmarks" / f"{module}-venv"
    python = folder / "bin" / "python"
    there = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if not python.exists() or subprocess.run([python, "-c", there], check=False).returncode:
        note(f"installing {requirement} into {folder}")
        venv.create(folder, with_pip=True, clear=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        own = [path for path in sys.path if path.endswith("site-packages")]
        (site / "shared.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in own), "utf-8")
        silent([str(python), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), requirement])
    return str(python)


@contextmanager
def cold_store(kept: Sequence[str] = KEPT) -> Iterator[Path]:
    """A new cache folder, for this process and its children: weights and compiled networks there, features not."""
    own, before = fetch.cache_dir(), os.environ.get("HEADWAY_CACHE")
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder:
        for name in kept:
            (own / name).mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).symlink_to(own / name, target_is_directory=True)
        os.environ["HEADWAY_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["HEADWAY_CACHE"]
            else:
                os.environ["HEADWAY_CACHE"] = before


def in_turn(rounds: int, cases: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure every case once a round; each case gives its own seconds. Every second round goes backwards."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        names = list(cases) if number % 2 == 0 else list(cases)[::-1]
        for name in names:
            found[name].append(cases[name]())
            note(f"round {number + 1} of {rounds}: {name} {found[name][-1]:.3f} s")
    return found


def timed(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    started = perf_counter()
    work()
    return perf_counter() - started


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of ``above / below``: the two were measured in turn, so drift of the machine cancels."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def quickest(found: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """Of some cases, the one with the least median."""
    return min(names, key=lambda name: statistics.median(found[name]))


def report(
    name: str,
    numbers: Mapping[str, Any],
    targets: Sequence[Target],
    options: argparse.Namespace,
    *,
    tables: Sequence[tuple[str, Sequence[Sequence[object]]]] = (),
) -> None:
    """One JSON object with ``--json``; otherwise the tables (a title, and rows the first of which is the head)."""
    judged = [{**asdict(t), "passed": t.passed} for t in targets]
    if options.json:
        facts = {"name": name, "quick": options.quick, "machine": machine(), **numbers}
        print(json.dumps({**facts, "targets": judged, "passed": all(t.passed for t in targets)}, allow_nan=False))
        return
    for title, rows in tables:
        _table(title, rows)
    lines: list[Sequence[object]] = [("target", "measured", "wanted", "")]
    for t in targets:
        wanted = f"{'≥' if t.least else '≤'} {t.limit:g} {t.unit}".rstrip()
        lines.append((t.what, f"{t.value:.3g} {t.unit}".rstrip(), wanted, "reached" if t.passed else "MISSED"))
    _table(f"{name}{' (quick: no measurement)' if options.quick else ''}, {machine()}", lines)


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _table(title: str, rows: Sequence[Sequence[object]]) -> None:
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
