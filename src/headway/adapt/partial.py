"""Partial fine-tuning: everything above the cut and a freshly drawn head, trained together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Yosinski, Clune, Bengio and Lipson (2014), How transferable are features in deep neural networks?, 1411.1792"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Transfer the layers, draw the last one anew, train both: the textbook's recipe.

    One rate for all: on a few hundred pictures a head at ten times it (Long et al. 2015, arXiv 1502.02791) ended 2 to
    4 points lower. Batch norms keep their pretrained statistics: those of a small batch of a small set are worse
    estimates, and would differ between training and use.
    """
    from headway.adapt._blocks import body_names, fresh_head, groups, head_names, trainable

    fresh_head(model, seed=seed)
    found = groups(model, (*body_names(model), *head_names(model)))
    return Tuning(model=model, groups=found, params={"trainable": trainable(model, found)})


METHOD = TuningMethod(name="partial", reference=REFERENCE, tune=tune, head="fresh")
