"""Pooled features of every cut: against arithmetic done by hand on networks made for it."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from headway.backbones._network import Cut, Frame
from headway.backbones._staged import Staged, probe


class Toy(nn.Module):
    """Maps, maps with channels last and tokens with two prefix tokens; the next step changes the map in place."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.last, self.tokens, self.pair = nn.Conv2d(3, 5, 3), nn.Identity(), nn.Identity(), nn.Identity()

    def forward_features(self, x):
        x = self.map(x)
        x.relu_()
        self.last(x.permute(0, 2, 3, 1))
        tokens = x.flatten(2).transpose(1, 2)
        return self.tokens(torch.cat([torch.full_like(tokens[:, :2], 9.0), tokens], 1))

    def forward_head(self, x, pre_logits: bool = False):
        return x[:, 0]


CUTS = (Cut("map", 5), Cut("last", 5, "nhwc"), Cut("tokens", 5, "nlc", 2))


@pytest.fixture
def staged():
    torch.manual_seed(0)
    return Staged(Toy(), CUTS, trunk=False).eval(), torch.randn(2, 3, 9, 7)


def test_each_layout_is_pooled_over_its_positions(staged) -> None:
    module, x = staged
    raw = nn.functional.conv2d(x, module.net.map.weight, module.net.map.bias)
    before, last, tokens, embedding = module(x)
    torch.testing.assert_close(before, raw.mean((2, 3)))  # before the in-place step
    torch.testing.assert_close(last, raw.relu().mean((2, 3)))
    torch.testing.assert_close(tokens, raw.relu().mean((2, 3)))  # without the prefix tokens
    assert torch.equal(embedding, torch.full((2, 5), 9.0))


def test_a_deep_copy_has_features_of_its_own(staged) -> None:
    module, x = staged
    double = copy.deepcopy(module)
    with torch.no_grad():
        double.net.map.weight.zero_()
        double.net.map.bias.fill_(1)
    assert torch.equal(double(x)[0], torch.ones(2, 5))
    assert not torch.equal(module(x)[0], torch.ones(2, 5))
    assert double._kept is not module._kept


def test_nothing_is_kept_after_a_pass(staged) -> None:
    module, x = staged
    module(x)
    assert module._kept == {}


def test_gradients_reach_the_network(staged) -> None:
    module, x = staged
    sum(f.sum() for f in module(x)).backward()
    assert float(module.net.map.weight.grad.abs().sum()) > 0


def test_cuts_of_a_resnet_and_a_vit() -> None:
    cuts, dim, params = probe(Frame(library="timm", arch="resnet18"), height=224, width=224)
    assert [(c.module, c.width) for c in cuts] == [("act1", 64), ("layer1", 64), ("layer2", 128), ("layer3", 256)]
    assert (dim, params) == (512, 11_176_512)  # He et al. 2016: 11.7 M with the classifier's 513 k
    cuts, dim, _ = probe(Frame(library="timm", arch="vit_tiny_patch16_224"), height=224, width=224)
    assert [(c.module, c.layout, c.skip) for c in cuts] == [(f"blocks.{i}", "nlc", 1) for i in (2, 5, 8, 11)]
    assert dim == 192


def test_cuts_are_found_where_timm_names_none() -> None:
    cuts, dim, _ = probe(Frame(library="torchvision", arch="squeezenet1_1", trunk=True), height=227, width=227)
    assert [(c.module, c.width) for c in cuts] == [("features.1", 64), ("features.4", 128), ("features.7", 256)]
    assert dim == 512


MEND = "from headway.backbones._torchvision import prepare, _declared\n"


@pytest.mark.parametrize(
    "code",
    [
        "prepare()\nprepare()\nimport torchvision\nprepare()\nassert len(_declared) <= 1",
        "prepare()\nimport timm\nassert timm.is_model('resnet18')",
        # Where the operators exist, nothing is declared
        "import torch\nlib = torch.library.Library('torchvision', 'DEF')\n"
        "for n in ('nms', 'qnms'): lib.define(n + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "prepare()\nassert _declared == []",
    ],
    ids=["twice", "timm", "present"],
)
def test_torchvision_imports_after_the_mend(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", MEND + code], check=True)
