"""Live progress on stderr: stage, rate and time left, where somebody is looking."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from headway.budget import Deadline
    from headway.types import Progress


@contextmanager
def live(*, quiet: bool, deadline: Deadline | None = None) -> Iterator[Progress | None]:
    """A progress callback while the display is up; ``None``, and no display, without a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Display

    display = Display(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _rate(),
        TimeRemainingColumn(),
        _clock(deadline),
        console=Console(stderr=True),
        transient=True,
    )
    task = display.add_task("read", total=None)
    stage, last = "read", 0

    def report(name: str, done: int, total: int) -> None:
        nonlocal stage, last
        if name != stage or done < last:
            display.reset(task, description=name)
        stage, last = name, done
        display.update(task, completed=done, total=total or None)

    with display:
        yield report


def _rate() -> ProgressColumn:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        """Things done a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f}/s" if speed and speed >= 1 else "")

    return Rate()


def _clock(deadline: Deadline | None) -> ProgressColumn:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Clock(ProgressColumn):
        """Time spent of the budget."""

        def render(self, task: Task) -> Text:  # noqa: ARG002 (a column is given its task)
            return Text(f"{deadline.elapsed:.0f} of {deadline.seconds:.0f} s" if deadline is not None else "")

    return Clock()
