"""What a network that is being tuned is worth on the rows that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headway.adapt._average import GRID, interpolate
from headway.evaluate.metrics import primary
from headway.features.activations import Batches
from headway.features.text_batches import TextBatches
from headway.recipe.ground import Ground, loss_of
from headway.types import IntArray

if TYPE_CHECKING:
    from headway.engine.cut import Tail
    from headway.engine.train import Epoch, Trained

PRECISION: Literal["f32"] = "f32"  # above a cut it is faster than bf16 on the processors measured, and the same on all


class Watch:
    """Measures the rows that were left out after every epoch, for the curve and for a warning; it chooses nothing."""

    def __init__(
        self,
        model: Any,
        seen: Batches | TextBatches,
        ground: Ground,
        rows: IntArray,
        *,
        before: Callable[[], None] | None = None,  # looking: fits the head anew
    ) -> None:
        self.before = before
        self.model, self.seen, self.ground, self.epochs = model, seen, ground, list[Any]()
        self.truth, self.learnt = ground.arena.y[rows], ground.learnt[rows]

    def __call__(self, epoch: Epoch) -> None:
        if self.before is not None:
            self.before()
        found = scores(self.model, self.seen)
        score = primary(self.truth, self.ground.told(found))
        self.epochs.append(replace(epoch, val_loss=loss_of(found, self.learnt), val_score=score))

    def told(self, trained: Trained) -> Trained:
        """With the curve as it was seen here, and a finding where it turned."""
        from headway.engine.curves import overfitting

        known = {epoch.number: epoch for epoch in self.epochs}  # a training begun again begins its curve again
        epochs = tuple(known.get(epoch.number, epoch) for epoch in trained.epochs)
        best = max(epochs, key=lambda epoch: epoch.val_score or 0.0).number
        turned = overfitting(epochs, best=best)
        return replace(trained, epochs=epochs, findings=(*trained.findings, *([turned] if turned else [])))


def scores(model: Any, seen: Batches | TextBatches) -> NDArray[np.float32]:
    """Scores ``[m, C]`` of the clean views."""
    import torch

    from headway.engine.step import placed, scores_of

    model.eval()
    with torch.inference_mode():
        batches = [placed(x, y, device=torch.device("cpu")) for x, y in seen.epoch(0)]
        found = [scores_of(model, batch.inputs, precision=PRECISION) for batch in batches]
    return torch.cat(found).numpy()


def scores_between(
    tail: Tail, start: dict[str, Any], seen: Batches | TextBatches, *, fresh: bool
) -> dict[float, NDArray[np.float32]]:
    """Scores at the end, and on the way back to the start where that is a model of its own."""
    end = {key: value.clone() for key, value in tail.state_dict().items()}
    found = {1.0: scores(tail, seen)}
    for share in () if fresh else GRID:
        tail.load_state_dict(interpolate(start, end, share))
        found[share] = scores(tail, seen)
    tail.load_state_dict(end)
    return found
