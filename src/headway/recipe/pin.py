"""What the user settled beforehand: a method, a cut, or to stay with frozen features."""

from __future__ import annotations

from dataclasses import dataclass

from headway import plugins
from headway.errors import OptionError, did_you_mean
from headway.evaluate.contenders import any_method
from headway.types import TuningMethod

PROBE = "probe"  # any probe on frozen features
ARMS = ("prior", "scratch")  # what transfer is compared with, not ways to transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """``probe`` names the only probe that may win; ``tunes`` is False where no network may be tuned."""

    method: str | None = None
    cut: str | None = None
    probe: str | None = None
    tunes: bool = True

    @property
    def is_set(self) -> bool:
        return self.method is not None or self.cut is not None

    @property
    def plan(self) -> dict[str, str]:
        """For the run's plan: another pin is another run."""
        found = {"method": self.method, "cut": self.cut}
        return {name: value for name, value in found.items() if value is not None}


def pinned(method: str | None, cut: str | None) -> Pin:
    """The pin that ``--method`` and ``--cut`` make.

    Raises :class:`OptionError` for a method that is none, or an arm, and for a cut beside a probe.

    >>> pinned("ridge", None).tunes, pinned("lora", "blocks.3").tunes, pinned(None, None).is_set
    (False, True, False)
    """
    if method is None:
        return Pin(cut=cut)
    known = (PROBE, *(name for name in plugins.names("adapt") if name not in ARMS))
    if method not in known:
        raise OptionError(
            "there is no such method", given=method, allowed=", ".join(known), todo=did_you_mean(method, known)
        )
    if method != PROBE and isinstance(any_method(method), TuningMethod):
        return Pin(method=method, cut=cut)
    if cut is not None:
        raise OptionError("a cut says what is tuned, and a probe tunes nothing", given=f"{method}, cut at {cut}")
    return Pin(method=method, probe=None if method == PROBE else method, tunes=False)
