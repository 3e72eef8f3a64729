"""One batch: mixing by its formulas, gradients in parts the whole batch's, memory that does not suffice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from headway.engine.losses import loss_for
from headway.engine.step import Batch, backward, in_memory, mixed, out_of_memory, placed, scores_of
from headway.errors import ModelError

LOSS = loss_for("softmax")


def _batch(n=10, shape=(3, 8, 8), seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(n, *shape))).float()
    return Batch(inputs=x, targets=torch.from_numpy(rng.integers(4, size=n)))


def _order(batch, found):
    """Which row each row was mixed with, from the inputs themselves."""
    x = batch.inputs.flatten(1)
    mixes = found.share * x[:, None] + (1 - found.share) * x[None]
    return (mixes - found.inputs.flatten(1)[:, None]).abs().sum(-1).argmin(1)


def test_mixup_is_the_papers_with_soft_targets():
    batch = _batch()
    found = mixed(batch, mixup=0.8, cutmix=0.0, seed=3)
    order = _order(batch, found)
    assert sorted(order.tolist()) == list(range(10)) and 0 < found.share < 1
    torch.testing.assert_close(found.inputs, found.share * batch.inputs + (1 - found.share) * batch.inputs[order])
    scores = torch.from_numpy(np.random.default_rng(1).normal(size=(10, 4)))
    one_hot = functional.one_hot(batch.targets, 4).double()
    soft = found.share * one_hot + (1 - found.share) * one_hot[order]
    torch.testing.assert_close(found.loss(LOSS, scores), functional.cross_entropy(scores, soft))


def test_mixups_share_is_beta_distributed():
    from scipy.stats import beta, kstest

    shares = [mixed(_batch(2, (1,)), mixup=0.4, cutmix=0.0, seed=s).share for s in range(300)]
    assert kstest(shares, beta(0.4, 0.4).cdf).pvalue > 0.01


def test_cutmix_pastes_one_box_and_counts_its_area():
    areas = []
    for seed in range(40):
        batch = _batch(6, (2, 9, 7), seed=seed)
        found = mixed(batch, mixup=0.0, cutmix=1.0, seed=seed)
        changed = (found.inputs != batch.inputs).any(1)  # rows mixed with themselves do not change
        box = changed.any(0)
        rows, columns = box.any(1), box.any(0)
        assert torch.equal(box, rows[:, None] & columns[None, :])
        areas.append(box.float().mean().item())
        if areas[-1]:
            assert found.share == pytest.approx(1 - areas[-1], abs=1e-6)
        for i in torch.nonzero(changed.any(-1).any(-1)).flatten().tolist():
            donors = [(batch.inputs[j][:, box] == found.inputs[i][:, box]).all() for j in range(6)]
            assert sum(map(bool, donors)) == 1
            assert torch.equal(found.inputs[i][:, ~box], batch.inputs[i][:, ~box])
    assert 0.05 < np.mean(areas) < 0.6


def test_mixing_is_off_where_it_cannot_be_on():
    batch = _batch(6, (5,))
    assert mixed(batch, mixup=0.0, cutmix=1.0, seed=0) is batch
    assert mixed(batch, mixup=0.0, cutmix=0.0, seed=0) is batch
    assert mixed(_batch(1), mixup=1.0, cutmix=1.0, seed=0).partners is None
    words = Batch(inputs=torch.arange(6).view(3, 2), targets=torch.arange(3))
    assert mixed(words, mixup=1.0, cutmix=0.0, seed=0) is words


def test_mixing_comes_from_its_seed_and_both_kinds_have_their_turn():
    batch = _batch()
    one, two = (mixed(batch, mixup=0.5, cutmix=0.5, seed=9) for _ in range(2))
    assert torch.equal(one.inputs, two.inputs) and one.share == two.share
    kept = [
        (mixed(batch, mixup=0.5, cutmix=0.5, seed=s).inputs == batch.inputs).float().mean().item() for s in range(30)
    ]
    assert any(share > 0.2 for share in kept) and any(share < 0.2 for share in kept)


def _net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 4))


def _gradient(net):
    return torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.parametrize("parts", [2, 3, 10])
@pytest.mark.parametrize("mixup", [0.0, 0.7])
def test_gradients_in_parts_are_the_whole_batchs(parts, mixup):
    net, batch = _net(), mixed(_batch(), mixup=mixup, cutmix=0.0, seed=1)

    def penalty():
        return net[0].weight.square().sum()

    whole = backward(net, batch, loss=LOSS, penalty=penalty, precision="f32")
    expected = _gradient(net)
    found = backward(net, batch, loss=LOSS, penalty=penalty, precision="f32", parts=parts)
    assert found == pytest.approx(whole, rel=1e-6)
    torch.testing.assert_close(_gradient(net), expected, rtol=1e-4, atol=1e-6)


def test_the_penalty_is_added_to_loss_and_gradient():
    net, batch = _net(), _batch()
    bare = backward(net, batch, loss=LOSS, penalty=None, precision="f32")
    gradient = net[0].weight.grad.clone()
    more = backward(net, batch, loss=LOSS, penalty=lambda: 3 * net[0].weight.square().sum(), precision="f32")
    assert more == pytest.approx(bare + 3 * net[0].weight.square().sum().item(), rel=1e-6)
    torch.testing.assert_close(net[0].weight.grad, gradient + 6 * net[0].weight)


def test_memory_that_does_not_suffice_halves_the_batch():
    asked = []

    def work(parts):
        asked.append(parts)
        if parts < 7:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return "done"

    assert in_memory(work, rows=7, parts=1) == ("done", 7)
    assert asked == [1, 2, 4, 7]
    with pytest.raises(ModelError, match="single item"):
        in_memory(work, rows=3, parts=1)


def test_other_errors_are_not_taken_for_memory():
    def work(parts):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_memory(work, rows=7, parts=1)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory")) and out_of_memory(MemoryError())


def test_inputs_are_placed_in_f32_and_channels_last():
    x, y = torch.zeros(2, 3, 4, 4, dtype=torch.float16), torch.zeros(2, dtype=torch.int64)
    found = placed(x, y, device=torch.device("cpu"))
    assert found.inputs.dtype == torch.float32
    assert found.inputs.is_contiguous(memory_format=torch.channels_last)
    words = placed(torch.ones(2, 3, dtype=torch.int64), y, device=torch.device("cpu"))
    assert words.inputs.dtype == torch.int64


def test_bf16_scores_come_back_in_f32_and_close():
    net, batch = _net(), _batch()
    exact = scores_of(net, batch.inputs, precision="f32")
    half = scores_of(net, batch.inputs, precision="bf16")
    assert half.dtype == torch.float32 and not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.02)
