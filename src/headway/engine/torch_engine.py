"""The frozen forward pass by PyTorch: ``torch.compile`` on CUDA, plain eager on the CPU as the last resort."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.engine.frozen import TOLERANCE, Frozen, Outputs, agreement, disagrees, frozen, inputs_of, throughput
from headway.engine.ir import IR
from headway.types import Backbone, Batch, ImageInput, TextInput

if TYPE_CHECKING:
    from torch import Tensor


CUDA_IMAGES, CUDA_TOKENS = 128, 16384  # in one batch


def eager(backbone: Backbone, ir: IR, *, device: str = "cpu", batch: int | None = None) -> Frozen:
    """The bare module on ``device`` in float32: exact, slow."""
    batch = throughput(ir.view) if batch is None else batch
    return _engine(backbone, ir, backbone.module().eval().to(device), device=device, batch=batch, label="eager-f32")


def compiled_cuda(backbone: Backbone, ir: IR, *, batch: int | None = None) -> Frozen:
    """``torch.compile`` in bf16 and channels-last on CUDA; falls back to eager there when the probe batch disagrees."""
    import torch

    text = isinstance(backbone.spec.input, TextInput)
    batch = batch or (CUDA_TOKENS if text else CUDA_IMAGES)
    module: Any = backbone.module().eval().to("cuda")
    if not text:
        module = module.to(memory_format=torch.channels_last)
    fast = _engine(backbone, ir, torch.compile(module), device="cuda", batch=batch, label="compile-bf16")
    found = agreement(fast, ir)
    if found >= TOLERANCE["bf16"]:
        return fast
    slow = eager(backbone, ir, device="cuda", batch=batch)
    slow.findings = (disagrees(ir.name, "bf16", found),)
    return slow


def _engine(backbone: Backbone, ir: IR, module: Any, *, device: str, batch: int, label: str) -> Frozen:
    import torch

    prepared = _pixels(backbone.spec.input, device) if isinstance(backbone.spec.input, ImageInput) else None

    def run(some: Batch) -> Outputs:
        full, n = inputs_of(some, batch)
        tensors = tuple(torch.from_numpy(array).to(device) for array in full)
        if prepared is not None:
            tensors = tuple(map(prepared, tensors))
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled="bf16" in label):
            outs = module(*tensors)
        return tuple(np.asarray(out[:n].float().cpu().numpy()) for out in outs)

    return frozen(ir, engine=f"torch-{torch.__version__}-{device}-{label}", batch=batch, forward=partial(map, run))


def _pixels(expects: ImageInput, device: str) -> Callable[[Tensor], Tensor]:
    """From uint8 ``[n, h, w, 3]`` RGB to what the bare network takes."""
    import torch

    mean = torch.tensor(expects.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(expects.std, device=device).view(1, 3, 1, 1)

    def prepared(images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).float()
        if expects.channels == "bgr":
            pixels = pixels.flip(1)
        return (pixels - mean) / std

    return prepared
