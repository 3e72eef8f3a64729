"""timm's networks: names, files, the hub, and what is refused. Nothing here reaches the network."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from pathlib import Path

import pytest

from headway import backbones
from headway.backbones import timm as source
from headway.backbones._torchvision import prepare
from headway.errors import ModelError, WeightsMissing, WeightsRefused
from headway.fetch import hub


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def trained():
    """A small ResNet of 7 classes with weights of its own, as a user's fine-tuned model would be."""
    import torch

    prepare()
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = timm.create_model("test_resnet", num_classes=7).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
    return net


def _save(net, path: Path, **changed) -> Path:
    import torch
    from safetensors.torch import save_file

    tensors = {**net.state_dict(), **changed}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("arch", ["test_resnet", "test_resnet.r160_in1k"])
def test_a_local_files_features_are_its_networks(trained, tmp_path: Path, name: str, arch: str) -> None:
    import torch

    path = _save(trained, tmp_path / name)
    backbone = backbones.open(f"timm:{arch}@{path}", offline=True)
    x = torch.randn(2, 3, 160, 160, generator=torch.manual_seed(0))
    with torch.no_grad():
        expected = trained.forward_head(trained.forward_features(x), pre_logits=True)
        stage = trained.layer1(trained.maxpool(trained.act1(trained.bn1(trained.conv1(x)))))
        features = backbone.module()(x)
    assert torch.equal(features[-1], expected)
    assert torch.equal(features[backbone.stages.index("layer1")], stage.mean((2, 3)))
    assert backbone.weights_key == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not any(name.startswith("fc.") for name in backbone.state())
    assert backbone.spec.params == sum(p.numel() for n, p in trained.named_parameters() if not n.startswith("fc."))
    assert backbones.open(backbone.spec, offline=True).weights_key == backbone.weights_key


def test_a_local_file_without_a_head_or_in_a_wrapper_is_read(trained, tmp_path: Path) -> None:
    import torch

    x = torch.randn(1, 3, 160, 160, generator=torch.manual_seed(0))
    headless = _save(trained, tmp_path / "w.safetensors", **{"fc.weight": None, "fc.bias": None})
    wrapped = tmp_path / "w.pth"
    torch.save({"state_dict": trained.state_dict(), "epoch": 3}, wrapped)
    with torch.no_grad():
        expected = trained.forward_head(trained.forward_features(x), pre_logits=True)
        for path in (headless, wrapped):
            assert torch.equal(backbones.open(f"timm:test_resnet@{path}", offline=True).module()(x)[-1], expected)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_tensors_that_do_not_fit_are_refused_by_name(trained, tmp_path: Path, name: str) -> None:
    import torch

    for changed, match in [
        ({"layer2.0.conv1.weight": torch.zeros(4, 4, 3, 3)}, r"layer2\.0\.conv1\.weight"),
        ({"layer2.0.conv1.weight": None}, r"layer2\.0\.conv1\.weight"),
        ({"layer9.weight": torch.zeros(2)}, r"layer9\.weight"),
        ({"bn1.weight": torch.full_like(trained.bn1.weight, torch.nan)}, r"bn1\.weight.*finite"),
    ]:
        path = _save(trained, tmp_path / name, **changed)
        with pytest.raises(WeightsRefused, match=match):
            backbones.open(f"timm:test_resnet@{path}", offline=True).module()


def test_another_architectures_file_is_refused(trained, tmp_path: Path) -> None:
    path = _save(trained, tmp_path / "w.safetensors")
    with pytest.raises(WeightsRefused, match="does not fit timm's test_vit"):
        backbones.open(f"timm:test_vit@{path}", offline=True).module()


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["pickle", "torch", "torch legacy", "renamed"])
def test_a_malicious_pickle_as_weights_is_refused_and_never_executed(trained, tmp_path: Path, form: str) -> None:
    import torch

    proof = tmp_path / "executed"
    content = {**trained.state_dict(), "conv1.weight": _Payload(proof)}
    path = tmp_path / ("w.safetensors" if form == "renamed" else "w.pth")
    if form in ("pickle", "renamed"):
        path.write_bytes(pickle.dumps({"conv1.weight": _Payload(proof)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(WeightsRefused, match="any program"):
        backbones.open(f"timm:test_resnet@{path}", offline=True).module()
    assert not proof.exists()


def test_a_file_of_other_things_than_tensors_is_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": [1.0, 2.0]}, path)
    with pytest.raises(WeightsRefused, match="other things than tensors"):
        source.read_tensors(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="nothing here"):
        backbones.open(f"timm:resnet18@{tmp_path}/nothing here.safetensors", offline=True)


# --- the hub ------------------------------------------------------------------------------------


def _cached(monkeypatch: pytest.MonkeyPatch, path: Path | None) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_args: str(path) if path else None)


def test_offline_names_the_missing_file_and_touches_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    _cached(monkeypatch, None)
    with pytest.raises(WeightsMissing, match=r"model\.safetensors of huggingface\.co/timm/resnet50\.a1_in1k"):
        backbones.open("timm:resnet50.a1_in1k", offline=True)


def test_the_hubs_cache_is_used_offline_and_a_revision_is_held_to(trained, tmp_path: Path, monkeypatch) -> None:
    path = _save(trained, tmp_path / "model.safetensors")
    _cached(monkeypatch, path)
    backbone = backbones.open("timm:test_resnet.r160_in1k", offline=True)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (backbone.weights_key, backbone.spec.revision) == (checksum, checksum[:12])
    assert backbones.open(backbone.spec, offline=True).weights_key == checksum
    with pytest.raises(WeightsRefused, match="others now"):
        backbones.open("timm:test_resnet.r160_in1k@0123456789ab", offline=True)


def test_online_the_hub_is_asked_for_safetensors_then_for_the_older_form(trained, tmp_path: Path, monkeypatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        if file == "model.safetensors":
            raise EntryNotFoundError("404")
        return str(_save(trained, tmp_path / "w.bin"))

    _cached(monkeypatch, None)
    monkeypatch.setattr(hub, "trouble", lambda: "")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert backbones.open("timm:test_resnet.r160_in1k", offline=False).module()
    assert asked == [("timm/test_resnet.r160_in1k", name) for name in ("model.safetensors", "pytorch_model.bin")]


@pytest.mark.parametrize("error", ["LocalEntryNotFoundError", "OSError"])
def test_a_hub_out_of_reach_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def download(repository: str, file: str) -> str:
        raise getattr(errors, error, OSError)("no route\nand more")

    _cached(monkeypatch, None)
    monkeypatch.setattr(hub, "trouble", lambda: "")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelError, match=r"did not deliver .*no route\. Check the network, or name a file"):
        backbones.open("timm:resnet18.a1_in1k", offline=False)


def test_a_hub_that_cannot_be_reached_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(*_args: object) -> str:
        raise AssertionError("its client would retry for half a minute")

    _cached(monkeypatch, None)
    monkeypatch.setattr(hub, "trouble", lambda: "no route")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelError, match=r"did not deliver .*no route\. Check the network, or name a file"):
        backbones.open("timm:resnet18.a1_in1k", offline=False)


# --- names --------------------------------------------------------------------------------------


def test_unknown_architectures_and_weights_are_met_with_the_closest() -> None:
    with pytest.raises(ModelError, match="Did you mean resnet50"):
        source.load("resnet05", offline=True)
    with pytest.raises(ModelError, match="a1_in1k"):
        source.load("resnet50.a1_in2k", offline=True)


def test_specs_carry_timms_own_configuration() -> None:
    spec = source.describe("inception_v3.tf_in1k")
    assert (spec.dim, spec.input.height, spec.input.width) == (2048, 299, 299)
    assert spec.input.mean == spec.input.std == (127.5, 127.5, 127.5)
    assert source.describe("resnet18").weights == "a1_in1k"
    listed = {spec.name: spec for spec in source.candidates("image", offline=True)}
    assert len(listed) > 1500
    assert listed["timm:resnet18.a1_in1k"].licence == "apache-2.0"
