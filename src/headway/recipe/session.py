"""What every stage of one command shares: the clock, the store, the options, and notes of what happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from headway import fetch
from headway.budget import Deadline, seconds_of
from headway.engine.pool import Device
from headway.errors import OptionError
from headway.features.decoded import Kept
from headway.features.embed import default_store
from headway.features.store import Store
from headway.types import Finding, Progress

RESERVE_SHARE = 0.25  # of the budget is kept for what follows extraction
RESERVE_LEAST = 2.0  # seconds
CLOSING_SHARE = 0.1  # of the budget, beside what is left aside for the arms
CLOSING = 1.5  # seconds that proving and saving take at least


@dataclass(slots=True, kw_only=True)
class Session:
    """``cut`` says in words what the budget, or a fault, left out; empty when everything was done."""

    deadline: Deadline
    seed: int
    device: Device
    offline: bool
    strict: bool
    progress: Progress | None
    cache: Path
    store: Store
    timings: dict[str, float] = field(default_factory=dict)
    pace: dict[str, float] = field(default_factory=dict)  # seconds an item, decoding included, by architecture
    cut: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    aside: float = 0.0  # seconds that features that are learnt from the training items will take
    decoder: Kept | None = None  # keeps decoded items between passes, once there is a data set

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to ``timings[stage]``."""
        started = perf_counter()
        try:
            yield
        finally:
            self.timings[stage] = round(self.timings.get(stage, 0.0) + perf_counter() - started, 4)

    @property
    def embedding(self) -> dict[str, float]:
        """Seconds that each network took over the training rows, by name."""
        return {k.removeprefix("embed "): v for k, v in self.timings.items() if k.startswith("embed ")}

    def report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)

    @property
    def reserve(self) -> float:
        """Seconds that embedding must leave for choosing, proving and saving."""
        whole = self.deadline.seconds
        return max(RESERVE_SHARE * whole, RESERVE_LEAST, self.aside + CLOSING_SHARE * whole)


def open_session(
    budget: str | float,
    *,
    seed: int,
    device: Device,
    offline: bool,
    strict: bool = False,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
) -> Session:
    """A session on the user's own cache. A ``deadline`` that already runs (the command line's) goes before ``budget``.

    Raises:
        OptionError: a seed below 0 or a budget that is no length of time.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise OptionError("the seed is off", given=repr(seed), allowed="a whole number from 0")
    cache = fetch.cache_dir()
    return Session(
        deadline=deadline or Deadline(seconds_of(budget)),
        seed=seed,
        device=device,
        offline=offline,
        strict=strict,
        progress=progress,
        cache=cache,
        store=default_store(cache),
    )


def compiled_cache(session: Session) -> Path:
    """Where converted and compiled networks are kept."""
    return session.cache / "networks"


def process_age() -> float:
    """Seconds since this process was started, so that a command's budget counts its imports too; 0 where unknown."""
    try:
        ticks = int(Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text("ascii").split()[0])
        return max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0
