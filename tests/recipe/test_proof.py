"""The verdict says that transfer helps where it does, and not where labels are chance."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from headway.evaluate import contenders
from headway.evaluate.contenders import Arena, Entrant
from headway.evaluate.loop import validate
from headway.features.store import Store
from headway.recipe import fit
from headway.recipe.proof import prove
from headway.tasks.classification import METRICS, PRIMARY

CLASSES, TRAIN, TEST = 4, 200, 120


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A store with features of a good network, of the same with random weights, and classical ones; results on them."""
    rng = np.random.default_rng(0)
    n = TRAIN + TEST
    y = np.arange(n) % CLASSES
    digests = rng.integers(0, 256, (n, 16), dtype=np.uint8)
    store, centres = Store(tmp_path_factory.mktemp("store")), rng.normal(size=(CLASSES, 30))
    for key, apart in (("good", 0.9), ("drawn", 0.15), ("classical", 0.3)):
        X = (rng.normal(size=(n, 30)) + apart * centres[y]).astype(np.float32)
        store.put(key, digests, {"0": X})
    folds = rng.permutation(TRAIN) % 5
    arena = Arena(
        store=store, digests=digests[:TRAIN], y=y[:TRAIN], classes=CLASSES, folds=folds, groups=np.arange(TRAIN)
    )
    network = {"stages": ("embedding",), "dims": (30,)}
    entered = [
        contenders.of_networks("transfer", [Entrant(name="good", key="good", **network)], "ridge", arena=arena),
        contenders.of_networks("random", [Entrant(name="drawn", key="drawn", **network)], "ridge", arena=arena),
        contenders.classical("classical", 30, arena=arena),
        contenders.prior(arena=arena),
    ]
    results = [validate(contender, metrics=METRICS, primary=PRIMARY, seed=0) for contender in entered]
    return results, digests[TRAIN:], y[TRAIN:]


def _prove(embedded, y=None, *, swap=False, seed=0):
    (transfer, drawn, *rest), digests, truth = embedded
    if swap:  # as if the good network had been the one with random weights
        transfer, drawn = (
            replace(result, contender=replace(result.contender, arm=arm))
            for result, arm in ((drawn, "transfer"), (transfer, "random"))
        )
    return prove(transfer, [drawn, *rest], digests=digests, y=truth if y is None else y, seed=seed)


def test_a_transfer_that_helps_is_said_to_and_kept(embedded):
    proof = _prove(embedded)
    assert proof.verdict.outcome == "helps"
    assert proof.shipped is proof.transfer
    assert proof.verdict.low > 0
    values = {record.arm: record.value for record in proof.records if record.metric == PRIMARY}
    assert proof.verdict.effect == pytest.approx(values["transfer"] - values[proof.verdict.against])
    assert {record.split for record in proof.records} == {"test"}


def test_permuted_test_labels_never_make_it_help(embedded):
    _, _, truth = embedded
    outcomes = [
        _prove(embedded, np.random.default_rng(s).permutation(truth), seed=s).verdict.outcome for s in range(20)
    ]
    assert "helps" not in outcomes


def test_an_arm_that_is_better_is_what_is_kept(embedded):
    proof = _prove(embedded, swap=True)
    assert proof.verdict.outcome == "harms"
    assert proof.shipped.contender.arm == proof.verdict.against == "random"
    assert proof.test[PRIMARY].value == proof.verdict.arms["random"].value


def test_undecided_keeps_the_cheaper_arm_only_where_validation_says_it_is_as_good(embedded):
    results, digests, truth = embedded
    chance = np.random.default_rng(3).permutation(truth)
    assert _prove(embedded, chance).verdict.outcome != "helps"
    assert _prove(embedded, chance).shipped.contender.arm == "transfer"  # it validated far better
    transfer, drawn, classical, prior = results
    even = replace(classical, score=transfer.score)
    proof = prove(transfer, [drawn, even, prior], digests=digests, y=chance, seed=0)
    assert proof.verdict.outcome != "helps"
    assert proof.shipped.contender.arm == "classical"


def test_labels_permuted_in_the_users_own_test_part_do_not_help(fresh_cache, pictures, tmp_path):
    images, y = pictures.coloured(120, 4)
    pictures.save(images, [b"images"] * 120, tmp_path)
    part = np.array(["test" if row % 3 == 0 else "train" for row in range(120)])
    labels = y.copy()
    labels[part == "test"] = np.random.default_rng(0).permutation(labels[part == "test"])
    with (tmp_path / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        table.writerows([f"images/{row:04d}.png", f"c{labels[row]}", part[row]] for row in range(120))
    run = fit(tmp_path / "table.csv", out=tmp_path / "run", models=[pictures.NETWORK], label="label", method="probe")
    assert run.manifest["data"]["test"] == 40
    assert run.manifest["verdict"]["outcome"] != "helps"
    assert run.manifest["test"]["balanced_accuracy"]["value"] < 0.6


@pytest.mark.slow
@pytest.mark.samples
def test_the_edge_tuned_network_is_not_said_to_help(fresh_cache, tmp_path):
    """Features tuned to find edges tell photographs apart worse than colour histograms do."""
    from headway import samples

    folder = samples.build("stamp7", tmp_path / "stamp7")
    run = fit(folder, out=tmp_path / "run", models=["packaged:vgg16.edges"], budget=280, method="probe")
    assert run.manifest["ranking"][0]["backbone"] == "packaged:vgg16.edges"
    assert run.manifest["verdict"]["outcome"] != "helps"
