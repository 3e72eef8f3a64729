"""Gradual unfreezing: the head first, then one block more an epoch, from the output side down."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from headway.types import ParamGroup, Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Howard and Ruder (2018), Universal Language Model Fine-tuning for Text Classification, arXiv 1801.06146, "
    "section 3.3"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Epoch 0 trains the head; each later one adds the next block below. Blocks not reached stay frozen until then.

    Where there are more blocks than epochs for them, as many a time as bring the lowest block in by the last epoch.
    Batch norms keep their pretrained statistics, as in every block that is not trained yet. ``trainable`` counts what
    trains in the end.
    """
    from headway.adapt._blocks import blocks, groups, head_names, trainable

    held = [names for names in blocks(model).values() if names]
    head = head_names(model)

    def regroup(epoch: int, epochs: int) -> tuple[ParamGroup, ...]:
        at_once = ceil(len(held) / max(epochs - 1, 1))
        above = held[max(len(held) - epoch * at_once, 0) :]
        return groups(model, (*(name for names in above for name in names), *head))

    everything = [*(name for names in held for name in names), *head]
    return Tuning(
        model=model,
        groups=groups(model, head),
        regroup=regroup,
        params={"blocks": len(held), "trainable": trainable(model, groups(model, everything))},
    )


METHOD = TuningMethod(name="gradual", reference=REFERENCE, tune=tune)
