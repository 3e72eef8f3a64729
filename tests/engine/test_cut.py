"""A network cut in two: whatever the architecture, the parts give what the whole gives, and the frozen one stays."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn

from headway import backbones
from headway.backbones._staged import embed
from headway.backbones._torchvision import prepare as prepare_torchvision
from headway.engine import cut
from headway.engine.ir import normalise, probe_images
from headway.errors import ModelError

PACKAGED = {
    "efficientnet_lite0.in1k": ("blocks.0", "blocks.4", "blocks.6"),
    "efficientnet_lite1.in1k": ("blocks.3",),
    "efficientnet_lite2.in1k": ("blocks.5",),
    "mobilenetv2_100.in1k": ("blocks.2",),
    "squeezenet1_1.in1k": ("features.3", "features.8"),
    "vit_small_patch14_dinov2.focus": ("blocks.5",),
    "vgg16.brain-mri": ("features.9",),
    "vgg16.edges": ("features.23",),
}
TIMM = {  # (side, places)
    "resnet18": (64, ("maxpool", "layer2.0", "layer4.0")),
    "vgg11": (64, ("features.10",)),
    "mobilenetv3_small_050": (64, ("blocks.0", "blocks.3", "blocks.5")),
    "convnext_atto": (64, ("stem", "stages.1", "stages.2.blocks.1")),
    "vit_tiny_patch16_224": (224, ("patch_embed", "blocks.3")),
    "swin_tiny_patch4_window7_224": (224, ("layers.2.blocks.3",)),
    "regnetx_002": (64, ("s1", "s3")),
    "densenet121": (64, ("features.denseblock1", "features.transition2")),
    "efficientnet_b0": (64, ("blocks.2", "blocks.5")),
    "inception_v3": (96, ("Mixed_6e",)),
    "eva02_tiny_patch14_224": (224, ("blocks.3",)),
    "test_nfnet": (64, ("stages.1",)),
    "test_mambaout": (64, ("stages.1",)),
}


def _embed(net, inputs):
    return embed(net, inputs["x"], trunk=False)


def _timm(arch):
    prepare_torchvision()
    import timm

    torch.manual_seed(0)
    return timm.create_model(arch, num_classes=0).eval()


def _close(found, expected, share=1e-4):
    torch.testing.assert_close(found, expected, rtol=0, atol=share * float(expected.detach().abs().max()))


def _parameters(model, names):
    return sorted(f"{name}.{inner}" for name in names for inner, _ in model.get_submodule(name).named_parameters())


@functools.cache
def _packaged(name):
    return backbones.open(f"packaged:{name}", offline=False)


# --- the parts are the whole ---------------------------------------------------------------------


@pytest.mark.samples
@pytest.mark.parametrize("name", PACKAGED)
def test_prefix_and_suffix_of_a_packaged_network_are_the_whole(name):
    backbone = _packaged(name)
    x = torch.from_numpy(normalise(probe_images(backbone.spec.input)[:2], backbone.spec.input))
    with torch.no_grad():
        expected = backbone.module()(x)[-1]
        for at in PACKAGED[name]:
            (activation,) = cut.prefix(backbone, at).module()(x)
            _close(cut.tunable(backbone, at, classes=2).body(activation), expected)


def test_every_packaged_network_is_cut_here():
    from headway.backbones import packaged

    listed = packaged.candidates("image", offline=True)
    assert set(PACKAGED) == {spec.name.partition(":")[2] for spec in listed}


@pytest.mark.parametrize("arch", TIMM)
def test_prefix_and_suffix_of_timms_networks_are_the_whole(arch):
    side, places = TIMM[arch]
    net = _timm(arch)
    example, x = torch.randn(2, 3, side, side), torch.randn(5, 3, side, side)
    with torch.no_grad():
        expected = _embed(net, {"x": x})
        for at in places:
            below, above, blocks = cut.split(net, at, run=_embed, example={"x": example})
            (activation,) = below(x)
            before = activation.clone()
            _close(above(activation), expected)
            assert torch.equal(activation, before)  # nothing above writes into a cached activation
            assert _parameters(above, blocks) == sorted(name for name, _ in above.named_parameters())


def _transformers(kind):
    prepare_torchvision()
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(vocab_size=50, **small)).eval()
    if kind == "modernbert":
        config = transformers.ModernBertConfig(
            vocab_size=50, attn_implementation="eager", pad_token_id=0, bos_token_id=1, eos_token_id=2,
            cls_token_id=1, sep_token_id=2, **small,
        )  # fmt: skip
        return transformers.ModernBertModel(config).eval()
    return transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **small)).eval()


def _words(n):
    ids = torch.randint(3, 50, (n, 9))
    mask = (torch.arange(9) < torch.randint(3, 10, (n, 1))).long()
    return {"input_ids": ids, "attention_mask": mask}


def _mean(net, inputs):
    hidden = net(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None].to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


@pytest.mark.parametrize(
    ("kind", "places"), [("bert", ("embeddings", "encoder.layer.0", "encoder.layer.2")), ("modernbert", ("layers.1",))]
)
def test_text_encoders_are_cut_and_the_mask_goes_to_both_parts(kind, places):
    net, words = _transformers(kind), _words(5)
    with torch.no_grad():
        expected = _mean(net, words)
        for at in places:
            below, above, blocks = cut.split(net, at, run=_mean, example=_words(2), kept=["attention_mask"])
            (activation,) = below(*words.values())
            _close(above(activation, words["attention_mask"]), expected)
            assert _parameters(above, blocks) == sorted(name for name, _ in above.named_parameters())
            assert not torch.allclose(above(activation, torch.ones(5, 9).long()), expected, atol=1e-3)


def test_a_vision_transformer_of_transformers_is_cut():
    net, x = _transformers("vit"), torch.randn(5, 3, 32, 32)

    def run(net, inputs):
        return net(pixel_values=inputs["x"]).last_hidden_state[:, 0]

    for at in (name for name, _ in net.named_modules() if name.count(".") in (1, 2) and name.endswith((".0", ".2"))):
        if not isinstance(net.get_submodule(at), nn.Linear):
            below, above, _ = cut.split(net, at, run=run, example={"x": x[:2]})
            with torch.no_grad():
                _close(above(*below(x)), run(net, {"x": x}))


# --- where it can be cut -------------------------------------------------------------------------


@pytest.mark.samples
def test_lite0_can_be_cut_after_each_stage():
    backbone = _packaged("efficientnet_lite0.in1k")
    found = cut.points(backbone)
    assert [point.name for point in found] == [f"blocks.{i}" for i in range(7)]
    assert [point.stage for point in found if point.stage] == list(backbone.stages[:-1])
    assert [point.below for point in found] == sorted(point.below for point in found)
    net = backbone.load()
    for number, point in enumerate(found):
        above = [*net.blocks[number + 1 :].parameters(), *net.conv_head.parameters(), *net.bn2.parameters()]
        assert point.params_above == sum(p.numel() for p in above)
    assert found[4].shape == (112, 14, 14)


def test_the_share_below_is_that_of_the_multiplications():
    found = {point.name: point for point in cut.points(backbones.open("random:vgg11", offline=True))}
    convolutions = [  # He et al.'s arithmetic for VGG-A at 224: channels in and out, side
        (3, 64, 224), (64, 128, 112), (128, 256, 56), (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 14),
        (512, 512, 14),
    ]  # fmt: skip
    each = [9 * a * b * side**2 for a, b, side in convolutions]
    whole = sum(each) + 512 * 4096 * 49 + 4096 * 4096
    assert found["features.2"].below == pytest.approx(each[0] / whole, rel=1e-6)
    assert found["features.10"].below == pytest.approx(sum(each[:4]) / whole, rel=1e-6)


@pytest.mark.parametrize("arch", ["test_resnet", "test_convnext", "test_vit", "test_byobnet"])
def test_every_point_listed_can_be_cut(arch):
    backbone = backbones.open(f"random:{arch}", offline=True)
    found = cut.points(backbone)
    assert len(found) > 2
    for point in found:
        tail = cut.tunable(backbone, point.name, classes=2)
        assert point.params_above == sum(p.numel() for p in tail.body.parameters())


def test_a_skip_connection_cannot_be_cut_and_near_points_are_named():
    backbone = backbones.open("random:resnet18", offline=True)
    with pytest.raises(ModelError, match="cannot be cut there") as caught:
        cut.tunable(backbone, "layer2.0.conv1", classes=2)
    assert "layer2.0" in caught.value.todo
    assert "layer1" in caught.value.todo


@pytest.mark.parametrize("at", ["layer9", "", "global_pool", "layer4"])
def test_no_such_place_or_nothing_above_it(at):
    with pytest.raises(ModelError, match="cannot be cut there"):
        cut.tunable(backbones.open("random:resnet18", offline=True), at, classes=2)


class Shared(nn.Module):
    """An activation module called on both sides, an in-place step after the cut, and a skip past ``far``."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.a, self.b, self.c = nn.ReLU(inplace=True), nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        hidden = self.b(self.act(self.a(x)))
        hidden.mul_(2)
        return self.c(self.act(hidden))


def _call(net, inputs):
    return net(inputs["x"])


def test_modules_on_both_sides_stay_and_in_place_steps_spare_the_cache():
    net, x = Shared().eval(), torch.randn(5, 4)
    below, above, blocks = cut.split(net, "b", run=_call, example={"x": x[:2]})
    (activation,) = below(x)
    before = activation.clone()
    for _ in range(2):
        _close(above(activation), net(x))
    assert torch.equal(activation, before)
    assert blocks == ("net.c",)  # what is not used cannot be trained either


class Constant(nn.Module):
    """A table that every layer is given, with as many rows as the example has items."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Identity()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        table = self.table(torch.arange(8.0).reshape(2, 4)).sum(0)
        return self.second(self.first(x) + table) * table


def test_what_is_the_same_for_all_items_is_no_skip_connection():
    net, x = Constant().eval(), torch.randn(5, 4)
    below, above, _ = cut.split(net, "first", run=_call, example={"x": x[:2]})
    _close(above(*below(x)), net(x))


# --- frozen for real -----------------------------------------------------------------------------


def test_training_the_tail_leaves_all_below_as_it_was(tiny):
    at = "blocks.2"
    below = cut.prefix(tiny, at).module()
    before = copy.deepcopy(below.state_dict())
    tail = cut.tunable(tiny, at, classes=3)
    start = copy.deepcopy(tail.state_dict())
    x = torch.randn(8, 3, tiny.spec.input.height, tiny.spec.input.width)
    tail.train()
    tail.body.train()
    optimiser = torch.optim.AdamW(tail.parameters(), 1e-2, weight_decay=0.1)
    for _ in range(3):
        with torch.no_grad():
            (activation,) = below(x)
        loss = nn.functional.cross_entropy(tail(activation), torch.arange(8) % 3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, tensor in below.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is not None for parameter in tail.parameters())
    assert not any(".conv_stem" in name or ".blocks.0" in name for name in tail.state_dict())
    changed = [name for name in start if not torch.equal(start[name], tail.state_dict()[name])]
    assert any("running_mean" in name for name in changed)  # norms above were in training mode
    # And in the merged network, everything below the cut is bit for bit the pretrained one
    whole = cut.merged(tiny, tail, label="test").load().state_dict()
    original = tiny.load().state_dict()
    moved = {name for name in whole if not torch.equal(whole[name], original[name])}
    assert moved
    assert all(name.startswith(("blocks.3", "blocks.4", "blocks.5", "conv_head", "bn2")) for name in moved)


@pytest.mark.parametrize(
    ("name", "at"), [("test_efficientnet", "blocks.2"), ("test_vit", None), ("test_convnext", None)]
)
def test_the_merged_network_answers_as_the_tail_does(name, at):
    backbone = backbones.open(f"random:{name}", offline=True)
    tail = cut.tunable(backbone, at, classes=3)
    with torch.no_grad():
        for parameter in tail.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    shipped = cut.merged(backbone, tail, label="lora")
    x = torch.randn(3, 3, backbone.spec.input.height, backbone.spec.input.width)
    with torch.no_grad():
        activation = x if at is None else cut.prefix(backbone, at).module()(x)[0]
        expected = tail.body(activation)
        _close(shipped.module()(x)[-1], expected, share=1e-6)
        assert not torch.allclose(backbone.module()(x)[-1], expected, atol=1e-3)
    assert shipped.spec.name == f"{backbone.spec.name}-lora"
    assert shipped.weights_key != backbone.weights_key
    assert shipped.stages == backbone.stages
    assert cut.merged(backbone, tail, label="lora").weights_key == shipped.weights_key


def test_a_tail_with_adapters_still_in_it_is_not_merged(tiny):
    tail = cut.tunable(tiny, None, classes=2)
    tail.body.net.conv_head.register_parameter("lora_A", nn.Parameter(torch.ones(2)))
    with pytest.raises(ModelError, match="does not fit"):
        cut.merged(tiny, tail, label="lora")


def test_loading_a_merged_network_moves_no_random_numbers(tiny):
    shipped = cut.merged(tiny, cut.tunable(tiny, None, classes=2), label="x")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    shipped.load()
    assert torch.equal(torch.rand(4), expected)


def test_blocks_hold_every_parameter_of_the_body_once_and_in_order():
    for name in ("resnet18", "test_vit", "test_efficientnet"):
        tail = cut.tunable(backbones.open(f"random:{name}", offline=True), None, classes=2)
        assert _parameters(tail, tail.blocks) == sorted(f"body.{n}" for n, _ in tail.body.named_parameters())
    numbers = [int(name.split(".")[3]) for name in tail.blocks if ".blocks." in name]
    assert numbers == sorted(numbers)
    assert tail.blocks[0] == "body.net.conv_stem"


def test_a_deep_copy_is_a_model_of_its_own(tiny):
    tail = cut.tunable(tiny, "blocks.2", classes=2)
    double = copy.deepcopy(tail)
    x = torch.randn(2, *next(point.shape for point in cut.points(tiny) if point.name == "blocks.2"))
    with torch.no_grad():
        expected = tail.body(x)
        for parameter in tail.parameters():
            parameter.zero_()
        assert torch.equal(double.body(x), expected)


def test_the_key_of_a_prefix_differs_by_cut(tiny):
    from headway.engine.ir import key_of

    keys = {key_of(tiny), *(key_of(cut.prefix(tiny, at)) for at in ("blocks.1", "blocks.2"))}
    assert len(keys) == 3


def test_the_compiled_prefix_agrees_with_eager_item_by_item(tiny, tmp_path):
    from headway.engine.frozen import TOLERANCE
    from headway.engine.pool import open_network

    below = cut.prefix(tiny, "blocks.3")
    network = open_network(below, device="cpu", cache=tmp_path).frozen
    assert network.engine.startswith("openvino")
    images = probe_images(tiny.spec.input)[:3]
    with torch.no_grad():
        (expected,) = below.module()(torch.from_numpy(normalise(images, tiny.spec.input)))
    ((found,),) = network.forward([images])
    assert found.shape == expected.shape
    flat = (torch.from_numpy(found).flatten(1), expected.flatten(1))
    assert float(nn.functional.cosine_similarity(*flat).min()) > TOLERANCE["bf16"]
    assert not network.findings


@functools.cache
def _head(widths):
    from headway.types import LinearHead

    rng, d = np.random.default_rng(0), sum(widths)
    numbers = {name: rng.normal(size=d).astype(np.float32) for name in ("mean", "scale")}
    return LinearHead(
        blocks=widths,
        unit_blocks=True,
        mean=0.01 * numbers["mean"],
        scale=np.abs(numbers["scale"]) + 0.1,
        weight=rng.normal(size=(d, 3)).astype(np.float32),
        bias=rng.normal(size=3).astype(np.float32),
        temperature=0.4,
    )


def test_the_head_starts_as_the_probe_and_comes_back_as_one(tiny):
    from headway.linear.head import linear_scores

    probe = _head((tiny.spec.dim,))
    tail = cut.tunable(tiny, None, probe)
    X = np.random.default_rng(1).normal(size=(7, tiny.spec.dim)).astype(np.float32)
    with torch.no_grad():
        scores = tail.head(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(scores, linear_scores(probe, X) / 0.4, atol=1e-4)
    back = cut.linear_head(tail)
    assert back.temperature == 1.0
    np.testing.assert_allclose(linear_scores(back, X), scores, atol=1e-4)
    assert [name for name, _ in tail.head.named_parameters()] == ["weight", "bias"]


def test_without_a_probe_the_head_favours_nothing(tiny):
    tail = cut.tunable(tiny, None, classes=4)
    assert torch.equal(tail(torch.randn(2, 3, tiny.spec.input.height, tiny.spec.input.width)), torch.zeros(2, 4))


def test_a_probe_on_several_stages_is_refused(tiny):
    from headway.errors import OptionError

    with pytest.raises(OptionError, match="embedding alone"):
        cut.tunable(tiny, None, _head((tiny.spec.dim, 3)))


def test_only_networks_that_can_be_built_without_weights_are_cut():
    class Other:
        spec = backbones.open("random:test_vit", offline=True).spec

    with pytest.raises(ModelError, match="cannot be cut"):
        cut.points(Other())


def test_the_scratch_arm_is_the_sibling_with_nothing_frozen(tiny):
    drawn = [cut.tunable(backbones.sibling(tiny, seed=seed), None, classes=2).state_dict() for seed in (1, 1, 2)]
    weight = "body.net.conv_stem.weight"
    assert torch.equal(drawn[0][weight], drawn[1][weight])
    assert not torch.equal(drawn[0][weight], drawn[2][weight])
