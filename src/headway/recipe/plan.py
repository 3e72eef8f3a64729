"""What was decided by the clock, kept in the run's work folder: a fit that is taken up again decides the same.

The name of a training's checkpoint holds its number of epochs. Were that told anew, from a pace that came out
differently, none would be found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PLAN = "plan.json"


def planned(work: Path, name: str) -> int | None:
    """The number that was kept under this name; None where there is none, or the file cannot be read."""
    found = _known(work).get(name)
    return found if isinstance(found, int) else None


def settled(work: Path, name: str, decide: Callable[[], int]) -> int:
    """The number that was kept under this name, or else what ``decide`` says now, which is then kept.

    >>> import tempfile
    >>> work = Path(tempfile.mkdtemp())
    >>> settled(work, "epochs", lambda: 5), settled(work, "epochs", lambda: 8)
    (5, 5)
    """
    found = planned(work, name)
    if found is None:
        found = decide()
        with suppress(OSError):  # a disk that refuses costs the resuming only, and the checkpoints say that aloud
            work.mkdir(parents=True, exist_ok=True)
            beside = work / f"{PLAN}.new"
            beside.write_text(json.dumps({**_known(work), name: found}), "utf-8")
            beside.replace(work / PLAN)
    return found


def _known(work: Path) -> dict[str, object]:
    try:
        found = json.loads((work / PLAN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
