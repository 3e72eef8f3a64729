"""Full fine-tuning with layer-wise rate decay: the lower a block lies, the more slowly it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import ParamGroup, Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Clark, Luong, Le and Manning (2020), ELECTRA, arXiv 2003.10555, appendix B; for images Bao, Dong, Piao and Wei "
    "(2022), BEiT, arXiv 2106.08254"
)
DECAY, DEPTH = 0.75, 12  # BEiT's rate a block, on networks of twelve blocks


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Block ``i`` of ``B`` (0 at the input) trains at ``rate^(B - i)`` of the schedule's learning rate, the head at 1.

    ``rate`` is 0.75, and ``0.75^(12 / B)`` where there are more than twelve blocks: the lowest block of a deep network
    is slowed as much as that of a twelve-block one, not stopped. The head starts as the probe. Batch norms keep their
    pretrained statistics: the rates would not slow them down.
    """
    from headway.adapt._blocks import blocks, groups, head_names, trainable

    held = blocks(model)
    rate = DECAY ** min(1.0, DEPTH / max(len(held), 1))
    found: list[ParamGroup] = []
    for depth, names in enumerate(held.values()):
        found += groups(model, names, lr_scale=rate ** (len(held) - depth))
    found += groups(model, head_names(model))
    return Tuning(model=model, groups=tuple(found), params={"layer_decay": rate, "trainable": trainable(model, found)})


METHOD = TuningMethod(name="full", reference=REFERENCE, tune=tune)
