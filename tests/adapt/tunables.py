"""Small networks of every kind as ``Tunable`` modules, a problem each can learn, and a training loop of a few lines."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from headway.backbones._torchvision import prepare
from headway.types import ParamGroup, Tuning

CLASSES = 3


class Whole(nn.Module):
    """A :class:`headway.types.Tunable`."""

    def __init__(self, body: nn.Module, dim: int, blocks: tuple[str, ...]) -> None:
        super().__init__()
        self.body, self.head, self.blocks = body, nn.Linear(dim, CLASSES), blocks

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Pooled(nn.Module):
    """A transformers model's mean token."""

    def __init__(self, net: nn.Module, *, words: bool) -> None:
        super().__init__()
        self.net, self.words = net, words

    def forward(self, x: Tensor) -> Tensor:
        found = self.net(input_ids=x) if self.words else self.net(pixel_values=x)
        return found.last_hidden_state.mean(1)


def plain() -> Whole:
    """Convolutions with batch norm, one depthwise, one dilated, and a linear layer."""
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    middle = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 1))
    last = nn.Sequential(nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.BatchNorm2d(16), nn.ReLU())
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 12))
    return Whole(nn.Sequential(stem, middle, last, pool), 12, ("body.0", "body.1", "body.2", "body.3"))


def of_timm(name: str, blocks: tuple[str, ...], **options: Any) -> Whole:
    prepare()
    import timm

    net = timm.create_model(name, num_classes=0, **options)
    return Whole(net, net.head_hidden_size, ("body", *(f"body.{block}" for block in blocks)))


def resnet() -> Whole:
    return of_timm("test_resnet", ("layer1", "layer2", "layer3", "layer4"))


def efficientnet() -> Whole:
    return of_timm("test_efficientnet", ("blocks.0", "blocks.1", "blocks.2", "conv_head"))


def vit() -> Whole:
    return of_timm("test_vit", tuple(f"blocks.{i}" for i in range(6)), img_size=32)


def same_padding() -> Whole:
    """Convolutions that pad by the input's size, as those of the networks from TensorFlow do."""
    return of_timm("test_efficientnet", ("blocks.0", "blocks.1"), pad_type="same")


def nfnet() -> Whole:
    """Convolutions that standardise their weight: no adapter can be merged into one."""
    return of_timm("test_nfnet", ("stages",))


def bert() -> Whole:
    prepare()
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    net = BertModel(config, add_pooling_layer=False)
    blocks = ("body", "body.net.embeddings", "body.net.encoder.layer.0", "body.net.encoder.layer.1")
    return Whole(Pooled(net, words=True), 32, blocks)


def hf_vit() -> Whole:
    prepare()
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    return Whole(Pooled(ViTModel(config, add_pooling_layer=False), words=False), 32, ("body",))


NETWORKS: dict[str, Callable[[], Whole]] = {
    "plain": plain,
    "resnet": resnet,
    "efficientnet": efficientnet,
    "vit": vit,
    "bert": bert,
    "hf_vit": hf_vit,
}


def build(name: str) -> Whole:
    """Always the same weights; batch norms have the statistics of inputs, as those of a pretrained network."""
    return copy.deepcopy(_built(name))


@cache
def _built(name: str) -> Whole:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = {**NETWORKS, "nfnet": nfnet, "same_padding": same_padding}[name]()
        model.train()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1 and not parameter.any():
                    parameter.uniform_(-0.5, 0.5)  # a pretrained network has no block that is switched off
            for _ in range(20):
                model(inputs(name)[0])
        return model.eval()


def inputs(name: str, n: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (or sentences) whose class shows in the mean colour (or in which words they have)."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    if name == "bert":
        return torch.randint(0, 12, (n, 8), generator=draw) + 12 * y[:, None], y
    x = torch.randn(n, 3, 32, 32, generator=draw)
    return x + 2 * nn.functional.one_hot(y, 3)[:, :, None, None], y


def sampler(name: str) -> Callable[[], list[tuple[Tensor, Tensor]]]:
    return lambda: [inputs(name, seed=seed) for seed in range(2)]


def by_hand(
    tuning: Tuning,
    batches: list[tuple[Tensor, Tensor]],
    *,
    epochs: int = 3,
    lr: float = 1e-2,
    decay: float = 0.0,
    optimiser: type[torch.optim.Optimizer] = torch.optim.SGD,
) -> list[float]:
    """A loop that does what the tuning says and no more: what any training loop has to do. Gives each step's loss."""
    model, losses = tuning.model, []
    parameters = dict(model.named_parameters())
    for epoch in range(epochs):
        groups = tuning.groups if tuning.regroup is None else tuning.regroup(epoch, epochs)
        learns = {name for group in groups for name in group.names}
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in learns)
        steps = optimiser([_options(group, parameters, lr, decay) for group in groups])  # type: ignore[call-arg]
        model.eval()
        if tuning.norm_statistics == "trained":
            model.train()
        for x, y in batches:
            loss = nn.functional.cross_entropy(model(x), y)
            losses.append(float(loss.detach()))
            total = loss if tuning.penalty is None else loss + tuning.penalty()
            steps.zero_grad()
            total.backward()
            steps.step()
    model.eval()
    return losses


def _options(group: ParamGroup, parameters: dict[str, nn.Parameter], lr: float, decay: float) -> dict[str, Any]:
    named = [parameters[name] for name in group.names]
    return {"params": named, "lr": lr * group.lr_scale, "weight_decay": decay if group.decay else 0.0}
