"""The whole way: the same records every time, an honest verdict, the better arm kept, interruptions survived."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from headway.budget import Deadline
from headway.errors import DataError, OptionError, RunError, StorageError
from headway.recipe import fit, rank
from headway.run import open_run

RECORDS = "records.jsonl"


@pytest.fixture
def quick(fresh_cache, pictures):
    """Fit with the small network, enough time for everything, and an empty feature store."""

    def run(data, out, **options):
        return fit(data, out=out, **{"models": [pictures.NETWORK], "budget": 120, **options})

    return run


def _records(run):
    return [replace(record, seconds=0.0) for record in run.records()]


def _said(run):
    """The parts of a manifest that time does not enter."""
    kept = {
        key: run.manifest[key] for key in ("classes", "chosen", "test", "verdict", "cut", "findings", "data", "seed")
    }
    ranking = [{k: v for k, v in line.items() if k != "seconds"} for line in run.manifest["ranking"]]
    contenders = [{k: v for k, v in line.items() if k != "seconds"} for line in run.manifest["contenders"]]
    return {**kept, "ranking": ranking, "contenders": contenders}


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
    assert _records(cold) == _records(warm) == _records(again)
    assert _said(cold) == _said(warm) == _said(again)
    assert len(_records(cold)) > 100


def test_another_seed_draws_another_split(quick, pictures, tmp_path):
    data = pictures.coloured(120)
    first, second = (quick(data, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert _records(first) != [replace(r, seed=0) for r in _records(second)]


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


# --- interrupted, refused -----------------------------------------------------------------------


def test_a_killed_fit_goes_on_and_ends_with_the_same_records(quick, fresh_cache, pictures, tmp_path):
    networks = [pictures.NETWORK, "random:test_vit@3"]
    whole = quick(pictures.coloured(160), tmp_path / "whole", models=networks)
    shutil.rmtree(fresh_cache / "features")
    chance = random.Random(0)
    for delay in (2.0, 3.2, 3.6, 4.0):
        process = _started(pictures, tmp_path / "run")
        try:
            process.wait(delay + chance.uniform(0, 0.3))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if (tmp_path / "run/manifest.json").exists():
            break
        if (tmp_path / "run").exists():
            with pytest.raises(RunError):
                open_run(tmp_path / "run")
    if not (tmp_path / "run/manifest.json").exists():
        assert _started(pictures, tmp_path / "run").wait(120) == 0
    resumed = open_run(tmp_path / "run")
    assert _records(resumed) == _records(whole)
    assert _said(resumed) == _said(whole)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def _started(pictures, out):
    command = [sys.executable, pictures.__file__, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_two_revisions_of_one_model_are_refused(quick, pictures, tmp_path):
    with pytest.raises(OptionError, match="one revision of each"):
        quick(pictures.coloured(40, 2), tmp_path / "run", models=[pictures.NETWORK, "random:test_efficientnet@8"])


def test_what_is_there_is_not_overwritten(quick, pictures, tmp_path):
    data, out = pictures.coloured(40, 2), tmp_path / "run"
    quick(data, out)
    kept = (out / "manifest.json").read_bytes()
    with pytest.raises(RunError, match="finished run is already there"):
        quick(data, out)
    (out / "manifest.json").unlink()  # as an interrupted run is
    for other in ({"seed": 1}, {"models": ["random:test_vit@3"]}):
        with pytest.raises(RunError, match="other data, models or seed"):
            quick(data, out, **other)
    with pytest.raises(RunError, match="other data, models or seed"):
        quick(pictures.coloured(40, 2, seed=5), out)
    again = quick(data, out)
    assert json.loads(kept)["test"] == again.manifest["test"]


def test_a_full_disk_under_the_features_is_said_and_stops_nothing(
    small_disk, fresh_cache, pictures, tmp_path, monkeypatch
):
    images = pictures.coloured(160)
    expected = fit(images, out=tmp_path / "expected", models=[pictures.NETWORK])
    shutil.copytree(fresh_cache, small_disk / "cache", symlinks=True, ignore=shutil.ignore_patterns("features"))
    (small_disk / "cache/fill").write_bytes(bytes(700_000))
    monkeypatch.setenv("HEADWAY_CACHE", str(small_disk / "cache"))
    run = fit(images, out=tmp_path / "run", models=[pictures.NETWORK])
    assert _records(run) == _records(expected)
    (finding,) = [f for f in run.manifest["findings"] if f["check"] == "feature-store"]
    assert finding["severity"] == "warn"
    assert "No space left" in finding["evidence"][0]
    assert run.predict(images[0]).probabilities.shape == (160, 8)


def test_a_full_disk_under_the_run_is_a_storage_error_and_costs_nothing(
    small_disk, quick, fresh_cache, pictures, tmp_path
):
    images = pictures.coloured(160)
    (small_disk / "fill").write_bytes(bytes(1024**2 - 12 * 4096))
    out = small_disk / "run"
    with pytest.raises(StorageError, match="No space left") as found:
        quick(images, out)
    assert found.value.exit_code == 2
    assert "computed features are kept" in str(found.value)
    with pytest.raises(RunError, match="not finished"):
        open_run(out)
    (small_disk / "fill").unlink()
    run = quick(images, out)
    assert run.manifest["timings"][f"embed {run.manifest['ranking'][0]['backbone']}"] == 0
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_run_folder_that_cannot_be_made_is_a_storage_error(quick, pictures, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        quick(pictures.coloured(40, 2), tmp_path / "file" / "run")


# --- few items, many classes, odd items ---------------------------------------------------------


def _nothing_to_learn(match, quick, data, out):
    with pytest.raises(DataError, match=match) as found:
        quick(data, out)
    assert found.value.exit_code == 2


def test_one_class_and_two_images_are_refused(quick, pictures, tmp_path):
    images = pictures.distinct(12)
    _nothing_to_learn("only one class", quick, (images, ["a"] * 12), tmp_path / "one")
    _nothing_to_learn("too few items", quick, (images[:2], ["a", "b"]), tmp_path / "two")
    _nothing_to_learn("too few", quick, (images[:1], ["a"]), tmp_path / "single")
    folder = pictures.save(images, [b"only"] * 12, tmp_path / "data")
    _nothing_to_learn("only one class", quick, folder, tmp_path / "folder")


@pytest.mark.parametrize("each", [2, 3, 4])
def test_very_few_images_a_class_are_enough_or_refused_plainly(each, quick, pictures, tmp_path):
    data = (pictures.distinct(2 * each), [0, 1] * each)
    try:
        run = quick(data, tmp_path / "run")
    except DataError as error:
        assert each == 2 and "too few items" in str(error)
    else:
        assert run.predict(data[0]).probabilities.shape == (2 * each, 2)
        assert run.manifest["verdict"]["outcome"] in ("undecided", "equivalent")


def test_a_class_with_one_image_is_kept_and_said(quick, pictures, tmp_path):
    images, y = pictures.coloured(60, 3)
    labels = ["odd one" if row == 0 else f"class {label}" for row, label in enumerate(y)]
    run = quick((images, labels), tmp_path / "run")
    assert run.manifest["data"]["per_class"]["odd one"] == 1
    assert run.classes == ("class 0", "class 1", "class 2", "odd one")
    assert any("odd one" in " ".join(f["evidence"]) for f in run.manifest["findings"])
    assert run.predict(images).probabilities.shape == (60, 4)


def test_bad_items_are_left_out_and_named_and_strict_refuses(quick, pictures, tmp_path):
    images, y = pictures.coloured(60, 2)
    folder = pictures.save(images, [b"ab"[label : label + 1] for label in y], tmp_path / "data")
    paths = sorted(folder.rglob("*.png"))
    for path in paths[5:10]:  # the first batches hold nothing else: they come in the order of the split
        path.write_bytes(path.read_bytes()[:300])
    paths[20].write_bytes(b"")
    run = quick(folder, tmp_path / "run")
    assert run.manifest["data"]["items"] == 54
    checks = {f["check"]: f for f in run.manifest["findings"]}
    assert checks["undecodable"]["message"].startswith("5 items")
    assert paths[5].name in " ".join(checks["undecodable"]["evidence"])
    assert paths[20].name in " ".join(checks["bad_items"]["evidence"])
    for strict_on in (paths[20],):
        with pytest.raises(DataError, match="cannot be used"):
            quick(folder, tmp_path / "strict", strict=True)
        strict_on.unlink()
    with pytest.raises(DataError, match="5 items are unreadable"):
        quick(folder, tmp_path / "strict", strict=True)


def test_nothing_but_damaged_images_is_a_data_error(quick, pictures, tmp_path):
    folder = pictures.save(
        pictures.distinct(12), [b"ab"[row % 2 : row % 2 + 1] for row in range(12)], tmp_path / "data"
    )
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="fewer than two classes"):
        quick(folder, tmp_path / "run")


def test_names_of_any_bytes_come_through(quick, pictures, tmp_path):
    images, y = pictures.coloured(90, 3)
    names = [b"\xf0\x9f\x8d\x8e apples", b'two\nlines, "quoted"', b"caf\xe9\xff"]
    root = pictures.save(images, [names[label] for label in y], tmp_path / "data")
    for row, path in enumerate(sorted(root.rglob("*.png"), key=os.fsencode)):
        odd = [b"\xf0\x9f\x92\xbb%d.png", b"new\nline %d.png", b"latin-\xe9 %d.png", "ﬀ و %d.png".encode()][
            row % 4
        ] % row
        os.rename(os.fsencode(path), os.path.join(os.path.dirname(os.fsencode(path)), odd))
    run = quick(root, tmp_path / "run")
    assert len(run.classes) == 3
    assert "🍎 apples" in run.classes
    reopened = open_run(tmp_path / "run")
    predicted = reopened.predict(root)
    assert len(predicted.names) == 90
    assert all(name.isprintable() and name.encode("utf-8") for name in predicted.names)
    truth = ["🍎 apples" if "apples" in name else None for name in predicted.names]
    right = [said == "🍎 apples" for said, true in zip(predicted.labels, truth, strict=True) if true]
    assert np.mean(right) > 0.8


@pytest.mark.slow
def test_a_thousand_classes(quick, pictures, tmp_path):
    """Half a minute on two cores, and 1.5 GB."""
    images = pictures.distinct(2500)
    started = time.monotonic()
    run = quick((images, np.arange(2500) % 1000), tmp_path / "run")
    assert time.monotonic() - started < 150
    assert len(run.classes) == 1000
    assert run.classes[10] == "10"
    assert run.manifest["verdict"]["outcome"] != "helps"
    assert run.predict(images[:20]).probabilities.shape == (20, 1000)


# --- budgets ------------------------------------------------------------------------------------


def test_a_budget_that_is_spent_still_ends_with_a_run(quick, pictures, tmp_path):
    """Nothing fits, so what must be done is done with the least there is: some items, one probe."""
    images = pictures.coloured(2000, 4)
    quick((pictures.distinct(20), np.arange(20) % 2), tmp_path / "first")  # the network is converted and compiled
    started = time.monotonic()
    run = quick(images, tmp_path / "run", models=[pictures.NETWORK, "random:test_vit@3"], deadline=Deadline(1.0))
    assert time.monotonic() - started < 1.1 * 1.0 + 5
    assert run.manifest["cut"]
    assert run.predict(images[0][:8]).probabilities.shape == (8, 4)


@pytest.mark.slow
@pytest.mark.samples
@pytest.mark.parametrize("budget", [5, 10, 20])
def test_fit_ends_within_its_budget_and_says_what_it_left_out(budget, fresh_cache, tmp_path):
    from headway import samples

    folder = samples.build("digits", tmp_path / "digits")
    code = "import sys\nfrom headway.recipe import fit\nfit(sys.argv[1], out=sys.argv[2], budget=float(sys.argv[3]))\n"
    started = time.monotonic()
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "run"), str(budget)]
    subprocess.run(command, check=True, timeout=120)
    took = time.monotonic() - started
    run = open_run(tmp_path / "run")
    assert took < 1.1 * budget + 5
    assert run.manifest["cut"]
    assert run.manifest["test"]["balanced_accuracy"]["value"] > 0.5
    assert run.manifest["timings"]["total"] > 0.3 * budget


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
