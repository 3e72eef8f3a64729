"""The whole way: the same records every time, an honest verdict, the better arm kept, interruptions survived."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from headway import backbones
from headway.data.read import read
from headway.engine.pool import open_network
from headway.errors import OptionError
from headway.features.store import Store
from headway.recipe import rank

# --- the same every time ------------------------------------------------------------------------


def test_the_manifest_says_what_the_contract_promises(quick, pictures, tmp_path):
    run = quick(pictures.coloured(120), tmp_path / "run", seed=3)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest == run.manifest
    assert {"task", "classes", "chosen", "test", "verdict", "ranking", "timings", "seed", "versions", "data"} <= set(
        manifest
    )
    assert {"backbones", "method"} <= set(manifest["chosen"])
    assert set(manifest["verdict"]) >= {"outcome", "effect", "low", "high", "p", "against", "metric", "arms"}
    assert set(manifest["verdict"]["arms"]) == {"transfer", "classical", "random", "prior"}
    assert set(manifest["test"]) == {"balanced_accuracy", "accuracy", "macro_f1", "log_loss", "ece"}
    assert all(m["low"] <= m["value"] <= m["high"] for m in manifest["test"].values())
    assert (manifest["seed"], manifest["cut"], manifest["data"]["items"]) == (3, {}, 120)
    assert manifest["data"]["train"] + manifest["data"]["test"] == 120
    assert sum(manifest["data"]["per_class"].values()) == 120
    records = run.records()
    assert {r.arm for r in records} == {"transfer", "classical", "random", "prior"}
    for arm in ("transfer", "classical", "random", "prior"):
        tested = {r.metric: r.value for r in records if r.arm == arm and r.split == "test"}
        assert set(tested) == set(manifest["test"])
        assert tested["balanced_accuracy"] == manifest["verdict"]["arms"][arm]["value"]
        assert {r.fold for r in records if r.arm == arm and r.split == "val"} == set(range(5))


def test_records_are_the_same_cold_warm_and_in_any_order_of_creation(quick, fresh_cache, pictures, tmp_path):
    images, y = pictures.coloured(120)
    folders = [f"class {label}".encode() for label in y]
    first = pictures.save(images, folders, tmp_path / "data")
    cold = quick(first, tmp_path / "cold", models=[pictures.NETWORK, "random:test_vit@3"])
    warm = quick(first, tmp_path / "warm", models=[pictures.NETWORK, "random:test_vit@3"])
    order = np.random.default_rng(1).permutation(120).tolist()
    shuffled = pictures.save(images, folders, tmp_path / "shuffled/data", order=order)
    shutil.rmtree(fresh_cache / "features")
    (fresh_cache / "content.sqlite").unlink()
    again = quick(shuffled, tmp_path / "again", models=[pictures.NETWORK, "random:test_vit@3"])
    assert cold.manifest["cut"] == warm.manifest["cut"] == again.manifest["cut"] == {}
    assert pictures.records_of(cold) == pictures.records_of(warm) == pictures.records_of(again)
    assert pictures.said_of(cold) == pictures.said_of(warm) == pictures.said_of(again)
    assert len(pictures.records_of(cold)) > 100


def test_another_seed_draws_another_split(quick, pictures, tmp_path):
    data = pictures.coloured(120)
    first, second = (quick(data, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert pictures.records_of(first) != [replace(r, seed=0) for r in pictures.records_of(second)]


def test_networks_that_were_not_chosen_never_see_the_test_set(quick, fresh_cache, pictures, tmp_path):
    images, y = pictures.coloured(120)
    folders = [f"{'test' if row % 3 == 0 else 'train'}/{label}".encode() for row, label in enumerate(y)]
    root = pictures.save(images, folders, tmp_path / "data")
    run = quick(root, tmp_path / "run", models=[pictures.NETWORK, "random:test_vit@3"])
    best = max((c for c in run.manifest["contenders"] if c["arm"] == "transfer"), key=lambda c: c["validation"])
    store = Store(fresh_cache / "features")
    dataset = read(root)
    test = np.array([part == "test" for part in dataset.parts])
    seen = {}
    for name in (pictures.NETWORK, "random:test_vit@3"):
        member = open_network(backbones.open(name, offline=True), device="cpu", cache=fresh_cache / "networks")
        have = store.have(member.frozen.key, dataset.digests)
        assert have[~test].all()
        seen[member.spec.name] = have[test].any()
    assert seen == {name: name in best["backbones"] for name in seen}
    assert False in seen.values(), "both networks were chosen: the test shows nothing"


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 1.5}, {"budget": "soon"}, {"budget": 0}])
def test_options_are_checked_before_anything_is_done(options, quick, pictures, tmp_path):
    with pytest.raises(OptionError):
        quick(pictures.coloured(40), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


# --- which arm is kept --------------------------------------------------------------------------


def test_where_doing_without_transfer_is_better_that_is_what_is_kept(quick, pictures, tmp_path):
    run = quick(pictures.coloured(160), tmp_path / "run")
    assert run.manifest["verdict"]["outcome"] == "harms"
    assert run.manifest["verdict"]["against"] == "classical"
    assert run.manifest["verdict"]["high"] < 0
    assert run.manifest["chosen"]["arm"] == "classical"
    assert run.manifest["chosen"]["backbones"] == []
    assert run.manifest["test"]["balanced_accuracy"] == run.manifest["verdict"]["arms"]["classical"]
    assert not (tmp_path / "run/model/networks").exists()
    fresh, truth = pictures.coloured(80, seed=9)
    predicted = run.predict(fresh)
    assert (np.array(predicted.labels) == [str(label) for label in truth]).mean() > 0.9
    _predicts_alike_without_torch(run, fresh, predicted.probabilities, tmp_path)


def test_the_saved_network_is_the_one_that_was_chosen(quick, fresh_cache, pictures, tmp_path, monkeypatch):
    """The arm of random weights has a network of the same name as a random one that the user asked for."""
    images, y = pictures.coloured(160)
    grey = np.repeat(images.mean(3, keepdims=True).astype(np.uint8), 3, axis=3)
    ramp = np.linspace(0, 120, 48).astype(np.uint8)
    patterns = np.where((y % 2 == 0)[:, None, None, None], grey // 2 + ramp[:, None], grey // 2 + ramp[:, None, None])
    labels = np.where(y % 2 == 0, "across", "down")
    monkeypatch.setattr("headway.recipe.proof.decide", _always("helps"))
    run = quick((patterns, labels), tmp_path / "run")
    assert run.manifest["chosen"]["arm"] == "transfer"
    assert "@7" in json.loads((tmp_path / "run/model/model.json").read_text())["networks"][0]["name"]
    tested = {r.metric: r.value for r in run.records() if r.arm == "transfer" and r.split == "test"}
    found = (np.array(run.predict(patterns).labels) == labels).mean()
    assert found > 0.95 >= 0.5
    assert tested["accuracy"] > 0.9


def _always(outcome):
    from headway.evaluate.verdict import decide

    def say(*arguments, **options):
        return replace(decide(*arguments, **options), outcome=outcome)

    return say


def _predicts_alike_without_torch(run, pixels, expected, tmp_path):
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys, numpy as np\n"
        "from headway.run import open_run\n"
        "np.save(sys.argv[3], open_run(sys.argv[1]).predict(np.load(sys.argv[2])).probabilities)\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'matplotlib', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    paths = [str(tmp_path / name) for name in ("pixels.npy", "found.npy")]
    subprocess.run([sys.executable, "-c", code, str(run.path), *paths], check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def test_a_run_of_a_network_predicts_without_torch(quick, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("headway.recipe.proof.decide", _always("helps"))
    run = quick(pictures.coloured(160), tmp_path / "run")
    assert run.manifest["chosen"]["arm"] == "transfer"
    for n in (3, 40):  # one by one, and in batches
        fresh, _ = pictures.coloured(n, seed=n)
        _predicts_alike_without_torch(run, fresh, run.predict(fresh).probabilities, tmp_path)


# --- ranking ------------------------------------------------------------------------------------


def test_rank_is_the_same_every_time_and_looks_at_no_test_item(fresh_cache, pictures, tmp_path):
    images, y = pictures.coloured(120, 4)
    folders = [f"{'test' if row % 4 == 0 else 'train'}/{label}".encode() for row, label in enumerate(y)]
    root = pictures.save(images, folders, tmp_path / "data")
    networks = [pictures.NETWORK, "random:test_vit@3"]
    first, again = (rank(root, models=networks) for _ in range(2))
    assert first.items == 90
    assert [replace(line, seconds=0) for line in first.lines] == [replace(line, seconds=0) for line in again.lines]
    assert {line.backbone for line in first.lines} == {
        "random:test_efficientnet.r160_in1k",
        "random:test_vit.r160_in1k",
    }
    for path in (root / "test").rglob("*.png"):
        path.unlink()
    shutil.rmtree(root / "test")
    assert [line.scores for line in rank(root, models=networks).lines] == [line.scores for line in first.lines]
