"""A fit that is killed goes on; a disk that is full is said; a budget that is short is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from headway.budget import Deadline
from headway.errors import OptionError, RunError, StorageError
from headway.modalities.image import HASH_VERSION
from headway.recipe import fit
from headway.run import open_run

# --- interrupted, refused -----------------------------------------------------------------------


def test_a_killed_fit_goes_on_and_ends_with_the_same_records(quick, fresh_cache, pictures, tmp_path):
    networks = [pictures.NETWORK, "random:test_vit@3"]
    whole = quick(pictures.coloured(160), tmp_path / "whole", models=networks)
    shutil.rmtree(fresh_cache / "features")
    out = tmp_path / "run"
    for sign in (fresh_cache / "features" / HASH_VERSION, out / "records.jsonl"):  # while embedding, while proving
        process = _started(pictures, out)
        while process.poll() is None and not sign.exists():
            time.sleep(0.002)
        process.kill()
        process.wait()
        if not (out / "manifest.json").exists():
            with pytest.raises(RunError, match="not finished"):
                open_run(out)
    if not (out / "manifest.json").exists():
        assert _started(pictures, out).wait(120) == 0
    resumed = open_run(tmp_path / "run")
    assert pictures.records_of(resumed) == pictures.records_of(whole)
    assert pictures.said_of(resumed) == pictures.said_of(whole)
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
    expected = fit(images, out=tmp_path / "expected", models=[pictures.NETWORK], method="probe")
    shutil.copytree(fresh_cache, small_disk / "cache", symlinks=True, ignore=shutil.ignore_patterns("features"))
    (small_disk / "cache/fill").write_bytes(bytes(700_000))
    monkeypatch.setenv("HEADWAY_CACHE", str(small_disk / "cache"))
    run = fit(images, out=tmp_path / "run", models=[pictures.NETWORK], method="probe")
    assert pictures.records_of(run) == pictures.records_of(expected)
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
