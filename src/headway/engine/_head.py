"""A linear head as a module to train, and back."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headway.errors import OptionError
from headway.types import LinearHead

TINY = 1e-12  # as linear.head has it: an all-zero block stays zero


class Head(nn.Module):
    """``[n, d]`` to scores ``[n, C]`` as a :class:`LinearHead` gives them, divided by its temperature.

    Weight and bias can be trained; what normalises the embedding is fixed.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, start: LinearHead) -> None:
        super().__init__()
        self.widths, self.unit = start.blocks, start.unit_blocks
        self.register_buffer("mean", _tensor(start.mean))
        self.register_buffer("scale", _tensor(start.scale))
        self.weight = nn.Parameter(_tensor(start.weight / start.temperature))
        self.bias = nn.Parameter(_tensor(start.bias / start.temperature))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)  # under autocast the embedding comes in half precision, too coarse to standardise
        if self.unit:
            parts = torch.split(x, list(self.widths), dim=1)
            x = torch.cat([part / part.norm(dim=1, keepdim=True).clamp(min=TINY) for part in parts], dim=1)
        return (x - self.mean) / self.scale @ self.weight + self.bias


def fresh_head(dim: int, classes: int) -> LinearHead:
    """The head to start from where there is no probe: the plain linear layer, all zeros, so that no class is favoured.

    >>> fresh_head(4, 2).weight.shape
    (4, 2)
    """
    if dim < 1 or classes < 1:
        raise OptionError("a head has no such shape", given=f"[{dim}, {classes}]", allowed="sizes from 1")
    return LinearHead(
        blocks=(dim,),
        unit_blocks=False,
        mean=np.zeros(dim, np.float32),
        scale=np.ones(dim, np.float32),
        weight=np.zeros((dim, classes), np.float32),
        bias=np.zeros(classes, np.float32),
    )


def as_linear_head(module: nn.Module) -> LinearHead:
    """What a :class:`Head` has become; the temperature is 1, because it went into the weights."""
    head = cast(Head, module)
    return LinearHead(
        blocks=head.widths,
        unit_blocks=head.unit,
        mean=_array(head.mean),
        scale=_array(head.scale),
        weight=_array(head.weight),
        bias=_array(head.bias),
    )


def _tensor(values: NDArray[np.float32]) -> Tensor:
    return torch.tensor(np.asarray(values, np.float32))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy().copy())
