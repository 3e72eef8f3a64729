"""A batch of texts as one tensor, mask included: what the training loop passes on is a tensor, of whatever modality.

Hidden states ``[n, L, d]`` become ``[n, L, d + 1]``, the last column the mask; ids ``[n, L]`` have -1 where the mask
is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING = -1


def packed_states(states: Tensor, mask: Tensor) -> Tensor:
    """``[n, L, d]`` and ``[n, L]`` to ``[n, L, d + 1]``, zeros where the mask is 0.

    >>> packed_states(torch.ones(1, 2, 1), torch.tensor([[1, 0]])).tolist()
    [[[1.0, 1.0], [0.0, 0.0]]]
    """
    there = mask.to(states.dtype)[..., None]
    return torch.cat([torch.where(there > 0, states, torch.zeros_like(states)), there], dim=2)


def states_and_mask(packed: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of :func:`packed_states`; the mask is int64."""
    return packed[..., :-1], (packed[..., -1] > 0).long()


def packed_ids(ids: Tensor, mask: Tensor) -> Tensor:
    """``[n, L]`` twice to ``[n, L]``, -1 where the mask is 0.

    >>> packed_ids(torch.tensor([[7, 9]]), torch.tensor([[1, 0]])).tolist()
    [[7, -1]]
    """
    return torch.where(mask > 0, ids, torch.full_like(ids, NOTHING))


def ids_and_mask(packed: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of :func:`packed_ids`, with id 0 where the mask is 0."""
    return packed.clamp(min=0), (packed > NOTHING).long()
