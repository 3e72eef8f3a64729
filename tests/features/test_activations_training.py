"""Training from the cache against training with the frozen part computed again for every batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headway import backbones
from headway.engine import cut
from headway.engine.ir import normalise
from headway.engine.pool import open_network
from headway.features.activations import activations, batches
from headway.modalities import image

N, CLASSES, AT = 24, 3, "blocks.2"
# Of the loss: half precision keeps 11 bits of an activation, a prefix compiled in bf16 keeps 8 bits through its layers
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def tiny():
    return backbones.open("random:test_efficientnet", offline=True)


@pytest.fixture(scope="module")
def prefix(tiny, tmp_path_factory):
    return open_network(cut.prefix(tiny, AT), device="cpu", cache=tmp_path_factory.mktemp("networks")).frozen


def _items():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (N, 5, 7, 3), dtype=np.uint8)
    coarse[..., 0] = np.clip(coarse[..., 0].astype(int) + 100 * (np.arange(N) % CLASSES)[:, None, None], 0, 255)
    return [image.resize(one, 100, 140) for one in coarse], rng.integers(0, 256, (N, 16), dtype=np.uint8)


def _cache(tiny, network, root, **options):
    pictures, digests = _items()
    settings = {"views": 2, "policy": image.Augmentation(), "seed": 0, **options}
    found = activations(
        pictures, digests, network=network, expects=tiny.spec.input, modality=image, root=root, **settings
    )
    found.fill(np.arange(N))
    return found


def _losses(tail, found, below=None):
    """Four epochs, norms by the batch: those of a network that was never trained would let nothing through."""
    tail.train()
    optimiser = torch.optim.SGD(tail.parameters(), 0.05, momentum=0.9)
    losses = []
    for number in range(4):
        for x, y in found.epoch(number):
            if below is not None:
                with torch.no_grad():
                    (x,) = below(x)
            loss = nn.functional.cross_entropy(tail(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return np.array(losses)


def _batches(cache):
    rows = np.arange(N)
    return batches(cache, rows, rows % CLASSES, batch_size=8, seed=0, train=True)


def test_the_losses_are_those_of_recomputing(tiny, prefix, tmp_path):
    from_cache = _losses(cut.tunable(tiny, AT, classes=CLASSES), _batches(_cache(tiny, prefix, tmp_path / "kept")))
    # By the same engine, computed for every batch: the same numbers
    again = _cache(tiny, prefix, tmp_path / "never", max_bytes=0)
    assert not again.kept
    by_engine = _losses(cut.tunable(tiny, AT, classes=CLASSES), _batches(again))
    np.testing.assert_array_equal(from_cache, by_engine)
    # By eager in float32 from the pixels of the same views, as is usual
    pixels = _cache(tiny, None, tmp_path / "pixels")
    below = cut.prefix(tiny, AT).module()
    by_eager = _losses(cut.tunable(tiny, AT, classes=CLASSES), _batches(pixels), below)
    np.testing.assert_allclose(from_cache, by_eager, rtol=TOLERANCE)
    assert by_eager[-3:].mean() < 0.9 * by_eager[0]  # something was learnt


def test_from_pixels_the_whole_network_trains(tiny, tmp_path):
    cache = _cache(tiny, None, tmp_path)
    tail = cut.tunable(tiny, None, classes=CLASSES)
    x, _ = next(_batches(cache).epoch(0))
    pictures = np.stack([cache.read(np.array([row]), 0)[0] for row in range(N)])
    np.testing.assert_allclose(
        torch.cat([x for x, _ in _plain(cache).epoch(0)]).numpy(), normalise(pictures, tiny.spec.input), atol=1e-4
    )
    assert tail(x).shape == (8, CLASSES)
    losses = _losses(tail, _batches(cache))
    assert losses[-3:].mean() < losses[0]


def _plain(cache):
    return batches(cache, np.arange(N), np.zeros(N), batch_size=8, seed=0, train=False)
