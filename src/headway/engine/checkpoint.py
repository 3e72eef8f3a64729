"""Checkpoints: one safetensors file, the facts as JSON in its header, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 1
_KEY = "headway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What was saved: tensors by name, on the CPU, and facts that JSON can hold."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors called ``prefix/name``, by ``name``."""
        start = f"{prefix}/"
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def save(path: Path, *, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint beside its place, flush it to disk and rename it: a reader sees the old one or the new one.

    Raises:
        OSError: the disk is full or refuses; what was there before is still there.
    """
    from safetensors.torch import save as serialised

    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({"format": FORMAT, **facts})
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(serialised(_apart(flat), metadata={_KEY: header}))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def load(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``; None where there is none, or none that this version can read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            if facts["format"] != FORMAT:
                return None
            return Checkpoint(tensors={name: file.get_tensor(name) for name in file.keys()}, facts=facts)  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def sweep(path: Path) -> None:
    """Take away what killed processes left half-written beside ``path``."""
    for scratch in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError):
            scratch.unlink()


def fingerprint(settings: object, tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Hex digest of settings (by their ``repr``) and of tensors with their names, shapes and values."""
    found = blake2b(repr(settings).encode(), digest_size=16)
    for name, tensor in tensors:
        found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Safetensors refuses tensors that share memory: each name gets its own."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        out[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return out
