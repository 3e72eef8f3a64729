"""L2-SP: a penalty draws the weights back to where they started, and those of the head to zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from torch import Tensor

    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Li, Grandvalet and Davoine (2018), Explicit Inductive Bias for Transfer Learning with Convolutional Networks, "
    "arXiv 1802.01483, eq. 2"
)
ALPHA, BETA = 0.1, 0.01  # the paper's α in the middle of its grid, and its β


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Adds ``(α/2) ‖w - w⁰‖² + (β/2) ‖w_head‖²`` to the loss; ``w`` is all of the body, ``w_head`` the head's matrices.

    The penalty is the regulariser, so there is no weight decay, which would draw the body to zero instead. Batch norms
    keep their pretrained statistics: they are part of the starting point.
    """
    from dataclasses import replace

    from headway.adapt._blocks import body_names, groups, head_names, trainable

    body, head = body_names(model), head_names(model)
    found = tuple(replace(group, decay=False) for group in groups(model, (*body, *head)))
    parameters = dict(model.named_parameters())
    moving = [parameters[name] for name in body]
    start = [parameter.detach().clone() for parameter in moving]
    matrices = [parameters[name] for name in head if parameters[name].ndim > 1]

    def penalty() -> Tensor:
        import torch

        for i, parameter in enumerate(moving):  # a no-op but for the first call after the model moved
            start[i] = start[i].to(parameter.device)
        total: Tensor = torch.zeros((), device=matrices[0].device if matrices else None)
        for parameter, origin in zip(moving, start, strict=True):
            total = total + ALPHA / 2 * (parameter - origin).square().sum()
        for matrix in matrices:
            total = total + BETA / 2 * matrix.square().sum()
        return total

    return Tuning(
        model=model,
        groups=found,
        penalty=penalty,
        params={"alpha": ALPHA, "beta": BETA, "trainable": trainable(model, found)},
    )


METHOD = TuningMethod(name="l2sp", reference=REFERENCE, tune=tune)
