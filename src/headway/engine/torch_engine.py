"""The frozen forward pass by PyTorch: ``torch.compile`` on CUDA, plain eager on the CPU as the last resort."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from headway.engine.frozen import BATCH, TOLERANCE, Frozen, Outputs, agreement, disagrees, frozen, padded
from headway.engine.ir import IR
from headway.types import Backbone, ByteArray


def eager(backbone: Backbone, ir: IR, *, device: str = "cpu", batch: int = BATCH) -> Frozen:
    """The bare module on ``device`` in float32: exact, slow."""
    return _engine(backbone, ir, backbone.module().eval().to(device), device=device, batch=batch, label="eager-f32")


def compiled_cuda(backbone: Backbone, ir: IR, *, batch: int = 128) -> Frozen:
    """``torch.compile`` in bf16 and channels-last on CUDA; falls back to eager there when the probe batch disagrees."""
    import torch

    module: Any = backbone.module().eval().to("cuda")
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

    expects = backbone.spec.input
    mean = torch.tensor(expects.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(expects.std, device=device).view(1, 3, 1, 1)

    def run(images: ByteArray) -> Outputs:
        pixels = torch.from_numpy(padded(images, batch)).to(device).permute(0, 3, 1, 2).float()
        if expects.channels == "bgr":
            pixels = pixels.flip(1)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled="bf16" in label):
            outs = module((pixels - mean) / std)
        return tuple(np.asarray(out[: len(images)].float().cpu().numpy()) for out in outs)

    return frozen(ir, engine=f"torch-{torch.__version__}-{device}-{label}", batch=batch, forward=partial(map, run))
