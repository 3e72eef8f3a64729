"""One batch: mixed, sent through the network in its precision and layout, its gradients added up in parts that fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from headway.errors import ModelError

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Precision: TypeAlias = Literal["f32", "bf16"]
T = TypeVar("T")

_REFUSALS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


# --- mixing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs ``[n, ...]``, their targets, and where they were mixed the partners' targets and the inputs' own share."""

    inputs: Tensor
    targets: Tensor
    partners: Tensor | None = None
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.inputs)

    def loss(self, loss: Loss, scores: Tensor) -> Tensor:
        """``share · loss(scores, targets) + (1 - share) · loss(scores, partners)``.

        A cross entropy is linear in its targets, so this is the loss of the soft targets of the mixing papers.
        """
        own = loss(scores, self.targets)
        return own if self.partners is None else self.share * own + (1 - self.share) * loss(scores, self.partners)

    def parts(self, count: int) -> list[Batch]:
        """At most ``count`` batches of nearly equal size that hold these rows."""
        cut = [tensor.chunk(count) for tensor in (self.inputs, self.targets)]
        partners = [None] * len(cut[0]) if self.partners is None else self.partners.chunk(count)
        rows = zip(*cut, partners, strict=True)
        return [Batch(inputs=x, targets=y, partners=p, share=self.share) for x, y, p in rows]


def mixed(batch: Batch, *, mixup: float, cutmix: float, seed: int) -> Batch:
    """The batch with each row mixed with another of it; as it is where both strengths are 0 or it has a single row.

    ``mixup``: ``λx + (1-λ)x'`` with λ ~ Beta(α, α) (Zhang et al. 2018, arXiv 1710.09412, eq. 1). ``cutmix``: a box of
    x' with the share 1-λ of the area, pasted into x ``[n, c, h, w]``; λ is then what is left of x (Yun et al. 2019,
    arXiv 1905.04899, eq. 1). Where both are on, each gets every other batch, by chance. One λ a batch.
    """
    rng = np.random.default_rng(seed)
    x = batch.inputs
    cutting = cutmix > 0 and x.ndim == 4 and not (mixup > 0 and rng.random() < 0.5)
    alpha = cutmix if cutting else mixup
    if alpha <= 0 or len(x) < 2 or not x.is_floating_point():
        return batch
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    if cutting:
        x, share = _pasted(x, x[order], share, rng)
    else:
        x = share * x + (1 - share) * x[order]
    return Batch(inputs=x, targets=batch.targets, partners=batch.targets[order], share=share)


def _pasted(x: Tensor, other: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    height, width = x.shape[-2:]
    tall, wide = height * np.sqrt(1 - share), width * np.sqrt(1 - share)
    middle, centre = rng.integers(height), rng.integers(width)
    top, bottom = np.clip([middle - tall // 2, middle + tall // 2], 0, height).astype(int)
    left, right = np.clip([centre - wide // 2, centre + wide // 2], 0, width).astype(int)
    x = x.clone()
    x[..., top:bottom, left:right] = other[..., top:bottom, left:right]
    return x, 1 - float((bottom - top) * (right - left)) / (height * width)


# --- forward and backward -----------------------------------------------------------------------


def placed(x: Tensor, y: Tensor, *, device: torch.device) -> Batch:
    """On the device, floating inputs in float32, images and maps ``[n, c, h, w]`` channels-last."""
    x, y = x.to(device), y.to(device)
    if x.is_floating_point():
        x = x.float()
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return Batch(inputs=x, targets=y)


def scores_of(model: nn.Module, x: Tensor, *, precision: Precision) -> Tensor:
    """The model's scores in float32, computed under bf16 autocast where asked for."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        scores: Tensor = model(x)
    return scores.float()


def backward(
    model: nn.Module,
    batch: Batch,
    *,
    loss: Loss,
    penalty: Callable[[], Tensor] | None,
    precision: Precision,
    parts: int = 1,
) -> float:
    """Put the gradient of the batch's loss plus penalty into the parameters; returns that loss plus penalty.

    In ``parts`` the memory for activations is a part's, and the sum is the whole batch's gradient, except that batch
    norms that train see a part at a time.
    """
    model.zero_grad(set_to_none=True)
    total = 0.0
    for part in batch.parts(parts):
        value = part.loss(loss, scores_of(model, part.inputs, precision=precision)) * (len(part) / len(batch))
        value.backward()  # type: ignore[no-untyped-call]
        total += value.item()
    if penalty is not None:
        value = penalty()
        value.backward()  # type: ignore[no-untyped-call]
        total += value.item()
    return total


def in_memory(work: Callable[[int], T], *, rows: int, parts: int) -> tuple[T, int]:
    """``work(parts)``, with the parts doubled as long as memory does not suffice; returns its result and the parts.

    Raises:
        ModelError: not even one of the ``rows`` fits.
    """
    while True:
        try:
            return work(parts), parts
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if parts >= rows:
                raise ModelError(
                    "a single item does not fit into memory",
                    given=str(error),
                    todo="Choose a smaller network, or a cut with less above it",
                ) from error
        parts = min(2 * parts, rows)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had: torch's own on CUDA, the allocator's words on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error).lower() for words in _REFUSALS
    )


def may_use_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bf16 natively, as far as torch tells: where it does not know, try."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.9
    if device.type != "cpu" or capabilities is None:
        return True
    found = capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
