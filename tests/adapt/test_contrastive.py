"""Contrastive tuning: its loss against sentence-transformers' own, and against pairs written out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from headway.adapt.contrastive import METHOD, cosine_loss
from headway.backbones._torchvision import prepare


def _some(seed=0, n=7, d=5):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_(), torch.tensor([0, 0, 1, 1, 1, 2, 0][:n])


def test_loss_and_gradient_are_those_of_sentence_transformers_on_the_listed_pairs():
    prepare()
    from sentence_transformers.losses import CosineSimilarityLoss

    x, y = _some()
    pairs = list(itertools.combinations(range(len(y)), 2))
    theirs = CosineSimilarityLoss(model=torch.nn.Identity())
    halves = []
    for same in (True, False):
        own = [(i, j) for i, j in pairs if bool(y[i] == y[j]) is same]
        first, second = (x[[pair[side] for pair in own]] for side in (0, 1))
        wanted = torch.full((len(own),), float(same), dtype=x.dtype)
        halves.append(theirs.compute_loss_from_embeddings([first, second], wanted))
    expected = sum(halves) / 2
    found = cosine_loss(x, y)
    torch.testing.assert_close(found, expected)
    (own,), (others,) = torch.autograd.grad(found, x), torch.autograd.grad(expected, x)
    torch.testing.assert_close(own, others)


def test_the_gradient_is_the_loss_s_slope():
    x, y = _some(seed=3)
    assert torch.autograd.gradcheck(lambda z: cosine_loss(z, y), (x,))


def test_the_length_of_an_embedding_does_not_matter():
    x, y = _some()
    scaled = x * torch.arange(1, len(y) + 1)[:, None]
    torch.testing.assert_close(cosine_loss(scaled, y), cosine_loss(x, y))


@pytest.mark.parametrize("y", [[0, 0, 0], [0, 1, 2], [0]])
def test_a_batch_without_one_kind_of_pairs_has_a_finite_loss(y):
    x, _ = _some(n=len(y))
    value = cosine_loss(x, torch.tensor(y))
    (slope,) = torch.autograd.grad(value, x)
    assert torch.isfinite(value) and torch.isfinite(slope).all()


def test_classes_come_together_and_apart():
    torch.manual_seed(0)
    body = torch.nn.Linear(8, 4)
    y = torch.arange(12) % 3
    x = torch.randn(12, 8) + torch.nn.functional.one_hot(y, 8)
    model = torch.nn.Module()
    model.body, model.head, model.blocks = torch.nn.Sequential(body), torch.nn.Linear(4, 3), ("body.0",)
    tuning = METHOD.tune(model, sample=lambda: iter([(x, y)]), loss=torch.nn.functional.cross_entropy, seed=0)
    assert tuning.model is model.body and tuning.loss is cosine_loss
    named = {name for group in tuning.groups for name in group.names}
    assert named == {"0.weight", "0.bias"}
    assert tuning.params["trainable"] == 8 * 4 + 4
    before = float(cosine_loss(tuning.model(x), y))
    optimiser = torch.optim.Adam(tuning.model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        tuning.loss(tuning.model(x), y).backward()
        optimiser.step()
    assert float(cosine_loss(tuning.model(x), y)) < 0.3 * before
    unit = torch.nn.functional.normalize(tuning.model(x), dim=1).detach().numpy()
    same = y[:, None].numpy() == y[None].numpy()
    np.fill_diagonal(same, False)
    cosines = unit @ unit.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.5
