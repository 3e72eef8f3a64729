"""Make ``import torchvision`` work where its compiled operators are missing or do not fit the installed torch.

torchvision registers shape functions for its operators ``nms`` and ``qnms`` while it is imported, whether or not its
compiled library could be loaded; without the library the operators do not exist and the import fails, and timm's and
transformers' with it. A declaration of the two (nothing here calls them) is all that the import needs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.library import Library

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[Library] = []  # torch forgets an operator when its Library object goes


def prepare() -> None:
    """Call it before the first import of torchvision, timm or transformers. Does nothing where all is well, or twice.

    >>> prepare()
    >>> import torchvision
    """
    if "torchvision" in sys.modules or _declared:
        return
    found = importlib.util.find_spec("torchvision")
    if found is None:
        return
    import torch

    for folder in found.submodule_search_locations or ():
        for compiled in Path(folder).glob("_C*"):
            with contextlib.suppress(OSError):  # torchvision too goes on without it
                torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
    missing = [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in missing:
            library.define(name + _SIGNATURE)  # type: ignore[no-untyped-call]
        _declared.append(library)
