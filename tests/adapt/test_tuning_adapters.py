"""Adapters: which layers carry one, that they compute the papers' formulas, and that merging leaves nothing behind."""

from __future__ import annotations

import builtins
import importlib.util
import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from headway.adapt import dora, ia3, lora
from headway.adapt._peft import carriers, rank_of
from headway.errors import DataError, ModelError

_spec = importlib.util.spec_from_file_location("tunables", Path(__file__).with_name("tunables.py"))
tunables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tunables)
LOSS = nn.functional.cross_entropy
EVERY = pytest.mark.parametrize("method", [lora, dora, ia3], ids=["lora", "dora", "ia3"])


def _tune(method, model, network="plain", seed=0):
    return method.tune(model, sample=tunables.sampler(network), loss=LOSS, seed=seed)


def _whole(*layers, dim):
    return tunables.Whole(nn.Sequential(*layers), dim, ("body",)).eval()


def _on(model, x):
    """The layers that carry an adapter, from inputs of the model's own kind."""
    return set(carriers(model, sample=lambda: [(x, torch.zeros(len(x), dtype=torch.long))]))


# --- which layers --------------------------------------------------------------------------------


def test_low_rank_adapters_are_in_linear_and_ordinary_convolutions_alone():
    model = tunables.build("plain")
    tuning = _tune(lora, model)
    carry = {name.partition(".lora_A")[0] for group in tuning.groups for name in group.names if ".lora_A." in name}
    assert carry == {"body.0.0", "body.1.3", "body.3.3"}  # 1.0 is depthwise, 2.0 dilated
    assert tuning.params["layers"] == 3
    model = tunables.build("plain")
    factors = {name.partition(".ia3_l")[0] for group in _tune(ia3, model).groups for name in group.names}
    assert factors == {"body.0.0", "body.1.0", "body.1.3", "body.2.0", "body.3.3", "head.weight", "head.bias"}


def test_a_layer_whose_weight_is_read_by_others_carries_none():
    """torch's attention never calls its output layer: an adapter there would be passed by."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 8)

        def forward(self, x):
            return self.out(self.attend(x, x, x, need_weights=False)[0].mean(1))

    assert _on(_whole(Attention(), dim=8), torch.randn(2, 3, 8)) == {"body.0.out"}


def test_a_shared_weight_and_a_standardised_one_carry_none():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert _on(_whole(first, second, nn.Linear(4, 4), dim=4), torch.randn(2, 4)) == {"body.2"}

    class Standardised(nn.Conv2d):
        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            weight = weight / weight.std((1, 2, 3), keepdim=True)
            return self._conv_forward(x, weight, self.bias)

    model = _whole(Standardised(3, 4, 3), nn.Conv2d(4, 4, 3), dim=4)
    model.body.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten())
    assert _on(model, torch.randn(2, 3, 8, 8)) == {"body.1"}


def test_layers_are_those_named_and_not_others_that_end_alike():
    """``body.1.1`` must not name ``body.0.body.1.1``, nor ``body.111``."""

    class Depthwise(nn.Conv2d):
        pass

    inner = nn.Module()
    inner.body = nn.ModuleList([nn.Identity(), nn.ModuleList([nn.Identity(), nn.Linear(4, 4)])])
    inner.forward = lambda x: inner.body[1][1].forward(x)  # called past its hooks: not seen, so it carries none
    pairs = nn.Sequential(nn.Identity(), nn.Linear(4, 4))
    model = _whole(inner, pairs, dim=4)
    x = torch.randn(2, 4)
    assert _on(model, x) == {"body.1.1"}
    tuning = lora.tune(model, sample=lambda: [(x, torch.tensor([0, 1]))], loss=LOSS, seed=0)
    assert type(model.body[0].body[1][1]) is nn.Linear
    assert tuning.params["layers"] == 1


def test_ranks_follow_the_rule_layer_by_layer():
    model = tunables.build("plain")
    tuning = _tune(lora, model)
    shapes = {n: tuple(p.shape) for n, p in tuning.model.named_parameters() if "lora_A" in n}
    assert shapes == {
        "body.0.0.lora_A.default.weight": (1, 3, 3, 3),
        "body.1.3.lora_A.default.weight": (2, 8, 1, 1),
        "body.3.3.lora_A.default.weight": (3, 16),
    }
    assert [rank_of(nn.Linear(a, b)) for a, b in ((1000, 32), (1000, 31), (3, 1000))] == [8, 7, 1]


@EVERY
def test_a_network_without_such_layers_and_a_sample_without_batches_are_said(method):
    with pytest.raises(ModelError, match="no layer that can carry"):
        _tune(method, _whole(nn.Flatten(), nn.BatchNorm1d(3 * 32 * 32), dim=3 * 32 * 32))
    with pytest.raises(DataError, match="need a batch"):
        method.tune(tunables.build("plain"), sample=list, loss=LOSS, seed=0)


# --- what they compute ---------------------------------------------------------------------------


def _drawn(tuning):
    """Adapters with values as after training."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in tuning.model.named_parameters():
            if "lora_" in name or "ia3_" in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@EVERY
def test_merged_weights_are_the_papers_formula(method, kind):
    torch.manual_seed(0)
    if kind == "linear":
        model, x = _whole(nn.Linear(12, 8), dim=8), torch.randn(5, 12)
    else:
        layers = (nn.Conv2d(12, 8, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model, x = _whole(*layers, dim=8), torch.randn(5, 12, 9, 9)
    layer = model.body[0]
    W, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    tuning = method.tune(model, sample=lambda: [(x, torch.arange(5) % 3)], loss=LOSS, seed=0)
    _drawn(tuning)
    held = {n.split(".")[2]: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n or "ia3_" in n}
    with torch.no_grad():
        unmerged = model(x)
        tuning.merge()
        assert torch.allclose(model(x), unmerged, atol=1e-5)
    if method is ia3:
        factor = held["ia3_l"].flatten()
        expected, shift = factor.view(-1, *[1] * (W.ndim - 1)) * W, factor * b
    else:
        update = held["lora_B"].flatten(1) @ held["lora_A"].flatten(1)
        expected, shift = W + 2 * update.view_as(W), b
    if method is dora:
        rows = expected.flatten(1).norm(dim=1)
        expected = expected * (held["lora_magnitude_vector"].flatten() / rows).view(-1, *[1] * (W.ndim - 1))
    torch.testing.assert_close(layer.weight.detach(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.bias.detach(), shift)
    assert model.body[0] is layer


@pytest.mark.parametrize("network", [*tunables.NETWORKS, "same_padding"])
@EVERY
def test_merged_gives_the_unmerged_answers(method, network):
    model = tunables.build(network)
    names = {name: (p.shape, p.requires_grad) for name, p in model.named_parameters()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    tuning = _tune(method, model, network)
    _drawn(tuning)
    x, _ = tunables.inputs(network, seed=7)
    with torch.no_grad():
        before = model(x)
        tuning.merge()
        after = model(x)
    assert float((after - before).abs().max()) < 1e-5 * max(1.0, float(before.abs().max()))
    assert {name: (p.shape, p.requires_grad) for name, p in model.named_parameters()} == names
    assert all(torch.equal(buffers[name], b) for name, b in model.named_buffers())
    assert not any("peft" in type(m).__module__ for m in model.modules())


@EVERY
def test_channels_last_gives_the_same_answers_and_gradients(method):
    answers = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = tunables.build("plain")
        tuning = _tune(method, model)
        _drawn(tuning)
        model.to(memory_format=layout)
        x, y = tunables.inputs("plain")
        scores = model(x.to(memory_format=layout))
        LOSS(scores, y).backward()
        slopes = [p.grad.clone() for n, p in model.named_parameters() if "lora_" in n or "ia3_" in n]
        tuning.merge()
        torch.testing.assert_close(model(x), scores, atol=1e-5, rtol=1e-5)
        answers.append([scores.detach(), *slopes])
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@EVERY
def test_nothing_decays_that_would_draw_a_layer_to_zero(method):
    """Matrices of an update may decay, towards no change; magnitudes and factors start from 1 and must not."""
    tuning = _tune(method, tunables.build("plain"))
    decayed = {name for group in tuning.groups for name in group.names if group.decay} - {"head.weight"}
    added = {name for group in tuning.groups for name in group.names} - {"head.weight", "head.bias"}
    assert decayed == {name for name in added if "lora_A" in name or "lora_B" in name}
    assert bool(decayed) == (method is not ia3)


@EVERY
def test_after_merging_the_network_can_be_tuned_again(method):
    model = tunables.build("plain")
    for _ in range(2):
        tuning = _tune(method, model)
        tunables.by_hand(tuning, tunables.sampler("plain")(), epochs=1)
        tuning.merge()
    assert list(model.state_dict()) == list(tunables.build("plain").state_dict())


@EVERY
def test_no_door_to_the_network_is_opened(method, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model = tunables.build("bert")
    tuning = _tune(method, model, "bert")
    tunables.by_hand(tuning, tunables.sampler("bert")(), epochs=1)
    tuning.merge()


@EVERY
def test_without_peft_it_says_how_to_get_it(method, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "peft":
            raise ModuleNotFoundError("No module named 'peft'", name="peft")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"pip install 'headway\[tune\]'"):
        _tune(method, tunables.build("plain"))
