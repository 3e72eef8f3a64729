"""From scratch: every parameter and every statistic is learnt from the labels at hand. What a transfer must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

MOMENTUM = 0.1  # torch's own: running statistics then follow the last few dozen batches
REFERENCE = "He, Girshick and Dollár (2019), Rethinking ImageNet Pre-training, arXiv 1811.08883, section 3"


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """All parameters at one rate, batch norm statistics too, and a freshly drawn head that normalises nothing.

    The body is trained from the weights that it is given: give it those of a ``random:`` network, which are drawn by
    the architecture's own initialisation and are fairer to it than any general rule. Batch norm statistics are
    trained, here alone: those of random weights describe nothing. They follow at no less than a tenth a batch: the
    hundredth of networks made for long trainings would still be near their start after some hundred.
    """
    import torch

    from headway.adapt._blocks import body_names, fresh_head, groups, head_names, trainable

    fresh_head(model, seed=seed)
    for name, neutral in (
        ("mean", 0.0),
        ("scale", 1.0),
    ):  # a probe's, where it has them: of another network's embedding
        if isinstance(known := getattr(model.head, name, None), torch.Tensor):
            known.fill_(neutral)
    for module in model.modules():
        if isinstance(getattr(module, "running_mean", None), torch.Tensor) and isinstance(module.momentum, float):
            module.momentum = max(module.momentum, MOMENTUM)
    found = groups(model, (*body_names(model), *head_names(model)))
    return Tuning(model=model, groups=found, norm_statistics="trained", params={"trainable": trainable(model, found)})


METHOD = TuningMethod(name="scratch", reference=REFERENCE, tune=tune, head="fresh")
