"""Headway: transfer learning that chooses, adapts, proves and ships.

The public names are imported when they are first used, so that ``import headway`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.estimator import TransferClassifier
    from headway.recipe.fit import fit
    from headway.recipe.ranking import rank
    from headway.run import Run, open_run

__version__ = "0.1.0"
__all__ = ["Run", "TransferClassifier", "__version__", "fit", "open_run", "rank"]

_HOMES = {
    "Run": "headway.run",
    "TransferClassifier": "headway.estimator",
    "fit": "headway.recipe",
    "open_run": "headway.run",
    "rank": "headway.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headway' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
