"""What is trained and how: frozen state, optimiser groups, the schedule of the rate, moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from headway.errors import OptionError, did_you_mean
from headway.types import ParamGroup

Tensors: TypeAlias = dict[str, Tensor]

MOMENTUM = 0.9  # of SGD


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a network is trained. The defaults suit fine-tuning from a probe with AdamW."""

    optimiser: Literal["adamw", "sgd"] = "adamw"  # Loshchilov and Hutter, arXiv 1711.05101; Nesterov momentum 0.9
    lr: float = 1e-3
    weight_decay: float = 0.01
    epochs: int = 10  # at most
    warmup: float = 0.1  # share of the steps
    clip: float | None = 1.0  # largest norm of the gradient over all trained parameters
    label_smoothing: float = 0.0  # what the caller gives to loss_for; the loop takes the loss as it is
    mixup: float = 0.0  # α of Beta(α, α); 0: off
    cutmix: float = 0.0  # α of Beta(α, α); 0: off; only inputs [n, c, h, w] are cut
    ema: float = 0.0  # decay of the moving average of the weights; 0: off
    patience: int | None = 5  # epochs without improvement before the loop stops; None: never
    precision: Literal["bf16", "f32", "auto"] = "auto"  # auto: bf16 where it measures faster


def validate(schedule: Schedule) -> None:
    """Raises :class:`OptionError` for the first value that is out of its range."""
    rules = (
        ("optimiser", schedule.optimiser in ("adamw", "sgd"), "adamw, sgd"),
        ("precision", schedule.precision in ("bf16", "f32", "auto"), "bf16, f32, auto"),
        ("lr", 0 < schedule.lr < math.inf, "a number above 0"),
        ("weight_decay", 0 <= schedule.weight_decay < math.inf, "a number from 0"),
        ("epochs", schedule.epochs >= 1, "a whole number from 1"),
        ("warmup", 0 <= schedule.warmup <= 1, "0 to 1"),
        ("clip", schedule.clip is None or schedule.clip > 0, "a number above 0, or None"),
        ("mixup", 0 <= schedule.mixup < math.inf, "a number from 0"),
        ("cutmix", 0 <= schedule.cutmix < math.inf, "a number from 0"),
        ("ema", 0 <= schedule.ema < 1, "0 to below 1"),
        ("patience", schedule.patience is None or schedule.patience >= 1, "a whole number from 1, or None"),
    )
    for name, fine, allowed in rules:
        if not fine:
            raise OptionError(f"the schedule's {name} is off", given=getattr(schedule, name), allowed=allowed)


# --- frozen or trained --------------------------------------------------------------------------


def freeze(model: nn.Module, groups: Iterable[ParamGroup], *, norm_statistics: Literal["frozen", "trained"]) -> None:
    """Put every module in the state in which it trains: what is in no group is frozen for real.

    A parameter in no group has no gradient. A module without a trained parameter is in eval mode: its dropout is off,
    its statistics are fixed. A module without any parameter goes with the module that holds it. Modules that keep
    running statistics stay in eval mode under ``"frozen"``, whether or not their affine parameters train.

    Raises:
        OptionError: a name that is no parameter, or in two groups; or nothing is trained.
    """
    parameters = dict(model.named_parameters())
    names = [name for group in groups for name in group.names]
    unknown = next((name for name in names if name not in parameters), None)
    if unknown is not None:
        raise OptionError("there is no such parameter", given=unknown, todo=did_you_mean(unknown, parameters))
    if not names or len(set(names)) != len(names):
        raise OptionError("each trained parameter is in one group, and there is one at least", given=f"{len(names)}")
    trained = set(names)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    model.eval()
    for module in model.modules():
        if any(parameter.requires_grad for parameter in module.parameters()):
            for part in (module, *_bare(module)):
                part.training = norm_statistics == "trained" or not _keeps_statistics(part)


def _bare(module: nn.Module) -> list[nn.Module]:
    """All that lies in children without parameters: dropout, activations, norms without weights."""
    bare = [child for child in module.children() if next(child.parameters(), None) is None]
    return [part for child in bare for part in child.modules()]


def _keeps_statistics(module: nn.Module) -> bool:
    return any(name == "running_mean" for name, _ in module.named_buffers(recurse=False))


def moving(model: nn.Module, *, everything: bool = False) -> Tensors:
    """What a training step can change, by name: trained parameters, and the buffers of modules in training mode.

    The tensors are the model's own. ``everything`` takes all parameters and buffers: for groups that will change.
    """
    modules = dict(model.named_modules())
    buffers = {
        name: buffer
        for name, buffer in model.named_buffers()
        if everything or modules[name.rpartition(".")[0]].training
    }
    return {name: p.detach() for name, p in model.named_parameters() if everything or p.requires_grad} | buffers


@torch.no_grad()
def copied(tensors: Mapping[str, Tensor], *, device: str | None = None) -> Tensors:
    """Clones, on ``device`` where one is given."""
    return {name: tensor.to(device, copy=True) for name, tensor in tensors.items()}


@torch.no_grad()
def restore(model_tensors: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Write saved values into a model's own tensors, in place."""
    for name, tensor in saved.items():
        model_tensors[name].copy_(tensor)


# --- optimiser ----------------------------------------------------------------------------------


def optimiser_for(
    model: nn.Module, groups: Iterable[ParamGroup], schedule: Schedule, *, before: Optimizer | None = None
) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum, over the groups' parameters; those that ``before`` had keep their state."""
    parameters = dict(model.named_parameters())
    options = [
        {
            "params": [parameters[name] for name in group.names],
            "lr": schedule.lr * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": schedule.weight_decay if group.decay else 0.0,
        }
        for group in groups
    ]
    made: Optimizer
    if schedule.optimiser == "adamw":
        made = AdamW(options, fused=True)
    else:
        made = SGD(options, lr=schedule.lr, momentum=MOMENTUM, nesterov=True, fused=True)
        for group in made.param_groups:  # the fused kernel refuses a group in which some have momentum and some do not
            made.state.update({p: {"momentum_buffer": torch.zeros_like(p)} for p in group["params"]})
    if before is not None:
        for group in made.param_groups:
            made.state.update({p: before.state[p] for p in group["params"] if p in before.state})
    return made


def optimiser_state(model: nn.Module, optimiser: Optimizer) -> Tensors:
    """The optimiser's tensors as ``key/parameter``."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}/{names[parameter]}": value
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def load_optimiser_state(model: nn.Module, optimiser: Optimizer, saved: Mapping[str, Tensor]) -> None:
    """The counterpart of :func:`optimiser_state`."""
    parameters = dict(model.named_parameters())
    for full, value in saved.items():
        key, name = full.split("/", 1)
        parameter = parameters[name]
        # The fused kernels go through memory: moments must lie as their parameter does, channels-last or not
        like = torch.empty_like(parameter) if value.shape == parameter.shape and value.ndim else torch.empty_like(value)
        optimiser.state[parameter][key] = like.copy_(value)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give each group ``rate`` times its scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]


# --- schedule -----------------------------------------------------------------------------------


def advanced(done: float, left: int) -> float:
    """How much of the schedule (0..1) is done after the next of ``left`` steps.

    As many steps as are left share what is left evenly, so a schedule whose end moves still ends at 1.
    """
    return 1.0 if left <= 1 else done + (1 - done) / left


def rate_share(done: float, after: float, *, warmup: float) -> float:
    """The share (0..1) of the learning rate for the step that takes the schedule from ``done`` to ``after``.

    Linear warm-up over the share ``warmup`` of all steps, then half a cosine to zero (Loshchilov and Hutter 2017,
    arXiv 1608.03983, eq. 5). Over S steps of equal length, w = warmup·S of them warm, step s gets ``min(1, (s + 1)/w)``
    for s < w and ``(1 + cos(π (s - w)/(S - w)))/2`` from there on.

    >>> [round(rate_share(s / 4, (s + 1) / 4, warmup=0.5), 2) for s in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if done < warmup:
        return min(1.0, after / warmup)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) if done < 1 else 0.0


def plan_epochs(
    wanted: int, *, batches: int, batch_seconds: float, check_seconds: float, remaining: float, share: float = 0.95
) -> int:
    """How many epochs of ``batches`` batches, each with a validation, fit into ``share`` of the remaining seconds.

    At most ``wanted``; 0 where not one fits.

    >>> plan_epochs(10, batches=8, batch_seconds=0.5, check_seconds=1.0, remaining=20.0)
    3
    """
    epoch = batches * batch_seconds + check_seconds
    return max(0, min(wanted, math.floor(share * remaining / epoch))) if epoch > 0 else wanted


# --- moving average -----------------------------------------------------------------------------


@torch.no_grad()
def average(kept: Tensors, now: Mapping[str, Tensor], *, decay: float, updates: int) -> None:
    """``kept ← d·kept + (1 - d)·now`` in place, with ``d = min(decay, (1 + t)/(10 + t))`` at update number t from 0.

    The ramp is TensorFlow's (ExponentialMovingAverage, ``num_updates``): without it a short training would be averaged
    with its start for good. What is not a float is taken as it is now; what is not kept yet is kept from now on.
    """
    weight = 1 - min(decay, (1 + updates) / (10 + updates))
    for name, tensor in now.items():
        if name not in kept:
            kept[name] = tensor.clone()
        elif tensor.is_floating_point():
            kept[name].lerp_(tensor, weight)
        else:
            kept[name].copy_(tensor)
