"""Wall-clock budgets: one clock a command, asked by every stage, started before anything heavy is imported."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field

from headway.errors import OptionError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_of(text: str | float) -> float:
    """Seconds from ``"90"``, ``"90s"``, ``"1.5m"``, ``"2h"`` or a number.

    >>> seconds_of("1.5m")
    90.0
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|)\s*", str(text))
    value = float(match[1]) * _UNITS[match[2]] if match else math.nan
    if not 0 < value < math.inf:
        raise OptionError(
            "the budget is not a length of time",
            given=repr(text),
            allowed="a positive number with an optional unit s, m or h",
            todo="Write for example --budget 60s",
        )
    return value


@dataclass(frozen=True, slots=True)
class Deadline:
    """A budget that is running. ``started`` is a ``time.monotonic()`` reading."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def remaining(self) -> float:
        return self.seconds - self.elapsed

    def allows(self, cost: float, *, keep: float = 0.0) -> bool:
        """Whether ``cost`` seconds fit and still leave ``keep`` for what must follow."""
        return self.remaining - keep >= cost
