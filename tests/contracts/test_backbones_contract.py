"""What every source of backbones and every backbone must do. Sources are found by listing."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from headway import backbones, plugins
from headway.backbones import packaged
from headway.errors import ModelError
from headway.types import BackboneSpec, TextInput

SOURCES = plugins.names("backbones")
PACKAGED = [spec.name for spec in packaged.candidates("image", offline=True)]
PACKAGED_TEXT = [spec.name for spec in packaged.candidates("text", offline=True)]
BY_NAME = ("packaged", "random", "timm")  # sources that list networks on any machine
# One small network a family, its input as small as the architecture takes it: no weights are needed
TIMM = [
    "test_byobnet",
    "test_convnext",
    "test_efficientnet",
    "test_mambaout",
    "test_nfnet",
    "test_resnet",
    "test_vit",
    "test_vit2",
]
FAMOUS = [
    "vgg11",
    "vgg16_bn",
    "resnet50",
    "inception_v3",
    "inception_v4",
    "mobilenetv1_100",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "levit_128",
]


def test_sources_are_the_ones_we_know() -> None:
    assert SOURCES == ("packaged", "random", "sentence_transformers", "timm", "transformers", "vectors")
    assert len(PACKAGED) == 8
    assert len(PACKAGED_TEXT) == 6


@pytest.mark.parametrize("source", SOURCES)
def test_candidates_are_specs_of_that_source(source: str) -> None:
    listed = plugins.load("backbones", source).candidates("image", offline=True)
    assert len(listed) >= 8 if source in BY_NAME else not listed
    assert len({spec.id for spec in listed}) == len(listed)
    for spec in listed:
        assert isinstance(spec, BackboneSpec)
        assert (spec.source, spec.modality) == (source, "image")
        assert min(spec.input.std) > 0
        assert spec.input.height >= 32
        assert spec.input.width >= 32
        assert spec.licence
    assert plugins.load("backbones", source).candidates("smell", offline=True) == ()


@pytest.mark.parametrize("source", SOURCES)
def test_candidates_for_text_are_specs_of_that_source(source: str) -> None:
    listed = plugins.load("backbones", source).candidates("text", offline=True)
    assert len(listed) >= 6 or source not in ("packaged", "random")
    assert len({spec.id for spec in listed}) == len(listed)
    for spec in listed:
        assert (spec.source, spec.modality) == (source, "text")
        assert isinstance(spec.input, TextInput)
        assert spec.input.tokens >= 8
        assert spec.licence


@pytest.mark.parametrize("source", BY_NAME)
def test_an_unknown_name_is_a_model_error_with_the_closest_names(source: str) -> None:
    known = plugins.load("backbones", source).candidates("image", offline=True)[0]
    with pytest.raises(ModelError, match="Did you mean"):
        backbones.open(f"{source}:{known.arch}x.{known.weights}", offline=True)


# "botnet50ts_256" and "test_mambaout": timm has the architecture and no weights of it
@pytest.mark.parametrize(
    "name",
    [
        *PACKAGED,
        *PACKAGED_TEXT,
        *(f"random:{name.partition(':')[2]}@5" for name in (*PACKAGED, *PACKAGED_TEXT)),
        *(f"random:{arch}@7" for arch in (*TIMM, "resnet18.a1_in1k", "resnet18", "botnet50ts_256")),
        *("timm:test_resnet", "timm:test_resnet.r160_in1k", "timm:test_mambaout"),
    ],
)
def test_a_backbone_opens_again_by_the_id_of_its_spec(name: str, tmp_path: Path) -> None:
    if name.startswith("timm:"):
        name += f"@{_weights_of(name, tmp_path / 'a file@home.safetensors')}"
    first = backbones.open(name, offline=False)
    again = backbones.open(first.spec.id, offline=False)
    assert again.weights_key == first.weights_key
    assert again.spec == first.spec
    if name.startswith("timm:"):
        assert again.state().keys() == first.state().keys()


def _weights_of(name: str, path: Path) -> Path:
    from safetensors.numpy import save_file

    save_file(dict(backbones.open(name.replace("timm:", "random:"), offline=True).state()), path)
    return path


def test_listing_choosing_and_opening_packaged_networks_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys\n"
        "from headway import backbones\n"
        "listed = [backbones.listed('packaged', modality=m) for m in ('image', 'text')]\n"
        "for spec in (spec for specs in listed for spec in specs):\n"
        "    b = backbones.open(spec, offline=False)\n"
        "    assert len(b.weights_key) == 64 and b.stages[-1] == 'embedding' and b.dims[-1] == spec.dim\n"
        "heavy = {'torch', 'timm', 'torchvision', 'transformers', 'tokenizers', 'onnx', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- every packaged network: needs its package -----------------------------------------------------


@pytest.fixture(scope="module", params=PACKAGED)
def opened(request: pytest.FixtureRequest):
    import torch

    backbone = backbones.open(request.param, offline=False)
    images = torch.randn(3, 3, backbone.spec.input.height, backbone.spec.input.width, generator=torch.manual_seed(0))
    module = backbone.module()
    with torch.no_grad():
        return backbone, module, images, module(images)


@pytest.mark.samples
def test_packaged_network_is_what_its_record_says(opened) -> None:
    from headway.backbones._staged import probe

    backbone, module, _, features = opened
    spec = backbone.spec
    assert re.fullmatch("[0-9a-f]{64}", backbone.weights_key)
    assert not module.training
    assert [tuple(f.shape) for f in features] == [(3, width) for width in backbone.dims]
    assert len(backbone.stages) == len(backbone.dims) == len(features)
    assert probe(backbone.frame, height=spec.input.height, width=spec.input.width) == (
        backbone.cuts,
        spec.dim,
        spec.params,
    )


@pytest.mark.samples
def test_packaged_network_gives_each_image_the_same_features_in_any_batch(opened) -> None:
    import torch

    _, module, images, features = opened
    with torch.no_grad():
        alone = module(images[1:2])
    for batch, single in zip(features, alone, strict=True):
        assert batch.std() > 0
        torch.testing.assert_close(batch[1:2], single, rtol=1e-3, atol=1e-4 * float(batch.abs().max()))


@pytest.mark.samples
def test_packaged_state_is_the_modules(opened) -> None:
    backbone, module, _, _ = opened
    state = backbone.state()
    assert set(state) == set(module.net.state_dict())
    assert all(np.array_equal(state[name], tensor.numpy()) for name, tensor in module.net.state_dict().items())


@pytest.mark.samples
def test_packaged_network_converts_to_openvino_and_agrees(opened) -> None:
    _, module, images, features = opened
    _agrees_in_openvino(module, images, features)


@pytest.mark.samples
def test_packaged_networks_sibling_has_the_same_geometry_and_other_features(opened) -> None:
    import torch

    backbone, _, images, features = opened
    sibling = backbones.sibling(backbone, seed=1)
    assert (sibling.stages, sibling.dims, sibling.spec.input) == (backbone.stages, backbone.dims, backbone.spec.input)
    assert sibling.weights_key != backbone.weights_key
    assert backbones.open(sibling.spec, offline=True).weights_key == sibling.weights_key
    with torch.no_grad():
        drawn = sibling.module()(images[:2])
    assert [f.shape[1] for f in drawn] == list(backbone.dims)
    assert not torch.allclose(drawn[-1], features[-1][:2], rtol=0.1)


# --- timm's architectures: nothing to fetch ---------------------------------------------------------


@pytest.mark.parametrize("arch", TIMM)
def test_timm_network_hands_out_every_stage_and_converts(arch: str) -> None:
    import torch

    backbone = backbones.open(f"random:{arch}", offline=True)
    module = backbone.module()
    images = torch.randn(2, 3, backbone.spec.input.height, backbone.spec.input.width, generator=torch.manual_seed(0))
    with torch.no_grad():
        features = module(images)
        plain = module.net.forward_head(module.net.forward_features(images), pre_logits=True)
    assert [tuple(f.shape) for f in features] == [(2, width) for width in backbone.dims]
    assert len(features) >= 3
    assert torch.equal(features[-1], plain)
    _agrees_in_openvino(module, images, features)


@pytest.mark.parametrize("arch", FAMOUS)
def test_famous_timm_architecture_has_cuts(arch: str) -> None:
    backbone = backbones.open(f"random:{arch}", offline=True)
    assert len(backbone.stages) >= 3
    assert min(backbone.dims) > 0
    assert backbone.spec.params > 500_000
    assert len(set(backbone.stages)) == len(backbone.stages)


@pytest.mark.slow
def test_every_family_of_timm_can_be_probed() -> None:
    from headway.backbones._torchvision import prepare

    prepare()
    import timm

    first = {timm.models.model_entrypoint(arch).__module__: arch for arch in reversed(timm.list_models())}
    assert len(first) >= 80
    cuts = [len(plugins.load("backbones", "timm").architecture(arch).cuts) for arch in first.values()]
    assert sum(n >= 1 for n in cuts) >= 0.95 * len(cuts)


def _agrees_in_openvino(module, images, features) -> None:
    """Float32 in OpenVINO and in torch, to 1e-4 of the largest value of each stage."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's tracer remarks on Python numbers in a network that is static
        model = openvino.convert_model(module, example_input=images)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(images.numpy())
    assert len(found) == len(features)
    for i, eager in enumerate(features):
        assert found[i].shape == tuple(eager.shape)
        assert np.abs(found[i] - eager.numpy()).max() <= 1e-4 * float(eager.abs().max())
