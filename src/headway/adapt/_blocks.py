"""What the fine-tuning methods share: whose parameter is whose, which are spared weight decay, and how many learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, TypeAlias

from headway.errors import ModelError
from headway.types import ParamGroup

if TYPE_CHECKING:
    from torch import Tensor

    Sample: TypeAlias = Callable[[], Iterable[tuple[Tensor, Tensor]]]
    Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# What timm's networks name in ``no_weight_decay()``: learned positions and tokens. A cut network lost that method.
POSITIONS = ("pos_embed*", "cls_token", "dist_token", "reg_token", "relative_position_bias_table")


def blocks(model: Any) -> dict[str, tuple[str, ...]]:
    """``{block: names of its parameters}``, input side first; the innermost block that holds a parameter owns it.

    Names are those of ``model.named_parameters()``. Raises :class:`ModelError` where a block does not exist or a
    parameter of the body is in none.
    """
    known = {name for name, _ in model.named_modules()}
    unknown = [block for block in model.blocks if block not in known]
    if unknown:
        raise ModelError("a block is not a module of the network", given=", ".join(unknown))
    held: dict[str, list[str]] = {block: [] for block in model.blocks}
    homeless: list[str] = []
    for name, _ in model.named_parameters():
        if name.startswith("head."):
            continue
        owner = max((block for block in held if name.startswith(f"{block}.")), key=len, default=None)
        (homeless if owner is None else held[owner]).append(name)
    if homeless:
        raise ModelError(
            "the network's blocks leave parameters out",
            given=", ".join(homeless[:5]),
            allowed="blocks that together hold every parameter of the body",
            todo="Name the module that holds them in blocks; inner blocks keep what is theirs",
        )
    return {block: tuple(names) for block, names in held.items()}


def body_names(model: Any) -> tuple[str, ...]:
    """Names of the body's parameters, in the order of the blocks."""
    return tuple(name for names in blocks(model).values() for name in names)


def head_names(model: Any) -> tuple[str, ...]:
    return tuple(name for name, _ in model.named_parameters() if name.startswith("head."))


def groups(model: Any, names: Iterable[str], *, lr_scale: float = 1.0) -> tuple[ParamGroup, ...]:
    """``names`` at one rate, in at most two groups: with weight decay and, after timm's convention, without.

    Vectors (biases, the affine parameters of norms, layer scales) have no decay, nor have learned positions and tokens,
    what a network names in ``no_weight_decay()``, and embedding tables: their rows would decay whenever they are not
    looked up.
    """
    spared = _spared(model)
    shapes = {name: parameter.ndim for name, parameter in model.named_parameters()}

    def decays(name: str) -> bool:
        return shapes[name] > 1 and not name.endswith(".bias") and name not in spared

    kinds = {kind: tuple(name for name in names if decays(name) is kind) for kind in (True, False)}
    return tuple(ParamGroup(names=part, lr_scale=lr_scale, decay=kind) for kind, part in kinds.items() if part)


def trainable(model: Any, found: Iterable[ParamGroup]) -> int:
    """How many numbers the groups train."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return sum(sizes[name] for group in found for name in group.names)


def fresh_head(model: Any, *, seed: int) -> None:
    """Draw the head's weights anew, in place, each layer by its own ``reset_parameters``; buffers stay as they are."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in model.head.modules():
            if callable(getattr(module, "reset_parameters", None)):
                module.reset_parameters()
                continue
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    torch.nn.init.trunc_normal_(parameter, std=0.02)
                elif name.endswith("bias"):
                    parameter.zero_()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Eval mode inside, every module's own mode back afterwards: no statistics move, nothing is dropped."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _spared(model: Any) -> set[str]:
    from torch import nn

    spared = set()
    for prefix, module in model.named_modules():
        asked = getattr(module, "no_weight_decay", None)
        patterns = (*POSITIONS, *(asked() if callable(asked) else ()))
        for name, _ in module.named_parameters():
            direct = "." not in name
            if (direct and isinstance(module, nn.Embedding)) or any(fnmatch(name, pattern) for pattern in patterns):
                spared.add(f"{prefix}.{name}" if prefix else name)
    return spared
