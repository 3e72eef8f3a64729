"""From the files that packages ship to tensors under timm's and torchvision's names.

Each function takes the file and the shapes the architecture expects, in its own order. What does not fit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.backbones.packaged import _pickled
from headway.errors import WeightsRefused

Arrays = dict[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]

_VGG16_CONVOLUTIONS = dict(  # block and number within it: position among timm's vgg16.features
    zip(
        [(block, i) for block, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)],
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        strict=True,
    )
)
_SQUEEZENET_FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}  # position among torchvision's features
_DINOV2_PARTS = {
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}


def in_order(path: Path, shapes: Shapes) -> Arrays:
    """A torch state dict of the same layers under other names: paired in order, every shape compared."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    if len(state) != len(shapes):
        raise WeightsRefused(f"{path.name} holds {len(state)} tensors", allowed=f"{len(shapes)}")
    return {name: tensor.numpy() for name, tensor in zip(shapes, state.values(), strict=True)}


def squeezenet(path: Path, _shapes: Shapes) -> Arrays:
    """Pickled Keras kernels ``[h, w, in, out]`` and biases, by Caffe layer."""
    arrays: Arrays = {}
    for name, (kernel, bias) in _pickled.read(path).items():
        target = {"conv1": "features.0", "conv10": "classifier.1"}.get(name) or _fire(name)
        arrays[f"{target}.weight"], arrays[f"{target}.bias"] = _to_torch(kernel), bias
    return arrays


def vgg16_onnx(path: Path, _shapes: Shapes) -> Arrays:
    """The convolutions of a Keras VGG16 in ONNX; the dense layers of its own task stay behind."""
    arrays: Arrays = {}
    for name, array in onnx_initialisers(path)[0].items():
        found = re.search(r"/block(\d)_conv(\d)_1/(convolution|Squeeze)", name)
        if found:
            target = _VGG16_CONVOLUTIONS[int(found[1]), int(found[2])]
            arrays[f"features.{target}.{'weight' if found[3] == 'convolution' else 'bias'}"] = array
    return arrays


def vgg16_keras(path: Path, _shapes: Shapes) -> Arrays:
    """The convolutions of a VGG16 in Keras' HDF5 layout: ``block1/layers/conv2d_1/vars/0``."""
    import h5py

    arrays: Arrays = {}
    with h5py.File(path, "r") as file:
        for (block, i), target in _VGG16_CONVOLUTIONS.items():
            layer = file[f"block{block}/layers/conv2d{f'_{i - 1}' if i > 1 else ''}/vars"]
            arrays[f"features.{target}.weight"] = _to_torch(layer["0"][...])
            arrays[f"features.{target}.bias"] = layer["1"][...]
    return arrays


def dinov2_onnx(path: Path, shapes: Shapes) -> Arrays:
    """A Hugging Face DINOv2 exported to ONNX, its position embedding resampled as its graph does for its input."""
    initial, nodes = onnx_initialisers(path)
    named = {name.removeprefix("backbone."): array for name, array in initial.items() if name.startswith("backbone.")}
    for node, weight in nodes.items():  # the exporter transposed these weights and dropped their names
        if weight in initial and weight.startswith("onnx::MatMul") and node.startswith("/backbone/"):
            layer = node.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            named[f"{layer}.weight"] = np.ascontiguousarray(initial[weight].T)
    arrays: Arrays = {
        "cls_token": named["embeddings.cls_token"],
        "patch_embed.proj.weight": named["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": named["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": named["layernorm.weight"],
        "norm.bias": named["layernorm.bias"],
    }
    side = round((shapes["pos_embed"][1] - 1) ** 0.5)
    positions = _resample(initial["onnx::Reshape_1962"], side)
    arrays["pos_embed"] = np.concatenate([initial["onnx::Concat_1957"], positions], axis=1)
    for name, array in named.items():
        found = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
        if found and ".attention.attention." not in name:
            arrays[f"blocks.{found[1]}.{_dinov2_part(found[2])}"] = array
    for i in range(sum(name.endswith("query.bias") for name in named)):
        for kind in ("weight", "bias"):
            parts = [named[f"encoder.layer.{i}.attention.attention.{p}.{kind}"] for p in ("query", "key", "value")]
            arrays[f"blocks.{i}.attn.qkv.{kind}"] = np.concatenate(parts)
    return arrays


def checked(arrays: Arrays, shapes: Shapes, *, source: str) -> Arrays:
    """The arrays in the architecture's order; :class:`WeightsRefused` names the first tensor that does not fit."""
    for name in sorted(shapes.keys() | arrays.keys()):
        given = tuple(arrays[name].shape) if name in arrays else "no such tensor"
        allowed = shapes.get(name, "no such tensor")
        if given != allowed:
            raise WeightsRefused(f"{source}: the tensor {name} does not fit", given=given, allowed=allowed)
    return {name: np.ascontiguousarray(arrays[name]) for name in shapes}


def _dinov2_part(part: str) -> str:
    for theirs, ours in _DINOV2_PARTS.items():
        part = part.replace(theirs, ours)
    return part


def _fire(name: str) -> str:
    found = re.fullmatch(r"fire(\d)/(squeeze1x1|expand1x1|expand3x3)", name)
    if found is None:
        raise WeightsRefused(f"there is no layer {name!r} in SqueezeNet 1.1")
    return f"features.{_SQUEEZENET_FIRES[int(found[1])]}.{found[2].replace('squeeze1x1', 'squeeze')}"


def _to_torch(kernel: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def onnx_initialisers(path: Path) -> tuple[Arrays, dict[str, str]]:
    """``(initialisers by name, second input by node name)``."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    initial = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return initial, {node.name: node.input[1] for node in graph.node if len(node.input) > 1}


def _resample(positions: NDArray[Any], side: int) -> NDArray[np.float32]:
    """``[1, s*s, d]`` to ``[1, side*side, d]``: cubic, a = -0.75, half-pixel centres, the borders repeated.

    Four products summed in a fixed order in float64, so that every machine gets the same float32 result.
    """
    old = round(positions.shape[1] ** 0.5)
    grid = positions.astype(np.float64).reshape(old, old, -1)
    centre = (np.arange(side) + 0.5) * old / side - 0.5
    base = np.floor(centre).astype(int)
    taps = [(np.clip(base + k, 0, old - 1), _cubic(centre - (base + k))) for k in (-1, 0, 1, 2)]
    rows = sum(weight[:, None, None] * grid[index] for index, weight in taps)
    both = sum(weight[None, :, None] * rows[:, index] for index, weight in taps)
    return np.asarray(both, dtype=np.float32).reshape(1, side * side, -1)


def _cubic(distance: NDArray[np.float64], a: float = -0.75) -> NDArray[np.float64]:
    """Keys (1981), equation 4, with the free constant ``a``."""
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    result: NDArray[np.float64] = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return result
