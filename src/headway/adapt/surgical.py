"""Surgical fine-tuning: each block learns at a rate in proportion to how much the new data ask it to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.errors import DataError, ModelError
from headway.types import ParamGroup, Tuning, TuningMethod

if TYPE_CHECKING:
    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Lee, Chen, Tajwar, Kumar, Yao, Liang and Finn (2023), Surgical Fine-Tuning Improves Adaptation to Distribution "
    "Shifts, arXiv 2210.11466, section 4"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Auto-RGN: block ``b`` trains at ``(‖g_b‖/‖θ_b‖) / max`` of the schedule's rate, the head at 1.

    ``g`` is the loss's gradient at the start, over the batches that ``sample`` yields. The paper measures it again as
    training goes on; here it is measured once, so that a resumed training has the rates it began with. The head starts
    as the probe, and batch norms keep their pretrained statistics, under which the gradients were measured.
    """
    from headway.adapt._blocks import blocks, groups, head_names, trainable

    held = blocks(model)
    ratios = relative_gradients(model, sample=sample, loss=loss)
    largest = max(ratios.values(), default=0.0)
    found: list[ParamGroup] = []
    for block, ratio in ratios.items():
        # Where no block has a gradient none is to be preferred
        found += groups(model, held[block], lr_scale=ratio / largest if largest > 0 else 1.0)
    found += groups(model, head_names(model))
    most = max(ratios, key=lambda block: ratios[block], default="")
    return Tuning(model=model, groups=tuple(found), params={"most": most, "trainable": trainable(model, found)})


def tune_block(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """The paper's other form: only the block with the largest ``‖g‖/‖θ‖`` is trained, and the head."""
    from headway.adapt._blocks import blocks, groups, head_names, trainable

    ratios = relative_gradients(model, sample=sample, loss=loss)
    most = max(ratios, key=lambda block: ratios[block], default="")
    found = groups(model, (*blocks(model).get(most, ()), *head_names(model)))
    return Tuning(model=model, groups=found, params={"block": most, "trainable": trainable(model, found)})


def relative_gradients(model: Any, *, sample: Sample, loss: Loss) -> dict[str, float]:
    """``{block: ‖g‖/‖θ‖}`` over the blocks that have parameters; ``g`` is the mean loss's gradient over all items.

    Measured in eval mode; the model is left as it was. Raises :class:`DataError` where there is no batch, and
    :class:`ModelError` where a gradient is not finite.
    """
    import torch

    from headway.adapt._blocks import blocks, evaluating

    held = {block: names for block, names in blocks(model).items() if names}
    parameters = dict(model.named_parameters())
    wanted = [name for names in held.values() for name in names]
    frozen = [name for name in wanted if not parameters[name].requires_grad]
    sums = {name: torch.zeros_like(parameters[name]) for name in wanted}
    items = 0
    try:
        for name in frozen:
            parameters[name].requires_grad_(True)
        with evaluating(model), torch.enable_grad():
            for x, y in sample():
                # Gradients by value: the parameters' own .grad is not touched
                found = torch.autograd.grad(loss(model(x), y), [parameters[n] for n in wanted], allow_unused=True)
                for name, gradient in zip(wanted, found, strict=True):
                    if gradient is not None:
                        sums[name] += len(x) * gradient
                items += len(x)
    finally:
        for name in frozen:
            parameters[name].requires_grad_(False)
    if not items:
        raise DataError("surgical fine-tuning needs a batch to measure gradients on", given="none")

    def norm(tensors: list[torch.Tensor]) -> float:
        return float(torch.stack([t.detach().double().norm() for t in tensors]).norm())

    ratios = {
        block: norm([sums[n] for n in names]) / items / max(norm([parameters[n] for n in names]), 1e-12)
        for block, names in held.items()
    }
    broken = [block for block, ratio in ratios.items() if ratio != ratio or ratio == float("inf")]
    if broken:
        raise ModelError("the loss has no finite gradient", given=", ".join(broken), todo="Look for NaN in the data")
    return ratios


METHOD = TuningMethod(name="surgical", reference=REFERENCE, tune=tune)
