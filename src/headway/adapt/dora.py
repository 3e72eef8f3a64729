"""DoRA: a weight's direction learns by a low-rank update, its magnitude, one number an output, by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Liu, Wang, Yin, Molchanov, Wang, Cheng and Chen (2024), DoRA: Weight-Decomposed Low-Rank Adaptation, "
    "arXiv 2402.09353, eq. 5"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """``m (W + 2 B A) / ‖W + 2 B A‖`` a row, at first ``m = ‖W‖`` and ``B = 0``; layers and ranks are those of LoRA.

    Batch norms keep their pretrained statistics, as all else of the body. ``merge`` leaves the network's own layers
    with the product, under their own names.
    """
    from headway.adapt._peft import low_rank

    return low_rank(model, sample=sample, seed=seed, dora=True)


METHOD = TuningMethod(name="dora", reference=REFERENCE, tune=tune)
