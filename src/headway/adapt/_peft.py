"""Adapters by peft, on any network: which layers can carry one, how it is put in, how it is folded into the weights."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from headway.errors import DataError, ModelError
from headway.types import ParamGroup, Tuning

if TYPE_CHECKING:
    from torch import Tensor, nn

    from headway.adapt._blocks import Sample

MATRIX_RATE = 1.0  # of the schedule's: its 1e-3 for AdamW suits thin matrices, and ten times that destroys a network
FACTOR_RATE = 10.0  # factors start at 1 and have far to go in few steps; the paper trains them at 3e-3
RANK, SHARE, SCALING = 8, 4, 2


def load() -> Any:
    """The package peft. Raises :class:`ModelError` where it is not installed."""
    from headway.backbones._torchvision import prepare

    prepare()  # peft imports transformers, which imports torchvision
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ModelError("adapters need the package peft", todo="Run: pip install 'headway[tune]'") from error
    return peft


def carriers(model: Any, *, sample: Sample) -> dict[str, nn.Module]:
    """The body's linear and 2-d convolution layers that an adapter can stand for, by their names in ``model``.

    Seen on one batch: a layer counts when the network calls it (attention that reads a layer's weight itself would
    pass the adapter by), when its output is linear in its weight (a standardised weight could not be merged) and when
    no other layer shares the weight.
    """
    import torch
    from torch import nn

    from headway.adapt._blocks import evaluating

    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    layers = {
        name: module
        for name, module in model.named_modules()
        if name.startswith("body") and isinstance(module, nn.Linear | nn.Conv2d) and uses[id(module.weight)] == 1
    }
    linear: dict[str, bool] = {}
    hooks = [
        layer.register_forward_hook(partial(_note, linear, name), with_kwargs=True) for name, layer in layers.items()
    ]
    try:
        with evaluating(model), torch.no_grad():
            batch = next(iter(sample()), None)
            if batch is None:
                raise DataError("adapters need a batch to see which layers the network calls", given="none")
            model(batch[0])
    finally:
        for hook in hooks:
            hook.remove()
    return {name: layer for name, layer in layers.items() if linear.get(name, False)}


def rank_of(layer: Any) -> int:
    """8, but at most a quarter of the layer's smaller side, and at least 1: a small layer gets a small adapter.

    >>> from torch import nn
    >>> rank_of(nn.Linear(768, 3072)), rank_of(nn.Conv2d(16, 64, 3)), rank_of(nn.Linear(2, 9))
    (8, 4, 1)
    """
    names = ("in_features", "out_features", "in_channels", "out_channels")
    sides: list[int] = [getattr(layer, name) for name in names if hasattr(layer, name)]
    return max(1, min(RANK, min(sides) // SHARE))


def low_rank(model: Any, /, *, sample: Sample, seed: int, dora: bool) -> Tuning:
    """LoRA, or DoRA, in every layer that can carry it.

    Grouped and depthwise convolutions are left out: their kernels have no rank to save. So are dilated ones, which
    peft's low-rank path does not dilate.
    """
    from torch import nn

    layers = {name: layer for name, layer in carriers(model, sample=sample).items() if _dense(layer)}
    ranks = {re.escape(name): rank_of(layer) for name, layer in layers.items()}  # peft reads the names as patterns
    config = load().LoraConfig(
        target_modules=_any_of(layers),
        rank_pattern=ranks,
        alpha_pattern={name: SCALING * rank for name, rank in ranks.items()},
        lora_dropout=0.0,
        use_dora=dora,
    )
    params = {"rank": max(ranks.values(), default=0), "scaling": float(SCALING)}
    tuning = put_in(model, layers, tuner="LoraModel", config=config, rate=MATRIX_RATE, seed=seed, params=params)
    for name, module in model.named_modules():
        if name.endswith(".lora_magnitude_vector.default") and isinstance(layers[name.rsplit(".", 2)[0]], nn.Conv2d):
            module.register_forward_pre_hook(_readable, with_kwargs=True)
    return tuning


def factors(model: Any, /, *, sample: Sample, seed: int) -> Tuning:
    """IA³ on the outputs of every layer that can carry it."""
    layers = carriers(model, sample=sample)
    config = load().IA3Config(target_modules=_any_of(layers), feedforward_modules=[])  # none by its inputs
    return put_in(model, layers, tuner="IA3Model", config=config, rate=FACTOR_RATE, seed=seed, params={})


def put_in(
    model: Any,
    layers: Iterable[str],
    *,
    tuner: str,
    config: Any,
    rate: float,
    seed: int,
    params: Mapping[str, float | int],
) -> Tuning:
    """Adapters into ``model`` itself, and a ``merge`` that folds them into its weights and takes them out again.

    They train at ``rate`` times the schedule's, their matrices with weight decay (towards no change), all else of them
    without. Everything of the body is frozen, norm statistics among it.
    """
    import torch

    from headway.adapt._blocks import groups, head_names, trainable

    count = len(tuple(layers))
    if not count:
        raise ModelError(
            "this network has no layer that can carry an adapter", todo="Use bitfit, lp_ft or full instead"
        )
    known = set(model.modules())
    asked = {parameter: parameter.requires_grad for parameter in model.parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapters = getattr(load(), tuner)(model, config, "default")
    for module in model.modules():
        if module not in known:
            module.training = model.training
    added = tuple(name for name, parameter in model.named_parameters() if parameter not in asked)
    for parameter, learns in asked.items():  # peft froze them; here the groups say what is frozen
        parameter.requires_grad_(learns)
    # By name: an IA³ vector and a DoRA magnitude can have two axes and more, and decay would draw them to zero
    matrices = tuple(name for name in added if ".lora_A." in name or ".lora_B." in name)
    rest = tuple(name for name in added if name not in set(matrices))
    found = (
        *(ParamGroup(names=names, lr_scale=rate, decay=names is matrices) for names in (matrices, rest) if names),
        *groups(model, head_names(model)),
    )

    def merge() -> None:
        adapters.merge_and_unload()

    count_of = {"layers": count, "rate": rate, "trainable": trainable(model, found)}
    return Tuning(model=model, groups=found, merge=merge, params={**params, **count_of})


def _dense(layer: Any) -> bool:
    return getattr(layer, "groups", 1) == 1 and set(getattr(layer, "dilation", (1,))) == {1}


def _readable(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """peft's DoRA reads kernels by ``view``, which channels-last strides refuse: give it one that it can read."""
    kernel = named["lora_A"]
    stand_in: Any = partial(kernel)
    stand_in.weight = kernel.weight.contiguous()
    return inputs, {**named, "lora_A": stand_in}


def _any_of(names: Iterable[str]) -> str:
    """A pattern for exactly these modules: a list would match every module whose name ends like one of them."""
    return "|".join(map(re.escape, names))


def _note(
    linear: dict[str, bool], name: str, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], _: Tensor
) -> None:
    """Does the output double with the weight? Tried on a made weight: the layer's own may be, or give, nothing yet."""
    import torch

    trial: Any = copy.deepcopy(layer)
    trial.weight.copy_(torch.linspace(-1, 1, trial.weight.numel()).view_as(trial.weight))
    if trial.bias is not None:
        trial.bias.zero_()
    once = trial.forward(*inputs, **named)
    trial.weight.mul_(2)
    twice = trial.forward(*inputs, **named)
    linear[name] = bool(once.any()) and torch.allclose(twice, 2 * once, rtol=1e-4)
