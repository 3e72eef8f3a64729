"""Every method through the training loop that the product uses."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from headway import plugins
from headway.engine.train import Checked, Schedule, train

_spec = importlib.util.spec_from_file_location("tunables", Path(__file__).with_name("tunables.py"))
tunables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tunables)
METHODS = [
    name
    for name in plugins.names("adapt")
    if (found := plugins.load("adapt", name).METHOD).works_on == "model" and found.head != "refit"
]
LOSS = nn.functional.cross_entropy


class Batches:
    def __init__(self, network):
        self.found = tunables.sampler(network)()

    def __len__(self):
        return len(self.found)

    def epoch(self, number):
        return iter(self.found)


def _check(network):
    x, y = tunables.inputs(network, n=24, seed=5)

    def check(model):
        with torch.no_grad():
            loss = float(LOSS(model(x), y))
        return Checked(loss=loss, score=-loss)

    return check


@pytest.mark.parametrize("network", ["plain", "vit", "bert"])
@pytest.mark.parametrize("name", METHODS)
def test_two_epochs_leave_the_given_network_tuned_and_merged(name, network):
    model = tunables.build(network)
    before = copy.deepcopy(model.state_dict())
    tuning = plugins.load("adapt", name).METHOD.tune(model, sample=tunables.sampler(network), loss=LOSS, seed=0)
    check = _check(network)
    at_first = check(model.eval())
    schedule = Schedule(epochs=2, lr=3e-4, precision="f32")
    trained = train(tuning, batches=Batches(network), loss=LOSS, schedule=schedule, seed=0, check=check)
    after = model.state_dict()
    assert trained.stopped == "finished"
    assert trained.trainable == tuning.params["trainable"]
    assert [epoch.number for epoch in trained.epochs] == [0, 1, 2]
    assert list(after) == list(before)
    best = min([at_first.loss, *(epoch.val_loss for epoch in trained.epochs)])
    assert check(model).loss == pytest.approx(best, abs=1e-4)
    assert best < at_first.loss
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    statistics = {key for key in moved if "running" in key or "num_batches" in key}
    assert bool(statistics) == (name == "scratch" and network == "plain")
    assert {"head.weight", "head.bias"} <= moved
    if name == "bitfit":
        assert all(key.endswith("bias") for key in moved - {"head.weight"})
