"""Contrastive tuning: its loss against pairs written out one by one, and what it makes of an embedding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, mse_loss

from headway.adapt.contrastive import METHOD, cosine_loss


def _some(seed=0, n=7, d=5):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_(), torch.tensor([0, 0, 1, 1, 1, 2, 0][:n])


def test_loss_and_gradient_are_those_of_the_listed_pairs():
    """sentence-transformers' CosineSimilarityLoss: the squared error of the cosine, here of either kind of pairs."""
    x, y = _some()
    pairs = list(itertools.combinations(range(len(y)), 2))
    halves = []
    for same in (True, False):
        own = [(i, j) for i, j in pairs if bool(y[i] == y[j]) is same]
        first, second = (x[[pair[side] for pair in own]] for side in (0, 1))
        wanted = torch.full((len(own),), float(same), dtype=x.dtype)
        halves.append(mse_loss(cosine_similarity(first, second), wanted))
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
    x = 0.5 * torch.randn(12, 8) + torch.nn.functional.one_hot(y, 8)
    model = torch.nn.Module()
    model.body, model.head, model.blocks = torch.nn.Sequential(body), torch.nn.Linear(4, 3), ("body.0",)
    tuning = METHOD.tune(model, sample=lambda: iter([(x, y)]), loss=torch.nn.functional.cross_entropy, seed=0)
    assert tuning.model is model.body and tuning.loss is cosine_loss
    named = {name for group in tuning.groups for name in group.names}
    assert named == {"0.weight", "0.bias"}
    assert tuning.params["trainable"] == 8 * 4 + 4
    before = float(cosine_loss(tuning.model(x), y).detach())
    optimiser = torch.optim.Adam(tuning.model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        tuning.loss(tuning.model(x), y).backward()
        optimiser.step()
    assert float(cosine_loss(tuning.model(x), y).detach()) < 0.5 * before
    unit = torch.nn.functional.normalize(tuning.model(x), dim=1).detach().numpy()
    same = y[:, None].numpy() == y[None].numpy()
    np.fill_diagonal(same, False)
    cosines = unit @ unit.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.5
