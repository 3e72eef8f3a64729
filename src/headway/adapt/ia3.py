"""IA³: every output of a layer gets a factor that learns; at the end it is multiplied into the layer's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Liu, Tam, Muqeeth, Mohta, Huang, Bansal and Raffel (2022), Few-Shot Parameter-Efficient Fine-Tuning is Better and "
    "Cheaper than In-Context Learning, arXiv 2205.05638, section 3.3"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """``l ⊙ (W x + b)``, at first ``l = 1``, in linear layers and convolutions, depthwise ones too; the head as it is.

    The paper scales keys, values and the inner activations of feed-forward layers. Networks here are any, many without
    attention, so every layer's output is scaled. Batch norms keep their pretrained statistics: a moving variance would
    undo the factor of the convolution before it. ``merge`` multiplies ``l`` into ``W`` and ``b``.
    """
    from headway.adapt._peft import factors

    return factors(model, sample=sample, seed=seed)


METHOD = TuningMethod(name="ia3", reference=REFERENCE, tune=tune)
