"""The arm from scratch is a fair opponent: the tuned network's architecture, views, loop and time; and it is there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest

import headway.engine.train
import headway.recipe.scratch
from headway import backbones
from headway.budget import Deadline
from headway.engine.pool import open_network
from headway.evaluate import contenders
from headway.evaluate.contenders import Arena
from headway.evaluate.loop import validate
from headway.features.embed import embed
from headway.features.store import Store
from headway.recipe.embedding import entrant
from headway.recipe.ground import Ground
from headway.recipe.ladder import Climb
from headway.recipe.pin import pinned
from headway.recipe.scratch import FAIR, PARTS, reserved, scratch_arm
from headway.recipe.session import Session
from headway.recipe.transfer import Beyond, Climbing
from headway.recipe.views import open_views

TRAIN, TEST, CLASSES = 60, 20, 2
STAMPS = 15  # a class
GIVEN = 40.0  # seconds that tuning is said to have taken


@pytest.fixture(scope="module")
def stage(tmp_path_factory, pictures):
    """A data set, a small network with its features, and a function that lets the arm run on them."""
    from headway.data.dataset import take
    from headway.data.read import read

    root = tmp_path_factory.mktemp("stage")
    dataset = read(pictures.coloured(TRAIN + TEST, CLASSES))
    own = open_network(backbones.open(pictures.NETWORK, offline=True), device="cpu", cache=root / "networks")
    training, testing = (take(dataset, rows) for rows in (np.arange(TRAIN), np.arange(TRAIN, TRAIN + TEST)))
    store = Store(root / "store")
    embed(training, [own.frozen], store=store, deadline=Deadline(120))
    arena = Arena(
        store=store,
        digests=training.digests,
        y=training.targets,
        classes=CLASSES,
        folds=np.arange(TRAIN) % 5,
        groups=np.arange(TRAIN),
    )

    def run(*, seconds=300.0, method=None, tuned=True, took=GIVEN):
        session = Session(
            deadline=Deadline(seconds), seed=0, device="cpu", offline=True, strict=False, progress=None,
            cache=root / "cache", store=store,
        )  # fmt: skip
        on = Climbing(training=training, arena=arena, session=session, work=root / "work", pin=pinned(method, None))
        probe = validate(
            contenders.of_networks("transfer", [entrant(own)], "ridge", arena=arena),
            metrics=("balanced_accuracy",),
            primary="balanced_accuracy",
            seed=0,
        )
        found = Beyond(best=probe, climbed=Climb(), seconds=took)
        if tuned:
            found.climbed.tuned = SimpleNamespace(candidate=SimpleNamespace(member=own))
            found.ground = Ground(
                arena=arena, views=open_views(training, own, arena, session), session=session, work=on.work
            )
        started = perf_counter()
        arm = scratch_arm(on, [own], found, testing=testing)
        return SimpleNamespace(arm=arm, session=session, found=found, seconds=perf_counter() - started)

    return SimpleNamespace(run=run, own=own, arena=arena)


@pytest.fixture(scope="module")
def trained(stage):
    """One run of the arm, and every training that it asked the one loop for."""
    calls, loop = [], headway.engine.train.train

    def spy(tuning, /, **options):
        calls.append(options | {"trainable": sum(len(group.names) for group in tuning.groups), "model": tuning.model})
        return loop(tuning, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headway.engine.train, "train", spy)
        patch.setattr(headway.recipe.scratch, "ENOUGH", 2)  # epochs: a busy machine is to have its curve too,
        patch.setattr(headway.recipe.scratch, "EPOCHS", 15)  # and no test is to depend on how fast this one is
        ran = stage.run()
    return ran, calls


def test_it_learns_from_all_rows_and_is_judged_by_one_that_did_not_see_the_fold(trained, stage):
    ran, calls = trained
    (result,) = ran.arm.results
    rows = [set(call["batches"].rows.tolist()) for call in calls]
    fold = set(np.flatnonzero(stage.arena.folds == 0).tolist())
    assert rows[-1] == set(range(TRAIN))
    assert rows[0] == set(range(TRAIN)) - fold
    assert all(not fold & used for used in rows[:-1])
    assert set(np.flatnonzero(result.contender.arena.folds >= 0).tolist()) == fold
    assert (result.contender.arm, result.contender.method.name) == ("scratch", "scratch")


def test_views_loop_and_loss_are_those_of_tuning_and_nothing_is_frozen(trained, stage):
    ran, calls = trained
    policy = ran.found.ground.views.policy
    for call in calls:
        pixels = call["batches"].activations.pixels
        assert (pixels.policy, pixels.seed) == (policy, ran.session.seed)
        assert call["batches"].activations.network is None
        assert call["schedule"] == calls[0]["schedule"]
        assert call["trainable"] == len(list(call["model"].parameters()))
    (result,), (member,) = ran.arm.results, ran.arm.members
    assert member.spec.arch == stage.own.spec.arch
    assert member.spec.params == stage.own.spec.params
    assert result.adapted.params["views"] >= 6


def test_random_views_of_its_side_show_the_same_crops(trained):
    """A view is decided by item, number and seed alone: at the network's own side they are tuning's, pixel by pixel."""
    ran, calls = trained
    views = ran.found.ground.views
    own = views.at(SimpleNamespace(spec=SimpleNamespace(input=calls[0]["batches"].activations.pixels.expects)), None,
                   epochs=3)  # fmt: skip
    rows = np.arange(5)
    for view in range(4):
        assert (own.read(rows, view) == calls[0]["batches"].activations.read(rows, view)).all()


def test_it_takes_as_long_as_tuning_took_and_no_longer(trained):
    ran, calls = trained
    (result,) = ran.arm.results
    training = ran.session.timings["from scratch"]
    assert training <= 1.1 * GIVEN + 5
    epochs, most = result.adapted.params["epochs"], calls[0]["schedule"].epochs
    assert 1 <= epochs <= most
    assert result.adapted.params["side"] == 64  # of pictures with 48 pixels a side


def test_its_curve_stands_on_nested_parts(trained, stage):
    ran, calls = trained
    assert ran.arm.curve is not None, ran.arm.why
    learnt = np.count_nonzero(stage.arena.folds != 0)
    assert ran.arm.curve.sizes.tolist() == [*(round(share * learnt) for share in PARTS), learnt]
    smaller = [set(call["batches"].rows.tolist()) for call in calls[1:-1]]
    assert all(a < b for a, b in pairwise([*smaller, set(calls[0]["batches"].rows.tolist())]))
    assert ran.arm.curve.items.shape == (1, 4, np.count_nonzero(stage.arena.folds == 0))


def test_it_learns(trained):
    ran, _ = trained
    assert ran.arm.results[0].score > 0.75  # of two classes


def test_it_is_there_where_nothing_was_tuned(stage):
    ran = stage.run(tuned=False, took=0.0, seconds=40)
    assert len(ran.arm.results) == 1
    assert ran.session.deadline.remaining > 0
    assert "scratch" not in ran.session.cut


def test_it_is_not_there_where_networks_were_to_stay_frozen_or_time_is_short(stage):
    ran = stage.run(method="probe", tuned=False)
    assert ran.arm.results == [] and ran.arm.curve is None and "frozen" in ran.arm.why
    assert "scratch" not in ran.session.cut
    ran = stage.run(seconds=8)
    assert ran.arm.results == [] and "budget" in ran.session.cut["scratch"]


def test_less_time_than_tuning_took_is_said(stage):
    ran = stage.run(took=100.0, seconds=25)
    assert len(ran.arm.results) == 1
    assert "where tuning took 100 s" in ran.session.cut["scratch"]


def test_time_is_kept_for_it_unless_a_probe_was_pinned():
    long, short = (SimpleNamespace(deadline=Deadline(seconds)) for seconds in (60, 6))
    assert reserved(pinned(None, None), long) > 0 == reserved(pinned("probe", None), long)
    assert reserved(pinned(None, None), short) <= 3 < FAIR


@pytest.mark.slow  # by the clock: a minute on a machine that is not loaded
def test_a_fit_in_a_minute_has_its_arm_from_scratch_and_keeps_its_budget(quick, pictures, tmp_path):
    quick((pictures.distinct(20), np.arange(20) % 2), tmp_path / "first")  # converted and compiled
    run = quick(pictures.coloured(120, 4), tmp_path / "run", method=None, budget=60)
    assert "scratch" in run.manifest["verdict"]["arms"], run.manifest["cut"]
    assert run.manifest["timings"]["total"] <= 1.1 * 60 + 5
    scratch = next(line for line in run.manifest["contenders"] if line["arm"] == "scratch")
    assert scratch["validation"] > 0.5
    assert {"labels", "low", "high", "beyond", "why", "points"} == set(run.manifest["data_value"]["catch_up"])


@pytest.mark.slow
@pytest.mark.samples
def test_a_network_tuned_to_find_edges_does_not_help_and_scratch_is_among_its_opponents(fresh_cache, tmp_path):
    """Features tuned to find edges tell photographs apart worse than colour histograms do."""
    from headway import samples
    from headway.recipe import fit

    folder = samples.build("stamp7", tmp_path / "stamp7")
    for kind in filter(Path.is_dir, folder.iterdir()):  # fewer: sixteen layers of 512 maps take their time
        for picture in sorted(kind.iterdir())[STAMPS:]:
            picture.unlink()
    run = fit(folder, out=tmp_path / "run", models=["packaged:vgg16.edges"], budget=200)
    assert run.manifest["ranking"][0]["backbone"] == "packaged:vgg16.edges"
    assert "scratch" in run.manifest["verdict"]["arms"], run.manifest["cut"]
    assert run.manifest["verdict"]["outcome"] != "helps"
