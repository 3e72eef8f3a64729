"""A real network, cut and trained: what lies below is untouched, and what comes out is what was trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headway.engine import _running
from headway.engine.cut import points, prefix, tunable
from headway.engine.losses import loss_for
from headway.engine.train import Checked, Schedule, train
from headway.types import ParamGroup, Tuning

LOSS = loss_for("softmax")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cut(tiny) -> str:
    """Half-way up, where activations are maps."""
    maps = [point for point in points(tiny) if len(point.shape) == 3 and point.params_above > 0]
    return min(maps, key=lambda point: abs(point.below - 0.5)).name


class Maps:
    """Activations at the cut of 24 noisy pictures of three colours."""

    def __init__(self, tiny, cut, *, stop_at=None):
        rng = np.random.default_rng(0)
        self.y, self.stop_at = torch.arange(24) % 3, stop_at
        x = torch.from_numpy(rng.normal(size=(24, 3, tiny.spec.input.height, tiny.spec.input.width))).float()
        x[torch.arange(24), self.y] += 1.5
        with torch.no_grad():
            (self.x,) = prefix(tiny, cut).module()(x)

    def __len__(self):
        return 3

    def epoch(self, number):
        order = torch.from_numpy(np.random.default_rng(number).permutation(24))
        for b, rows in enumerate(order.split(8)):
            if (number, b) == self.stop_at:
                raise KeyboardInterrupt
            yield self.x[rows], self.y[rows]


def _tuned(tiny, cut, data, *, precision="f32", checkpoint=None):
    tail = tunable(tiny, cut, classes=3)
    names = [name for name, _ in tail.named_parameters()]
    frozen = [name for name in names if name.startswith(f"{tail.blocks[0]}.")]
    groups = (ParamGroup(names=tuple(name for name in names if name not in frozen)),)
    before = {name: tensor.clone() for name, tensor in tail.state_dict().items()}

    def check(model):
        scores = model(data.x)
        return Checked(loss=LOSS(scores, data.y).item(), score=(scores.argmax(1) == data.y).float().mean().item())

    trained = train(
        Tuning(model=tail, groups=groups),
        batches=data,
        loss=LOSS,
        schedule=Schedule(lr=0.002, epochs=5, precision=precision, patience=None),
        seed=0,
        check=check,
        checkpoint=checkpoint,
    )
    with torch.no_grad():
        again = check(tail)
    return trained, tail, before, frozen, again


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_part_of_a_network_learns_and_the_rest_is_bit_equal(tiny, cut, precision):
    trained, tail, before, frozen, again = _tuned(tiny, cut, Maps(tiny, cut), precision=precision)
    after = tail.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert frozen and not moved & set(frozen)
    assert not any("running" in name or "num_batches" in name for name in moved)
    best = trained.epochs[trained.best]
    assert best.val_score > trained.epochs[0].val_score + 0.3 and not trained.findings
    assert trained.epochs[-1].val_loss < 0.6 * trained.epochs[0].val_loss
    assert again.loss == pytest.approx(best.val_loss, rel=1e-4) and again.score == best.val_score


def test_a_network_is_resumed_exactly(tiny, cut, tmp_path, monkeypatch):
    """Its weights lie channels-last in memory while it trains, and in their own order in the checkpoint."""
    monkeypatch.setattr(_running, "SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        _tuned(tiny, cut, Maps(tiny, cut, stop_at=(3, 2)), checkpoint=tmp_path / "c")
    resumed, one, *_ = _tuned(tiny, cut, Maps(tiny, cut), checkpoint=tmp_path / "c")
    through, other, *_ = _tuned(tiny, cut, Maps(tiny, cut))
    losses = [[replace(epoch, seconds=0.0) for epoch in trained.epochs] for trained in (resumed, through)]
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
