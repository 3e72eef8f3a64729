"""The torch side of a backbone: build an architecture, find its cuts, hand out every stage's features in one pass.

Imported only by functions that need a network, because it imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.backbones._network import Cut, Frame
from headway.backbones._torchvision import prepare

_ISOTROPIC_CUTS = 4  # of a network with one resolution throughout, at every quarter of its depth


class Staged(nn.Module):
    """``[n, 3, h, w]`` to a tuple of pooled ``[n, d]`` tensors, one a cut, the embedding last.

    Features are pooled inside the hook, before the network's next in-place operation can change them.
    """

    def __init__(self, net: nn.Module, cuts: tuple[Cut, ...], *, trunk: bool) -> None:
        super().__init__()
        self.net, self.cuts, self.trunk = net, cuts, trunk
        self._kept: dict[str, Tensor] = {}
        for cut in cuts:
            # A partial, not a closure: a deep copy of this module then keeps its own features
            net.get_submodule(cut.module).register_forward_hook(partial(_keep, self._kept, cut))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self._kept.clear()
        embedding = embed(self.net, x, trunk=self.trunk)
        features = (*(self._kept[cut.module] for cut in self.cuts), embedding)
        self._kept.clear()
        return features


def build(frame: Frame, *, device: str = "cpu", head: bool = False) -> nn.Module:
    """The architecture in eval mode with its own random initialisation; on ``"meta"`` shapes only, at no cost."""
    if frame.text is not None:
        from headway.backbones import _text

        return _text.build(frame, device=device)
    prepare()
    with torch.device(device):
        if frame.library == "torchvision":
            from torchvision.models import get_model

            net: nn.Module = get_model(frame.arch, weights=None)
        else:
            import timm

            classes = 1000 if head else 0
            net = timm.create_model(frame.arch, pretrained=False, num_classes=classes, **dict(frame.options))
    if frame.trunk and not head:
        for name, _ in list(net.named_children()):
            if name != "features":
                delattr(net, name)
    return net.eval()


def embed(net: Any, x: Tensor, *, trunk: bool) -> Tensor:
    """The network's own pooled output before its classifier; of a trunk, the mean over positions."""
    if trunk:
        pooled: Tensor = net.features(x).mean((2, 3))
        return pooled
    output: Tensor = net.forward_head(net.forward_features(x), pre_logits=True)
    return output


def probe(frame: Frame, *, height: int, width: int) -> tuple[tuple[Cut, ...], int, int]:
    """``(cuts, embedding columns, parameters)`` of an architecture, from a forward pass that computes shapes only.

    Cuts are the modules in timm's ``feature_info``; where it names none that is called with a plain output, the
    modules (up to two levels deep) after which the resolution drops. One cut a resolution, the last; where all have
    the same resolution, one at each quarter of the depth. The last cut goes when the embedding is its pooled output.
    """
    net = build(frame, device="meta")
    info = {  # channels and positions
        item["module"]: (item["num_chs"], (height // item["reduction"]) * (width // item["reduction"]))
        for item in _feature_info(net)
    }
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, module in net.named_modules():
        if name and (name in info or name.count(".") < 2):
            module.register_forward_hook(partial(_note, shapes, name))
    with torch.no_grad(), torch.device("meta"):
        dim = embed(net, torch.zeros(2, 3, height, width), trunk=frame.trunk).shape[1]
    named = {name: shapes[name] for name in shapes if name in info}
    prefix = getattr(net, "num_prefix_tokens", None) or 0
    found = list(_readable(named, info, prefix)) or list(_readable(_maps(shapes), {}, prefix))
    cuts = _one_a_resolution(found)
    if cuts and cuts[-1].width == dim and not cuts[-1].skip:
        cuts = cuts[:-1]
    return cuts, dim, sum(p.numel() for p in net.parameters())


def _feature_info(net: Any) -> list[dict[str, Any]]:
    info = getattr(net, "feature_info", None) or []
    return [item for item in getattr(info, "info", info) if item.get("module")]


def _keep(kept: dict[str, Tensor], cut: Cut, _module: nn.Module, _args: Any, output: Any) -> None:
    tensor = next(t for t in _tensors(output) if t.shape[1 if cut.layout == "nchw" else -1] == cut.width)
    axes = {"nchw": (2, 3), "nhwc": (1, 2), "nlc": (1,)}[cut.layout]
    kept[cut.module] = (tensor[:, cut.skip :] if cut.skip else tensor).mean(axes)


def _note(shapes: dict[str, list[tuple[int, ...]]], name: str, _module: nn.Module, _args: Any, output: Any) -> None:
    shapes.pop(name, None)  # in the order of the last call
    shapes[name] = [tuple(t.shape) for t in _tensors(output)]


def _tensors(output: Any) -> list[Tensor]:
    return [t for t in (output if isinstance(output, tuple | list) else (output,)) if isinstance(t, Tensor)]


def _maps(shapes: dict[str, list[tuple[int, ...]]]) -> dict[str, list[tuple[int, ...]]]:
    return {name: found for name, found in shapes.items() if len(found) == 1 and len(found[0]) == 4}


def _readable(
    shapes: dict[str, list[tuple[int, ...]]], info: dict[str, tuple[int, int]], prefix: int
) -> Iterator[tuple[int, Cut]]:
    """``(positions, cut)`` of each module with an output of a layout that can be pooled."""
    for name, found in shapes.items():
        for shape in found:
            channels, grid = info.get(name, (shape[1], 0))
            if len(shape) == 4 and shape[1] == channels:
                yield shape[2] * shape[3], Cut(name, channels, "nchw")
            elif len(shape) == 4 and shape[3] == channels:
                yield shape[1] * shape[2], Cut(name, channels, "nhwc")
            elif len(shape) == 3 and shape[2] == channels:
                skip = prefix if shape[1] == grid + prefix else 0  # some blocks see the map without them
                yield shape[1] - skip, Cut(name, channels, "nlc", skip)
            else:
                continue
            break


def _one_a_resolution(found: list[tuple[int, Cut]]) -> tuple[Cut, ...]:
    last = dict(found)
    if len(last) == 1 and len(found) > _ISOTROPIC_CUTS:
        return tuple(found[len(found) * k // _ISOTROPIC_CUTS - 1][1] for k in range(1, _ISOTROPIC_CUTS + 1))
    return tuple(sorted(last.values(), key=[cut for _, cut in found].index))
