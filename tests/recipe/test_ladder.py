"""Above the probes: what is tuned is what is saved, pins hold, a short budget falls back, and killed fits go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from headway import backbones
from headway.budget import Deadline
from headway.engine.pool import open_network
from headway.errors import OptionError, RunError
from headway.evaluate.contenders import Arena
from headway.features.embed import embed
from headway.features.store import Store
from headway.recipe.pin import pinned
from headway.recipe.rungs import Rung, candidates_of
from headway.recipe.views import mirrors
from headway.run import open_run
from headway.run.model import WORK


def halves(n, *, seed=0):
    """Pictures with one half brighter: left is class 0, right is class 1; a mirror image is of the other class."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    images = rng.integers(0, 120, (n, 48, 48, 3))
    for image, label in zip(images, y, strict=True):
        image[:, 24 * label : 24 * label + 24] += rng.integers(80, 130)
    return images.astype(np.uint8), y


# --- the whole way ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, pictures):
    """One fit of a small network from a cut, with everything that goes with it."""
    from headway.recipe import fit

    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWAY_CACHE", str(folder / "cache"))
        run = fit(
            pictures.coloured(160, 4), out=folder / "run", models=[pictures.NETWORK], method="partial", budget=200
        )
        fresh = pictures.coloured(60, 4, seed=5)[0]
        yield run, fresh, run.predict(fresh).probabilities


def test_a_tuned_network_is_shipped_with_its_table_and_its_arm_from_scratch(tuned):
    run, _, _ = tuned
    manifest = run.manifest
    assert set(manifest["verdict"]["arms"]) == {"transfer", "classical", "random", "prior", "scratch"}
    climbed = [line for line in manifest["ladder"] if line["rung"] == "pinned"]
    assert [line["state"] for line in climbed] == ["climbed"]
    assert climbed[0]["predicted"]["seconds"] > 0
    assert climbed[0]["seconds"] > 0
    (curve,) = manifest["curves"]
    assert [epoch["number"] for epoch in curve["epochs"]] == list(range(len(curve["epochs"])))
    table = {(line["arm"], line["method"]): line for line in manifest["comparison"]}
    assert table["scratch", "scratch"]["gain"]["value"] == 0
    assert table["scratch", "scratch"]["trainable"] > table["transfer", "partial"]["trainable"] > 0
    for line in manifest["comparison"]:
        assert line["test"]["low"] <= line["test"]["value"] <= line["test"]["high"]
        gap = line["test"]["value"] - table["scratch", "scratch"]["test"]["value"]
        assert line["gain"]["value"] == pytest.approx(gap, abs=1e-9)
    stages = [line["stage"] for line in manifest["depth"]]
    assert stages[-1] == "embedding"
    assert not (run.path / WORK).exists()


def test_what_is_saved_answers_as_the_records_say_and_without_torch(tuned, tmp_path, pictures):
    run, fresh, expected = tuned
    np.save(tmp_path / "pixels.npy", fresh)
    code = (
        "import sys, numpy as np\n"
        "from headway.run import open_run\n"
        "np.save(sys.argv[3], open_run(sys.argv[1]).predict(np.load(sys.argv[2])).probabilities)\n"
        "heavy = {'torch', 'torchvision', 'timm', 'peft', 'sklearn', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    paths = [str(tmp_path / name) for name in ("pixels.npy", "found.npy")]
    subprocess.run([sys.executable, "-c", code, str(run.path), *paths], check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)
    if run.manifest["chosen"]["arm"] == "transfer":
        assert run.manifest["chosen"]["backbones"][0].endswith("-partial")


def test_a_budget_too_short_for_tuning_keeps_the_probe_and_says_so(quick, pictures, tmp_path):
    quick((pictures.distinct(20), np.arange(20) % 2), tmp_path / "first")  # converted and compiled
    run = quick(pictures.coloured(160, 4), tmp_path / "run", method=None, budget=9)
    assert run.manifest["cut"]["tuning"]
    assert {line["rung"] for line in run.manifest["ladder"]} <= {"kNN", "probe", "multi-stage probe", "fused probe"}
    assert run.predict(pictures.coloured(8)[0]).probabilities.shape == (8, 4)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_fits_that_nothing_cut_agree_and_so_does_one_that_was_killed(quick, fresh_cache, pictures, tmp_path):
    options = {"method": "partial", "budget": 1500}  # so long that even a machine in use cuts nothing
    data = pictures.coloured(120, 4)
    whole = quick(data, tmp_path / "whole", **options)
    again = quick(data, tmp_path / "again", **options)
    assert whole.manifest["cut"] == again.manifest["cut"]
    assert _tuned_records(whole, pictures) == _tuned_records(again, pictures)
    out = tmp_path / "run"
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('pictures', sys.argv[1])\n"
        "pictures = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(pictures)\n"
        "from headway.recipe import fit\n"
        "fit(pictures.coloured(120, 4), out=sys.argv[2], models=[pictures.NETWORK], method='partial', budget=1500)\n"
    )
    command = [sys.executable, "-c", code, pictures.__file__, str(out)]
    process = subprocess.Popen(command)
    while process.poll() is None and not list((out / WORK).glob("*.safetensors")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    with pytest.raises(RunError, match="not finished"):
        open_run(out)
    subprocess.run(command, check=True, timeout=1500)
    assert _tuned_records(open_run(out), pictures) == _tuned_records(whole, pictures)


def _tuned_records(run, pictures):
    """Those of tuning; the arm from scratch is trained for as long as tuning took, so the clock enters it."""
    return [record for record in pictures.records_of(run) if record.arm == "transfer"]


# --- pins ---------------------------------------------------------------------------------------


def test_pins_are_checked_before_anything_is_done(quick, pictures, tmp_path):
    for options, said in (
        ({"method": "lorra"}, "lora"),
        ({"method": "scratch"}, "no such method"),
        ({"method": "ridge", "cut": "blocks.1"}, "a probe tunes nothing"),
    ):
        with pytest.raises(OptionError, match=said):
            quick(pictures.coloured(40, 2), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_pinned_probe_is_the_only_one_that_wins(quick, pictures, tmp_path):
    run = quick(pictures.coloured(120), tmp_path / "run", method="prototype")
    assert run.manifest["chosen"]["arm"] != "transfer" or run.manifest["chosen"]["method"] == "prototype"
    assert next(r.method for r in run.records() if r.arm == "transfer" and r.split == "test") == "prototype"


def test_candidates_are_few_distinct_and_pinnable(fresh_cache, pictures):
    members = [
        open_network(backbones.open(name, offline=True), device="cpu", cache=fresh_cache / "networks")
        for name in (pictures.NETWORK, "random:test_vit@3")
    ]
    found = candidates_of(members, peak=None, method=None, cut=None)
    assert len({candidate.label for candidate in found}) == len(found) >= 3
    assert {candidate.rung for candidate in found} == {"partial", "low-rank", "full"}
    assert {candidate.member.spec.name for candidate in found} == {member.spec.name for member in members}
    (only,) = candidates_of(members, peak=None, method="bitfit", cut=found[0].cut)
    assert (only.method.name, only.cut) == ("bitfit", found[0].cut)
    with pytest.raises(OptionError, match="cannot be cut there"):
        candidates_of(members, peak=None, method="lora", cut="nowhere")


def test_rungs_say_what_was_predicted_and_what_came():
    rung = Rung(rung="partial", backbone="a", method="partial", predicted_seconds=3.0, predicted_gain=0.1, seconds=4.0)
    line = json.loads(json.dumps(rung.as_json()))
    assert line["predicted"] == {"seconds": 3.0, "gain": 0.1}
    assert (line["seconds"], line["state"]) == (4.0, "climbed")


def test_a_pin_is_part_of_the_plan_of_a_run():
    assert pinned(None, None).plan == {}
    assert pinned("lora", "blocks.3").plan == {"method": "lora", "cut": "blocks.3"}
    assert not pinned("probe", None).tunes
    assert pinned("logistic", None).probe == "logistic"


# --- mirroring ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("drawn", "expected"), [("halves", False), ("coloured", True)])
def test_mirroring_is_harmless_only_where_left_and_right_mean_the_same(
    drawn, expected, fresh_cache, pictures, tmp_path
):
    from headway.data.read import read
    from headway.features.embed import modality_of

    images, y = halves(60) if drawn == "halves" else pictures.coloured(60, 2)
    dataset = read((images, y))
    member = open_network(backbones.open(pictures.NETWORK, offline=True), device="cpu", cache=fresh_cache / "networks")
    store = Store(tmp_path / "store")
    embed(dataset, [member.frozen], store=store, deadline=Deadline(60))
    n = len(dataset.names)
    arena = Arena(
        store=store, digests=dataset.digests, y=dataset.targets, classes=2, folds=np.arange(n) % 5, groups=np.arange(n)
    )
    assert mirrors(dataset, member, arena, modality_of(dataset)) is expected
