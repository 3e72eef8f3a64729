"""BitFit: only the biases learn, and the head. Of a norm, the shift is its bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.errors import ModelError
from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Ben Zaken, Ravfogel and Goldberg (2022), BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based "
    "Masked Language-models, arXiv 2106.10199"
)
RATE = 10.0  # the paper searches rates about ten times those it searches for full fine-tuning


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Biases of layers, shifts of norms (both are parameters called ``bias``) and the head; no weight decay on biases.

    Batch norms keep their pretrained statistics: their shift learns, and a moving mean would undo it.
    Raises :class:`ModelError` for a network without any bias.
    """
    from headway.adapt._blocks import body_names, groups, head_names, trainable

    biases = tuple(name for name in body_names(model) if name.rpartition(".")[2].endswith("bias"))
    if not biases:
        raise ModelError("BitFit trains biases and this network has none", todo="Use lora or full instead")
    found = groups(model, biases, lr_scale=RATE) + groups(model, head_names(model))
    return Tuning(model=model, groups=found, params={"rate": RATE, "trainable": trainable(model, found)})


METHOD = TuningMethod(name="bitfit", reference=REFERENCE, tune=tune)
