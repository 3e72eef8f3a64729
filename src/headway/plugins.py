"""A file is a plug-in: its name is the module's name. Outsiders join through entry points ``headway.<group>``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from headway.errors import OptionError, did_you_mean


def names(group: str) -> tuple[str, ...]:
    """The plug-ins of a group (``"scores"``, ``"adapt"``, ...), ours first, each list sorted.

    >>> "logme" in names("scores")
    True
    """
    package = importlib.import_module(f"headway.{group}")
    ours = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))
    return (*ours, *sorted(set(_outsiders(group)) - set(ours)))


def load(group: str, name: str) -> ModuleType:
    """Import one plug-in. Raises :class:`OptionError` with the closest names when there is none of that name."""
    known = names(group)
    if name not in known:
        raise OptionError(
            f"there is no {name!r} among Headway's {group}",
            allowed=", ".join(known),
            todo=did_you_mean(name, known),
        )
    outsiders = _outsiders(group)
    if name in outsiders:
        module: ModuleType = outsiders[name].load()
        return module
    return importlib.import_module(f"headway.{group}.{name}")


@cache
def _outsiders(group: str) -> dict[str, Any]:
    """Looked up once a process: it reads the metadata of everything that is installed."""
    return {point.name: point for point in entry_points(group=f"headway.{group}")}
