"""LP-FT: linear probing, then fine-tuning. The head starts as the probe, so the first steps cannot spoil features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Kumar, Raghunathan, Jones, Ma and Liang (2022), Fine-Tuning can Distort Pretrained Features and Underperform "
    "Out-of-Distribution, arXiv 2202.10054, section 3.4"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """All blocks and the head at one rate, from the probe that the head is when it is given.

    A random head sends large, random gradients into the features; the probe's are small where it is right already.
    Batch norms keep their pretrained statistics: the probe was learnt on the features that they give.
    """
    from headway.adapt._blocks import body_names, groups, head_names, trainable

    found = groups(model, (*body_names(model), *head_names(model)))
    return Tuning(model=model, groups=found, params={"trainable": trainable(model, found)})


METHOD = TuningMethod(name="lp_ft", reference=REFERENCE, tune=tune)
