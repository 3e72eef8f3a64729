"""The training loop: what is frozen stays, what is kept is the best, what goes wrong is caught and said."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from headway.budget import Deadline
from headway.engine import _opening, _running, step
from headway.engine.losses import loss_for
from headway.engine.train import Checked, Schedule, train
from headway.errors import DataError, ModelError, OptionError
from headway.types import ParamGroup, Tuning

train_module = importlib.import_module("headway.engine.train")
LOSS = loss_for("softmax")
PLAIN = Schedule(lr=0.02, epochs=4, warmup=0.25, patience=None, precision="f32")


@pytest.fixture(autouse=True)
def _one_thread():
    """Toys are too small for two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Pictures:
    """24 images of three classes that differ in colour, shuffled by epoch."""

    def __init__(self, *, n=24, size=8, noise=1.0, shape=(3, 8, 8), labels=None, batch=8):
        rng = np.random.default_rng(7)
        self.y = torch.from_numpy(rng.integers(3, size=n) if labels is None else labels)
        x = rng.normal(size=(n, *shape)) * noise
        for i, label in enumerate(self.y.tolist()):
            x[i, label] += 1.0
        self.x, self.batch = torch.from_numpy(x).float(), batch

    def __len__(self):
        return math.ceil(len(self.x) / self.batch)

    def epoch(self, number):
        order = torch.from_numpy(np.random.default_rng(number).permutation(len(self.x)))
        for rows in order.split(self.batch):
            yield self.x[rows], self.y[rows]


class Net(nn.Module):
    def __init__(self, *, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.low = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3))
        self.high = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(6, 3)
        with torch.no_grad():  # statistics that are not the batch's
            for norm in (self.low[1], self.high[1]):
                norm.running_mean.add_(0.1)

    def forward(self, x):
        return self.head(self.high(self.low(x)).mean((2, 3)))


HIGH = ParamGroup(names=("high.0.weight", "high.0.bias", "high.1.weight", "high.1.bias"))
HEAD = ParamGroup(names=("head.weight", "head.bias"))


def _state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _changed(before, model):
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def _check_on(data):
    def check(model):
        assert not any(module.training for module in model.modules()) and not torch.is_grad_enabled()
        scores = model(data.x)
        return Checked(loss=LOSS(scores, data.y).item(), score=(scores.argmax(1) == data.y).float().mean().item())

    return check


def _train(model, *, groups=(HIGH, HEAD), data=None, schedule=PLAIN, seed=0, tuning=None, **options):
    data = Pictures() if data is None else data
    asked = tuning or Tuning(model=model, groups=groups)
    return train(asked, **{"batches": data, "loss": LOSS, "schedule": schedule, "seed": seed, **options})


def _facts(trained):
    """What a training says, without the clock."""
    return replace(trained, seconds=0.0, epochs=tuple(replace(epoch, seconds=0.0) for epoch in trained.epochs))


# --- frozen and repeated ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_what_is_in_no_group_is_bit_equal_afterwards(kind):
    model = Net()
    before, asked = _state(model), [p.requires_grad for p in model.parameters()]
    trained = _train(model, schedule=replace(PLAIN, optimiser=kind, mixup=0.2, cutmix=0.2, ema=0.5, weight_decay=0.5))
    assert _changed(before, model) == {*HIGH.names, *HEAD.names}  # no statistics, not even of trained norms
    assert trained.trainable == sum(before[name].numel() for name in (*HIGH.names, *HEAD.names))
    assert asked == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None and p.is_contiguous() for p in model.parameters()) and not model.training


def test_trained_statistics_move_in_trained_blocks_only():
    model = Net()
    before = _state(model)
    _train(model, tuning=Tuning(model=model, groups=(HIGH, HEAD), norm_statistics="trained"))
    statistics = {f"high.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert _changed(before, model) == {*HIGH.names, *HEAD.names, *statistics}


def test_equal_runs_give_equal_weights_and_other_seeds_do_not():
    models = [Net() for _ in range(3)]
    states = []
    outer = torch.random.get_rng_state()
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.rand(seed + len(states))  # the caller's random state does not matter
        kept = torch.random.get_rng_state()
        states.append(_facts(_train(model, seed=seed, schedule=replace(PLAIN, mixup=0.2))))
        assert torch.equal(torch.random.get_rng_state(), kept)  # nor is it touched
    torch.random.set_rng_state(outer)
    assert states[0] == states[1] and not _changed(_state(models[0]), models[1])
    assert _changed(_state(models[0]), models[2]) == {*HIGH.names, *HEAD.names}


def test_the_loop_is_a_plain_torch_loop():
    """One group, no dropout, by hand: clipping, decay, warm-up and cosine as torch's own parts do them."""
    data = Pictures()
    ours, theirs = (nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten()) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    schedule = replace(PLAIN, lr=0.05, clip=0.1, weight_decay=0.1, epochs=3)
    trained = _train(ours, groups=(ParamGroup(names=("0.weight", "0.bias")),), data=data, schedule=schedule)
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=0.05, weight_decay=0.1, fused=False)
    total, warm = 9, 2.25
    means = []
    for epoch in range(3):
        losses = []
        for b, (x, y) in enumerate(data.epoch(epoch + 1)):
            s = epoch * 3 + b
            share = min(1, (s + 1) / warm) if s < warm else 0.5 * (1 + math.cos(math.pi * (s - warm) / (total - warm)))
            optimiser.param_groups[0]["lr"] = 0.05 * share
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(theirs(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
            optimiser.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    torch.testing.assert_close(ours[0].weight, theirs[0].weight, rtol=1e-4, atol=1e-6)
    assert [epoch.train_loss for epoch in trained.epochs[1:]] == pytest.approx(means, rel=1e-5)
    assert trained.epochs[-1].lr == 0.0 and (trained.best, trained.stopped) == (3, "finished")


# --- what a method asks for ---------------------------------------------------------------------


def test_the_penalty_draws_and_merge_comes_last():
    model, calls = Net(), []
    start = model.head.weight.detach().clone()

    def merge():
        calls.append(_state(model))

    def penalty():
        return 1e3 * (model.head.weight - start).square().sum()

    free = Net()
    _train(free)
    tuning = Tuning(model=model, groups=(HIGH, HEAD), penalty=penalty, merge=merge)
    _train(model, tuning=tuning, schedule=replace(PLAIN, clip=None))
    assert (model.head.weight - start).norm() < 0.5 * (free.head.weight - start).norm()
    assert len(calls) == 1 and not _changed(calls[0], model)


def test_regrouping_unfreezes_by_epoch_and_keeps_the_best_of_all():
    model, asked, seen = Net(), [], {}
    start = _state(model)

    def regroup(epoch, epochs):
        asked.append((epoch, epochs))
        return (HEAD,) if epoch < 2 else (HIGH, HEAD)

    def check(found):
        seen[len(seen)] = _state(found)
        return Checked(loss=1.0, score=1.0 if len(seen) == 3 else 0.5)  # epoch 2 is the best

    tuning = Tuning(model=model, groups=(HEAD,), regroup=regroup)
    trained = _train(model, tuning=tuning, check=check)
    assert set(asked) == {(e, 4) for e in range(4)}
    moved = [{name for name in start if not torch.equal(seen[e][name], start[name])} for e in range(5)]
    assert moved == [set(), {*HEAD.names}, {*HEAD.names}, {*HIGH.names, *HEAD.names}, {*HIGH.names, *HEAD.names}]
    assert trained.best == 2 and not _changed(seen[2], model)
    assert trained.trainable == sum(start[name].numel() for name in (*HIGH.names, *HEAD.names))


def test_validation_and_result_hold_the_moving_average():
    """One batch an epoch, so the average after each epoch follows from the weights that were stepped through."""
    stepped, averaged = [], []
    for decay, kept in ((0.0, stepped), (0.9, averaged)):
        model = Net()

        def check(found, kept=kept):
            kept.append(found.head.weight.detach().clone())
            return Checked(loss=1.0, score=float(len(kept)))

        _train(model, data=Pictures(batch=24), schedule=replace(PLAIN, ema=decay), check=check)
        assert torch.equal(model.head.weight, kept[-1])
    expected = stepped[0]
    for t, weight in enumerate(stepped[1:]):
        d = min(0.9, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * weight
        torch.testing.assert_close(averaged[t + 1], expected)


# --- validation ---------------------------------------------------------------------------------


def test_the_best_epoch_is_kept_and_the_start_takes_part():
    for scores in ([0.5, 0.4, 0.3, 0.2, 0.1], [0.5, 0.6, 0.9, 0.7, 0.8]):
        model, seen = Net(), []

        def check(found, seen=seen, scores=scores):
            seen.append(_state(found))
            return Checked(loss=1.0, score=scores[len(seen) - 1])

        trained = _train(model, check=check)
        assert trained.best == int(np.argmax(scores))
        assert not _changed(seen[trained.best], model)
        assert [epoch.val_score for epoch in trained.epochs] == scores


def test_it_learns_and_tells_how_far_it_is():
    model, data, told, epochs = Net(), Pictures(noise=0.3), [], []
    trained = _train(
        model,
        data=data,
        schedule=replace(PLAIN, lr=0.05, epochs=8),
        check=_check_on(data),
        progress=lambda *now: told.append(now),
        on_epoch=epochs.append,
    )
    with torch.no_grad():
        assert _check_on(data)(model).score == trained.epochs[trained.best].val_score > 0.9
    assert told == [("train", done, 24) for done in range(1, 25)]
    assert tuple(epochs) == trained.epochs


def test_random_labels_overfit_which_is_said_and_stopped():
    labels = np.random.default_rng(3).integers(3, size=48)
    data = Pictures(n=24, labels=labels[:24], shape=(60,))
    held_out = Pictures(n=24, labels=labels[::-1][:24].copy(), shape=(60,))
    held_out.x = torch.randn(24, 60, generator=torch.Generator().manual_seed(5))
    model = nn.Sequential(nn.Linear(60, 64), nn.ReLU(), nn.Linear(64, 3))
    names = tuple(name for name, _ in model.named_parameters())
    schedule = replace(PLAIN, lr=0.01, epochs=60, patience=6)
    trained = _train(model, groups=(ParamGroup(names=names),), data=data, schedule=schedule, check=_check_on(held_out))
    assert trained.stopped == "patience" and len(trained.epochs) - 1 == trained.best + 6 < 60
    (finding,) = trained.findings
    assert finding.check == "overfitting" and "validation loss rose" in finding.message


# --- trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["inputs", "loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_is_named(where):
    data, model, seen = Pictures(), Net(), []

    class Poisoned(Pictures):
        def epoch(self, number):
            for b, (x, y) in enumerate(super().epoch(number)):
                if (number, b) == (3, 1):
                    x = x + (math.nan if where == "inputs" else 1e6)
                yield x, y

    def loss(scores, y):
        value = LOSS(scores, y)
        if where == "loss" and scores.abs().max() > 1e3:
            return value * math.inf
        if where == "gradient" and scores.abs().max() > 1e3:
            return value * 0.0 + (scores.sum() * 0.0).sqrt()  # the derivative of a root at 0
        return value

    def check(found):
        seen.append(_state(found))
        return _check_on(data)(found)

    trained = _train(model, data=Poisoned(), loss=loss, check=check)
    assert trained.stopped == "nan" and len(trained.epochs) == 3
    (finding,) = trained.findings
    assert finding.check == "not_finite" and finding.evidence == ("epoch 3, batch 2 of 3",)
    assert ("inputs hold" in finding.message) == (where == "inputs")
    assert not _changed(seen[trained.best], model)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ("kind", "lr", "retries"), [("adamw", 3.0, 1), ("adamw", 30.0, 2), ("adamw", 3000.0, 3), ("sgd", 30.0, 2)]
)
def test_a_rate_far_too_high_is_taken_back_twice_at_most(kind, lr, retries):
    data, model = Pictures(noise=0.3), Net()
    schedule = replace(PLAIN, optimiser=kind, lr=lr, epochs=6, warmup=0.0)
    trained = _train(model, data=data, schedule=schedule, check=_check_on(data))
    told = [finding.message for finding in trained.findings if finding.check == "diverged"]
    assert len(told) == retries and f"at learning rate {lr:.3g} " in told[0]
    if retries == 3:
        assert trained.stopped == "diverged" and "gave up" in told[-1]
        return
    assert trained.stopped == "finished" and trained.lr == pytest.approx(lr * 0.1**retries)
    assert [epoch.number for epoch in trained.epochs] == list(range(7))
    lower = _train(Net(), data=data, schedule=replace(schedule, lr=trained.lr), check=_check_on(data))
    assert _facts(trained) == replace(_facts(lower), findings=trained.findings)  # as if begun at that rate


def test_a_rate_beyond_help_gives_up_with_the_start():
    model = Net()
    before = _state(model)
    schedule = replace(PLAIN, optimiser="sgd", lr=1e12, warmup=0.0, clip=None)
    trained = _train(model, schedule=schedule, check=_check_on(Pictures()))
    assert trained.stopped in ("diverged", "nan")
    assert trained.best == 0 and not _changed(before, model)


def test_batches_that_memory_refuses_go_in_halves_and_give_the_same():
    class Greedy(Net):
        def forward(self, x):
            if len(x) > self.most:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
            return super().forward(x)

    results = []
    for most in (8, 3, 0):
        model = Greedy()
        model.most, model.high[3].p = most, 0.0
        if most == 0:
            with pytest.raises(ModelError, match="single item"):
                _train(model)
            continue
        results.append((_train(model, schedule=replace(PLAIN, mixup=0.3)), model))
    (whole, one), (halved, other) = results
    assert (whole.parts, halved.parts) == (1, 4)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_batches_that_are_not_as_said_are_refused():
    class Longer(Pictures):
        def __len__(self):
            return 4

    with pytest.raises(DataError, match="3 in epoch 1"):
        _train(Net(), data=Longer())
    with pytest.raises(DataError, match="nothing to train on"):
        _train(Net(), data=Pictures(n=0))
    with pytest.raises(OptionError, match="lr"):
        _train(Net(), schedule=replace(PLAIN, lr=-1.0))


# --- time and precision -------------------------------------------------------------------------


class Timed(Net):
    """A network whose forward passes take time by a clock of their own."""

    def __init__(self, pace):
        super().__init__()
        self.pace, self.now, self.steps = pace, 0.0, 0

    def forward(self, x):
        self.steps += self.training
        self.now += self.pace(self.steps) if self.high.training else 0.5
        return super().forward(x)


@pytest.fixture
def on_its_clock(monkeypatch):
    """Train such a network, with its clock as the only one."""

    def run(model, *, seconds, **options):
        monkeypatch.setattr("headway.budget.time", SimpleNamespace(monotonic=lambda: model.now))
        for module in (train_module, _opening, _running):
            monkeypatch.setattr(module, "perf_counter", lambda: model.now)
        return _train(model, deadline=Deadline(seconds, started=model.now), **options)

    return run


@pytest.mark.parametrize(
    ("pace", "epochs"),
    [
        (lambda step: 0.1, (55, 60)),  # 60 epochs of 3 batches and a check take 48 s
        (
            lambda step: 0.1 if step < 30 else 0.3,
            (33, 39),
        ),  # slower than they looked: 7 s for 9 epochs, then 1.4 s an epoch
        (lambda step: 0.1 if step > 30 else 0.3, (45, 56)),  # or faster
        (lambda step: 0.01 if step < 5 else 0.02 * step, (10, 25)),  # slower and slower
    ],
)
def test_the_budget_is_kept_and_used_and_the_cosine_ends_with_it(on_its_clock, pace, epochs):
    model, data = Timed(pace), Pictures()
    trained = on_its_clock(model, seconds=50.0, data=data, schedule=replace(PLAIN, epochs=1000), check=_check_on(data))
    assert trained.stopped == "budget"
    assert epochs[0] <= len(trained.epochs) - 1 <= epochs[1]
    assert 44.0 < model.now <= 50.0
    assert trained.epochs[-1].lr < 0.01 * PLAIN.lr


def test_an_epoch_that_stalls_is_cut_in_time_with_the_rate_brought_down(on_its_clock):
    """An epoch is planned at 0.1 s a batch; from its tenth batch on they take ten times as long."""
    model, data, told = Timed(lambda step: 0.1 if step < 12 else 1.0), Pictures(n=120, batch=2), []
    trained = on_its_clock(
        model,
        seconds=20.0,
        data=data,
        schedule=replace(PLAIN, epochs=2),
        check=_check_on(data),
        progress=lambda *now: told.append(now[1]),
    )
    assert trained.stopped == "budget" and len(trained.epochs) == 2
    assert 15 < max(told) < 40 and 15.0 < model.now <= 20.0
    assert trained.epochs[1].lr < 0.05 * PLAIN.lr


def test_a_budget_for_nothing_trains_nothing_and_says_so(on_its_clock):
    model, data = Timed(lambda step: 2.0), Pictures()
    before = _state(model)
    trained = on_its_clock(model, seconds=8.0, data=data, check=_check_on(data))
    assert (trained.stopped, trained.best, len(trained.epochs)) == ("budget", 0, 1)
    assert not _changed(before, model)
    (finding,) = trained.findings
    assert finding.check == "no_epoch_fits" and "about 6.5 s" in finding.message


def test_a_pace_that_was_wrongly_measured_is_corrected_upwards(on_its_clock):
    """While it was measured another process had the processor: what seemed to be one epoch's time is that of all."""
    model, data = Timed(lambda step: 1.0 if step <= 5 else 0.1), Pictures(n=48, batch=4)
    trained = on_its_clock(model, seconds=20.0, data=data, schedule=replace(PLAIN, epochs=6), check=_check_on(data))
    assert (trained.stopped, len(trained.epochs)) == ("finished", 7)


def test_an_epoch_that_seems_not_to_fit_is_measured_once_more(on_its_clock):
    model, data = Timed(lambda step: 3.0 if step <= 2 else 0.1), Pictures()
    trained = on_its_clock(model, seconds=14.0, data=data, schedule=replace(PLAIN, epochs=2), check=_check_on(data))
    assert (trained.stopped, len(trained.epochs)) == ("finished", 3)
    assert not trained.findings


def test_a_budget_by_the_real_clock_is_kept():
    deadline, data = Deadline(1.0), Pictures()
    trained = _train(Net(), data=data, schedule=replace(PLAIN, epochs=100_000), deadline=deadline)
    assert trained.stopped == "budget" and len(trained.epochs) > 1
    assert deadline.elapsed < 3.0


def test_a_budget_that_does_not_bind_changes_nothing():
    models = [Net(), Net()]
    facts = [_facts(_train(model, deadline=limit)) for model, limit in zip(models, (None, Deadline(3600)), strict=True)]
    assert facts[0] == facts[1] and not _changed(_state(models[0]), models[1])


@pytest.mark.parametrize(("faster", "chosen"), [(0.5, "bf16"), (0.95, "f32")])
def test_auto_takes_bf16_only_where_it_measures_faster(monkeypatch, faster, chosen):
    clock = {"f32": 1.0, "bf16": faster}
    monkeypatch.setattr(_opening, "_seconds", lambda job, run, batch, precision: clock[precision])
    monkeypatch.setattr(_opening, "may_use_bf16", lambda device: True)
    model = Net()
    before = _state(model)
    long = replace(PLAIN, epochs=14, precision="auto")
    assert _train(model, schedule=long).precision == chosen
    assert _changed(before, model) == {*HIGH.names, *HEAD.names}
    assert _train(Net(), schedule=replace(long, epochs=13)).precision == "f32"  # 39 steps
    monkeypatch.setattr(_opening, "may_use_bf16", lambda device: False)
    assert _train(Net(), schedule=long).precision == "f32"


def test_measuring_the_pace_leaves_weights_and_statistics_alone():
    models = [Net(), Net()]
    for model, limit in zip(models, (None, Deadline(3600)), strict=True):
        _train(model, tuning=Tuning(model=model, groups=(HIGH, HEAD), norm_statistics="trained"), deadline=limit)
    assert not _changed(_state(models[0]), models[1])


def test_bf16_trains_nearly_alike():
    models = [Net(), Net()]
    for model, precision in zip(models, ("f32", "bf16"), strict=True):
        found = _train(model, schedule=replace(PLAIN, precision=precision))
        assert found.precision == precision
    assert models[1].head.weight.dtype == torch.float32
    assert 0 < (models[0].head.weight - models[1].head.weight).norm() < 0.1 * models[0].head.weight.norm()
    assert step.may_use_bf16(torch.device("cpu")) in (True, False)
