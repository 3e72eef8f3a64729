"""A training killed with SIGKILL at random moments, and taken up each time, ends as one that ran through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from headway.engine import _running, checkpoint
from headway.engine.losses import loss_for
from headway.engine.train import Checked, Schedule, train
from headway.types import ParamGroup, Tuning

# One process imports torch, and forks a child a training: ten imports would take longer than the ten trainings.
SCRIPT = """
import json, os, random, signal, sys, time, traceback
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from torch import nn
from headway.engine import _running
from headway.engine.losses import loss_for
from headway.engine.train import Checked, Schedule, train
from headway.types import ParamGroup, Tuning

torch.set_num_threads(1)
_running.SAVE_SECONDS = 0.01
LOSS = loss_for("softmax")
DATA = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3, 6, 6))).float()
LABELS = DATA.mean((2, 3)).argmax(1)

class Slow:
    def __len__(self):
        return 5
    def epoch(self, number):
        order = np.random.default_rng(number).permutation(40)
        for rows in order.reshape(5, 8):
            time.sleep(0.004)
            yield DATA[rows], LABELS[rows]

def run(out, at):
    torch.manual_seed(0)
    low = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
    model = nn.Sequential(low, nn.Flatten(), nn.Linear(128, 3))
    names = [name for name, _ in model.named_parameters()]
    def regroup(epoch, epochs):
        return (ParamGroup(names=tuple(names[2:] if epoch < 3 else names), lr_scale=0.5),)
    def check(found):
        scores = found(DATA + 0.3)
        return Checked(loss=float(LOSS(scores, LABELS)), score=float((scores.argmax(1) == LABELS).float().mean()))
    tuning = Tuning(model=model, groups=regroup(0, 1), regroup=regroup, norm_statistics="trained")
    schedule = Schedule(optimiser=OPTIMISER, lr=0.02, epochs=14, patience=None, precision="f32", ema=0.8, mixup=0.3)
    trained = train(tuning, batches=Slow(), loss=LOSS, schedule=schedule, seed=1, check=check, checkpoint=at)
    record = asdict(trained)
    del record["seconds"]
    for epoch in record["epochs"]:
        del epoch["seconds"]
    weights = {name: tensor.flatten().tolist() for name, tensor in model.state_dict().items()}
    out.write_text(json.dumps({"record": record, "weights": weights}))

def forked(out, at, after=None):
    child = os.fork()
    if child == 0:
        try:
            run(out, at)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a training failed")
    return status

torch.optim.SGD([nn.Parameter(torch.zeros(1))])  # its first one imports half of torch
folder, OPTIMISER = Path(sys.argv[1]), sys.argv[2]
chance = random.Random(sys.argv[2])
began = time.monotonic()
forked(folder / "through.json", folder / "through")
whole = time.monotonic() - began
killed = 0
while killed < 10:
    status = forked(folder / "killed.json", folder / "killed", chance.uniform(0.03, 0.2) * whole)
    if os.WIFSIGNALED(status):
        killed += 1
    else:  # it was quicker than the kill: once more from the beginning
        (folder / "killed").unlink(missing_ok=True)
        (folder / "killed.json").unlink(missing_ok=True)
forked(folder / "killed.json", folder / "killed")
"""


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_ten_kills_end_as_none(tmp_path, optimiser):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), optimiser], check=True, env=environment, timeout=200)
    through, killed = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("through", "killed"))
    assert len(through["record"]["epochs"]) == 15 and through["record"]["best"] > 3
    assert killed["record"] == through["record"]
    assert killed["weights"] == through["weights"]
    assert not list(tmp_path.glob(".killed*"))


LOSS = loss_for("softmax")
X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
PLAIN = Schedule(lr=0.05, epochs=3, patience=None, precision="f32")


class Batches:
    def __init__(self, *, stop_at=None, shift=0.0):
        self.stop_at, self.shift, self.asked = stop_at, shift, []

    def __len__(self):
        return 4

    def epoch(self, number):
        for b in range(4):
            self.asked.append((number, b))
            if (number, b) == self.stop_at:
                raise KeyboardInterrupt
            yield X[b::4] + self.shift, Y[b::4]


def _check(model):
    return Checked(loss=LOSS(model(X), Y).item(), score=(model(X).argmax(1) == Y).float().mean().item())


def _train(at, batches, *, schedule=PLAIN, seed=0, scale=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.mul_(scale)
    names = tuple(name for name, _ in model.named_parameters())
    tuning = Tuning(model=model, groups=(ParamGroup(names=names),))
    trained = train(tuning, batches=batches, loss=LOSS, schedule=schedule, seed=seed, check=_check, checkpoint=at)
    return replace(trained, seconds=0.0, epochs=tuple(replace(epoch, seconds=0.0) for epoch in trained.epochs)), model


def _interrupted(at: Path, stop_at=(2, 2)) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(at, Batches(stop_at=stop_at))
    assert at.exists()


def test_within_an_epoch_it_goes_on_at_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(_running, "SAVE_SECONDS", 0.0)
    _interrupted(tmp_path / "c")
    assert checkpoint.load(tmp_path / "c").facts["batch"] == 2
    through, one = _train(None, Batches())
    resumed, other = _train(tmp_path / "c", Batches())
    assert resumed == through
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_finished_training_is_not_trained_again(tmp_path):
    once, one = _train(tmp_path / "c", Batches())
    batches = Batches()
    again, other = _train(tmp_path / "c", batches)
    assert again == once and batches.asked == [(1, 0)]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    "change",
    [{"schedule": replace(PLAIN, lr=0.04)}, {"seed": 1}, {"scale": 1.5}, {"batches": Batches(shift=0.5)}],
)
def test_a_checkpoint_of_something_else_is_ignored_and_said(tmp_path, change):
    _interrupted(tmp_path / "c")
    asked = {"batches": Batches(), **change}
    found, _ = _train(tmp_path / "c", **asked)
    assert [finding.check for finding in found.findings] == ["checkpoint_ignored"]
    assert "other settings" in found.findings[0].message
    fresh, _ = _train(None, **asked)
    assert found == replace(fresh, findings=found.findings)


def test_a_damaged_checkpoint_is_ignored_and_said(tmp_path):
    _interrupted(tmp_path / "c")
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:-100])
    found, _ = _train(tmp_path / "c", Batches())
    assert "cannot be read" in found.findings[0].message and found.stopped == "finished"


def test_a_disk_that_refuses_does_not_end_the_training(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", refuse)
    found, _ = _train(tmp_path / "c", Batches())
    assert found.stopped == "finished" and len(found.epochs) == 4
    assert [finding.check for finding in found.findings] == ["checkpoint_refused"]
    assert "No space left" in found.findings[0].message
