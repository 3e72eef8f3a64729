"""LoRA: beside each layer a product of two thin matrices learns; at the end it is added to the layer's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen (2022), LoRA: Low-Rank Adaptation of Large Language Models, "
    "arXiv 2106.09685, eq. 3"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """``W x + 2 B A x`` in linear layers and ordinary convolutions, ``B = 0`` at first; the head trains as it is.

    The rank is 8, at most a quarter of a layer's smaller side; depthwise convolutions are left as they are. Batch
    norms keep their pretrained statistics, as all else of the body. The adapters are put in by peft; ``merge`` leaves
    the network's own layers with ``W + 2 B A``, under their own names.
    """
    from headway.adapt._peft import low_rank

    return low_rank(model, sample=sample, seed=seed, dora=False)


METHOD = TuningMethod(name="lora", reference=REFERENCE, tune=tune)
