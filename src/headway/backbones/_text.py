"""The torch side of a text backbone: build an architecture, find its cuts, pool every stage in one pass.

A text network is called ``net(input_ids, attention_mask)``, both int64 ``[n, L]``; it gives its embedding ``[n, dim]``.
Texts are padded on the right, with any id. Imported only by functions that need a network, because it imports torch.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.backbones._hugging_face import quiet
from headway.backbones._network import Cut, Dense, Frame, Pooling, TextFrame
from headway.backbones._torchvision import prepare

QUARTERS = 4  # a cut after each quarter of the depth but the last, whose states are pooled anyway


class Encoder(nn.Module):
    """A transformers model without a head, its pooling, and the layers on that."""

    def __init__(self, model: nn.Module, text: TextFrame) -> None:
        super().__init__()
        self.model, self.pooling, self.normalise = model, text.pooling, text.normalise
        self.dense = nn.ModuleList(_dense(layer) for layer in text.dense)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden states ``[n, L, width]``, and which positions ``[n, L]`` they are of."""
        # A text without any token still attends to something: a row of nothing else would give NaN
        attended = torch.cat([torch.ones_like(attention_mask[:, :1]), attention_mask[:, 1:]], 1)
        output: Any = self.model(input_ids=input_ids, attention_mask=attended)
        return output.last_hidden_state, attention_mask

    def embed(self, hidden: Tensor, mask: Tensor) -> Tensor:
        pooled = pool(hidden, mask, self.pooling)
        for layer in self.dense:
            pooled = layer(pooled)
        return nn.functional.normalize(pooled, dim=1) if self.normalise else pooled

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.embed(*self.hidden(input_ids, attention_mask))


class StagedText(nn.Module):
    """``(input_ids, attention_mask)`` to a tuple of pooled ``[n, d]`` tensors, one a stage, the embedding last."""

    def __init__(self, net: Any, cuts: tuple[Cut, ...], poolings: tuple[Pooling, ...]) -> None:
        super().__init__()
        self.net, self.cuts, self.poolings = net, cuts, poolings
        self._kept: dict[str, Tensor] = {}
        for cut in cuts:
            # A partial, not a closure: a deep copy of this module then keeps its own features
            net.get_submodule(cut.module).register_forward_hook(partial(_keep, self._kept, cut))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        self._kept.clear()
        hidden, mask = self.net.hidden(input_ids, attention_mask)
        features = (
            *(pool(self._kept[cut.module], mask, "mean") for cut in self.cuts),
            *(pool(hidden, mask, how) for how in self.poolings),
            self.net.embed(hidden, mask),
        )
        self._kept.clear()
        return features


def pool(hidden: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """``[n, L, d]`` to ``[n, d]`` over the positions that ``mask`` ``[n, L]`` has; zeros for a text of none.

    >>> pool(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]), "mean")
    tensor([[2.]])
    """
    weights = mask.to(hidden.dtype)
    if how == "max":
        lowest = torch.finfo(hidden.dtype).min
        highest = torch.where(mask[..., None] > 0, hidden, torch.full_like(hidden, lowest)).amax(1)
        return highest * weights.amax(1, keepdim=True)
    if how == "cls":
        return hidden[:, 0] * weights[:, :1]
    if how == "last":  # the only position whose right neighbour is none
        weights = weights - torch.cat([weights[:, 1:], torch.zeros_like(weights[:, :1])], 1)
        return (hidden * weights[..., None]).sum(1)
    if how == "weighted":
        weights = weights * weights.cumsum(1)
    total = (hidden * weights[..., None]).sum(1)
    count = weights.sum(1, keepdim=True).clamp(min=1.0)
    return total / (count.sqrt() if how == "sqrt" else count)


# --- building -----------------------------------------------------------------------------------


def build(frame: Frame, *, device: str = "cpu") -> nn.Module:
    """The architecture in eval mode with its own random initialisation; on ``"meta"`` shapes only, at no cost."""
    assert frame.text is not None
    if frame.library == "headway":
        from headway.backbones import _lookup

        with torch.device(device):
            return _lookup.MODULES[frame.arch](frame.text).eval()
    with torch.device(device):
        config = configured(frame.text)
        kind = model_class(config)
        model = kind(config, **without_pooler(kind))  # attention as configured, not as the installation prefers
        if device != "meta":
            model.init_weights()
        return wrapped(model, config, frame.text)


def filled(frame: Frame, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The architecture with these weights: of our own types where it says so, of float32 elsewhere."""
    assert frame.text is not None
    if frame.library == "headway":
        net = build(frame, device="meta")
        net.load_state_dict(dict(tensors), assign=True)
        return net
    with quiet():
        config = configured(frame.text)
        kind = model_class(config)
        state = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        model = kind.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32, **without_pooler(kind))
    return wrapped(model, config, frame.text)


def configured(text: TextFrame) -> Any:
    """transformers' configuration of a network. Nothing in it names code to be run."""
    prepare()
    from transformers import CONFIG_MAPPING

    facts = json.loads(text.config)
    config = CONFIG_MAPPING[facts["model_type"]].from_dict(facts)
    if hasattr(config, "use_cache"):
        config.use_cache = False  # nothing is generated
    config._attn_implementation = "sdpa"
    return config


def model_class(config: Any) -> Any:
    """The class of transformers' headless model of a configuration."""
    from transformers import MODEL_MAPPING

    found = MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, list | tuple) else found


def cuts_of(net: nn.Module, width: int) -> tuple[Cut, ...]:
    """The layers after each quarter of the depth but the last. None where layers share their weights."""
    lists = [(name, part) for name, part in net.named_modules() if isinstance(part, nn.ModuleList)]
    deep = [(name, len(part)) for name, part in lists if len(part) >= 2 and not name.startswith("dense")]
    if not deep:
        return ()
    name, depth = max(deep, key=lambda found: found[1])
    after = sorted({max(1, depth * k // QUARTERS) for k in range(1, QUARTERS)})
    return tuple(Cut(f"{name}.{k - 1}", width, "nlc") for k in after)


def without_pooler(kind: Any) -> dict[str, bool]:
    """A pooler was trained for another task and is no part of any stage."""
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}


def wrapped(model: Any, config: Any, text: TextFrame) -> Encoder:
    """A transformers model with what pools it, in eval mode; of an encoder-decoder the encoder."""
    reader = model.get_encoder() if getattr(config, "is_encoder_decoder", False) else model
    return Encoder(reader, text).eval()


def _dense(layer: Dense) -> nn.Module:
    activation: nn.Module = getattr(nn, layer.activation)()
    return nn.Sequential(nn.Linear(layer.inputs, layer.outputs, bias=layer.bias), activation)


def _keep(kept: dict[str, Tensor], cut: Cut, _module: nn.Module, _args: Any, output: Any) -> None:
    parts = output if isinstance(output, tuple | list) else (output,)
    kept[cut.module] = next(t for t in parts if isinstance(t, Tensor) and t.ndim == 3 and t.shape[-1] == cut.width)
