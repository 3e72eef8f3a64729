"""The ladder on a machine that others use: what seemed too slow is measured again, and a plan outlives its process."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from headway.budget import Deadline
from headway.recipe import ladder
from headway.recipe.pace import pace_of
from headway.recipe.plan import PLAN, planned, settled

N, WANTED = 100, 8


@pytest.fixture
def standing(monkeypatch, tmp_path):
    """The ground of 100 items, paces that are told one after the other, and the epochs that were asked for."""
    told, asked = [], []
    trial = SimpleNamespace(
        rows=np.arange(4), scores={1.0: np.eye(4, 2)}, epochs=(0, 1), seconds=1.0, findings=(), stopped="finished"
    )

    def explored(candidate, ground, *, epochs, deadline):
        asked.append(epochs)
        return trial

    monkeypatch.setattr(ladder, "pace", lambda candidate, ground: told.pop(0))
    monkeypatch.setattr(ladder, "explore", explored)
    ground = SimpleNamespace(
        arena=SimpleNamespace(y=np.arange(N) % 2),
        work=tmp_path / "work",
        views=SimpleNamespace(cost=lambda *where, epochs: 0.0),
        session=SimpleNamespace(cut={}, findings=[]),
    )
    return ground, told, asked


def rungs(ground, labels, *, seconds=100.0):
    """A first round over candidates of these labels."""
    candidates = [
        SimpleNamespace(
            label=label, rung="full", cut=None, method=SimpleNamespace(name="full"),
            member=SimpleNamespace(spec=SimpleNamespace(name=label)),
        )
        for label in labels
    ]  # fmt: skip
    found, whole = ladder.Climb(), Deadline(seconds)
    ladder._first_round(candidates, ground, found, base=0.4, probe=SimpleNamespace(score=0.5), whole=whole)
    return found.rungs


def test_a_rung_that_seemed_too_slow_gets_a_second_chance(standing):
    ground, told, asked = standing
    told += [0.2, 0.01, 0.02]  # 45 s to explore in: 4 epochs of 100 items at 0.2 s are 80 s
    assert [rung.state for rung in rungs(ground, ["a", "b"])] == ["climbed", "climbed"]
    assert asked == [WANTED, WANTED] and not told and not ground.session.cut


def test_one_that_is_too_slow_by_far_does_not_cost_a_second_look(standing):
    ground, told, asked = standing
    told += [2.0, 0.01]
    assert [rung.state for rung in rungs(ground, ["a", "b"])] == ["skipped", "climbed"]
    assert asked == [WANTED] and list(ground.session.cut) == ["a"]


def test_still_too_slow_at_the_second_look_is_skipped(standing):
    ground, told, _ = standing
    told += [0.2, 0.2]
    (rung,) = rungs(ground, ["a"])
    assert (rung.state, rung.why) == ("skipped", "it did not fit the budget")
    assert list(ground.session.cut) == ["a"] and not told


@pytest.mark.parametrize("later", [0.001, 0.08, 5.0])
def test_a_fit_that_is_taken_up_trains_as_many_epochs_as_it_began_with(standing, later):
    ground, told, asked = standing
    told += [0.08, later, later]
    for _ in range(2):
        rungs(ground, ["a"])
    assert asked == [5, 5]  # 45 s, 8 s an epoch


def test_the_pace_is_corrected_by_what_a_training_took():
    trial = SimpleNamespace(epochs=(0, 1, 2, 3, 4), seconds=20.0)
    assert pace_of(trial, N) == pytest.approx(0.05)
    assert pace_of(SimpleNamespace(epochs=(0,), seconds=1.0), N) is None


def test_a_plan_outlives_its_process_and_a_broken_one_is_none(tmp_path):
    work = tmp_path / "work"
    assert planned(work, "a") is None
    assert settled(work, "a", lambda: 3) == 3
    assert settled(work, "b", lambda: 0) == 0
    assert [settled(work, name, lambda: 9) for name in ("a", "b", "c")] == [3, 0, 9]
    (work / PLAN).write_text("{")
    assert settled(work, "a", lambda: 4) == 4


def test_a_plan_that_cannot_be_kept_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert settled(tmp_path / "file" / "work", "a", lambda: 3) == 3


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_torch_is_told_not_to_spin_before_it_is_loaded(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = (
        "import sys, os, headway.recipe\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({"OMP_WAIT_POLICY": given} if given else {}),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert found.stdout.strip() == expected, found.stderr
