"""Contrastive tuning of an encoder from a few examples: embeddings of one class come together, of two come apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.types import Tuning, TuningMethod

if TYPE_CHECKING:
    from torch import Tensor

    from headway.adapt._blocks import Loss, Sample

REFERENCE = (
    "Tunstall, Reimers, Jo, Bates, Korat, Wasserblat and Pereg (2022), Efficient Few-Shot Learning Without Prompts "
    "(SetFit), arXiv 2209.11055, section 3.1"
)


def tune(model: Any, /, *, sample: Sample, loss: Loss, seed: int) -> Tuning:
    """Train the body alone, on the cosines of the pairs within each batch; the probe is then fitted anew on top.

    SetFit embeds two texts for every pair. Here every text of a batch is embedded once and paired with every other: 16
    texts are 120 pairs.
    """
    from headway.adapt._blocks import body_names, groups, trainable

    own = tuple(name.removeprefix("body.") for name in body_names(model))
    body = model.body
    found = groups(body, own)
    return Tuning(model=body, groups=found, loss=cosine_loss, params={"trainable": trainable(body, found)})


def cosine_loss(embeddings: Tensor, y: Tensor) -> Tensor:
    """``½ mean((1 - cos)²)`` over pairs of one class plus ``½ mean(cos²)`` over pairs of two; ``[n, d]`` and ``[n]``.

    SetFit's targets of 1 and 0, and its equal numbers of both kinds of pairs, as weights. A kind that a batch has no
    pair of adds nothing.

    >>> import torch
    >>> float(cosine_loss(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 1, 1])))
    0.0
    """
    import torch

    unit = torch.nn.functional.normalize(embeddings, dim=1)
    first, second = torch.triu_indices(len(y), len(y), offset=1)
    cosines, same = (unit @ unit.T)[first, second], y[first] == y[second]
    pulled = ((1 - cosines[same]) ** 2).sum() / same.sum().clamp(min=1)
    pushed = (cosines[~same] ** 2).sum() / (~same).sum().clamp(min=1)
    return (pulled + pushed) / 2


METHOD = TuningMethod(name="contrastive", reference=REFERENCE, tune=tune, head="refit", batches="pairs")
