"""The torch side of token states: a text network that keeps every position, one state a stage.

Imported only by functions that need a network, because it imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn


class TokenStates(nn.Module):
    """``(input_ids, attention_mask)``, int64 ``[n, L]``, to a tuple of ``[n, L, d]``: after each cut, and the last."""

    def __init__(self, net: Any, cuts: Sequence[str]) -> None:
        super().__init__()
        self.net, self.cuts = net, tuple(cuts)
        self._kept: dict[str, Tensor] = {}
        for cut in self.cuts:
            # A partial, not a closure: a deep copy of this module then keeps its own states
            net.get_submodule(cut).register_forward_hook(partial(_keep, self._kept, cut))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        self._kept.clear()
        hidden, _ = self.net.hidden(input_ids, attention_mask)
        states = (*(self._kept[cut] for cut in self.cuts), hidden)
        self._kept.clear()
        return states


def _keep(kept: dict[str, Tensor], cut: str, _module: nn.Module, _args: Any, output: Any) -> None:
    parts = output if isinstance(output, tuple | list) else (output,)
    kept[cut] = next(part for part in parts if isinstance(part, Tensor) and part.ndim == 3)
