"""A finished run predicts what its parts say, needs nothing heavy, and says what is wrong with it or with the items."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headway.engine.frozen import BATCH, compile_frozen
from headway.errors import DataError, ModelError, RunError
from headway.linear.head import linear_scores, probabilities
from headway.modalities import image
from headway.run import open_run
from headway.run.read import SINGLE


def _pixels(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 40, 50, 3), dtype=np.uint8)


def _images(folder, n):
    folder.mkdir(parents=True)
    for row, pixels in enumerate(_pixels(n)):
        Image.fromarray(pixels).save(folder / f"{row:02d}.png")
    return folder


def _expected(model, ir, pixels):
    """The formula, one network call an item and stages picked by hand."""
    network = compile_frozen(ir, batch=1)
    rows = []
    for picture in pixels:
        view = image.resize(picture, ir.view.height, ir.view.width, interpolation=ir.view.interpolation)
        (stages,) = network.forward([view[None]])
        rows.append(np.concatenate([stages[2][0], stages[5][0], stages[1][0]]))
    return probabilities(linear_scores(model.head, np.stack(rows)), temperature=model.head.temperature)


@pytest.mark.parametrize("n", [1, 2, SINGLE, SINGLE + 1, 2 * BATCH + 3])
def test_a_network_run_predicts_what_its_parts_say(n, network_run, network_model, ir):
    pixels = _pixels(n)
    found = network_run.predict(pixels)
    expected = _expected(network_model, ir, pixels)
    np.testing.assert_allclose(found.probabilities, expected, atol=0.02)  # a batch rounds otherwise than one alone
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert found.rows.tolist() == list(range(n))
    assert found.labels == tuple(network_run.classes[i] for i in found.probabilities.argmax(1))
    assert found.classes == network_run.classes


def test_a_classical_run_predicts_what_its_parts_say(classical_run, classical_model):
    pixels = _pixels(9)
    X = np.stack([image.classical(picture) for picture in pixels])
    expected = probabilities(linear_scores(classical_model.head, X), temperature=0.7)
    np.testing.assert_allclose(classical_run.predict(pixels).probabilities, expected, atol=1e-5)


def test_the_same_items_get_the_same_answer_in_any_order_and_company(network_run):
    pixels = _pixels(23)
    whole = network_run.predict(pixels).probabilities
    order = np.random.default_rng(0).permutation(23)
    np.testing.assert_allclose(network_run.predict(pixels[order]).probabilities, whole[order], atol=1e-6)
    shutil.rmtree(network_run.path.parent / "cache/features")
    fresh = open_run(network_run.path).predict(pixels[order][:9]).probabilities
    np.testing.assert_allclose(fresh, whole[order][:9], atol=1e-6)


def test_a_fresh_process_predicts_the_same_without_torch(network_run, tmp_path):
    np.save(tmp_path / "pixels.npy", _pixels(7))
    expected = network_run.predict(_pixels(7)).probabilities
    code = (
        "import sys, numpy as np\n"
        "from headway.run import open_run\n"
        "np.save(sys.argv[3], open_run(sys.argv[1]).predict(np.load(sys.argv[2])).probabilities)\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'scipy', 'polars', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    files = [str(tmp_path / name) for name in ("pixels.npy", "found.npy")]
    shutil.rmtree(tmp_path / "cache")
    subprocess.run([sys.executable, "-c", code, str(network_run.path), *files], check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def test_a_run_may_be_moved_and_its_networks_cache_lost(network_run, ir, tmp_path):
    expected = network_run.predict(_pixels(6)).probabilities
    moved = tmp_path / "else where" / "run"
    shutil.copytree(network_run.path, moved)
    shutil.rmtree(network_run.path)
    shutil.rmtree(tmp_path / "cache")
    np.testing.assert_array_equal(open_run(moved).predict(_pixels(6)).probabilities, expected)


@pytest.fixture
def read_only(tmp_path):
    place = tmp_path / "read only"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(place)], capture_output=True
    ).returncode:
        pytest.skip("no right to mount a read-only disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(network_run, read_only, monkeypatch):
    expected = network_run.predict(_pixels(6)).probabilities
    monkeypatch.setenv("HEADWAY_CACHE", str(read_only / "cache"))
    np.testing.assert_array_equal(open_run(network_run.path).predict(_pixels(6)).probabilities, expected)
    assert list(read_only.iterdir()) == []


# --- items --------------------------------------------------------------------------------------


def test_bad_items_are_named_and_left_out_and_strict_refuses(classical_run, tmp_path):
    folder = _images(tmp_path / "images", 12)
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:200])
    (folder / "07.png").write_bytes(b"")
    found = classical_run.predict(folder)
    assert found.names == tuple(f"{row:02d}.png" for row in range(12) if row not in (3, 7))
    assert found.probabilities.shape == (10, 3)
    said = " ".join(" ".join(finding.evidence) for finding in found.findings)
    assert "03.png" in said
    assert "07.png" in said
    with pytest.raises(DataError):
        classical_run.predict(folder, strict=True)
    (folder / "07.png").unlink()
    with pytest.raises(DataError, match="cannot be decoded"):
        classical_run.predict(folder, strict=True)


@pytest.mark.parametrize("data", ["all broken", "empty folder", "nowhere", "no images"])
def test_nothing_to_predict_is_a_data_error(data, classical_run, tmp_path):
    folder = _images(tmp_path / "all broken", 5)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:150])
    (tmp_path / "empty folder").mkdir()
    (tmp_path / "no images").mkdir()
    (tmp_path / "no images/notes.txt").write_text("nothing to see")
    with pytest.raises(DataError):
        classical_run.predict(tmp_path / data)


def test_files_globs_folders_and_lists_are_the_same_items(classical_run, tmp_path):
    folder = _images(tmp_path / "images", 4)
    expected = classical_run.predict(_pixels(4)).probabilities
    paths = sorted(folder.iterdir())
    for data in (folder, str(folder), str(folder / "*.png"), paths, [path.read_bytes() for path in paths]):
        np.testing.assert_allclose(classical_run.predict(data).probabilities, expected, atol=1e-12)
    assert classical_run.predict(paths[2]).probabilities.shape == (1, 3)


# --- damaged runs -------------------------------------------------------------------------------


def test_where_there_is_no_run(tmp_path):
    with pytest.raises(RunError, match="no run in this folder"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="no run in this folder"):
        open_run(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\xff\xfe"])
def test_a_damaged_manifest(content, classical_run):
    (classical_run.path / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError):
        open_run(classical_run.path)


def test_a_run_of_another_version(classical_run):
    path = classical_run.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(RunError, match="another version") as found:
        open_run(classical_run.path)
    assert "99" in str(found.value)


@pytest.mark.parametrize("name", ["model.json", "head.safetensors", "networks/0/ir.json", "networks/0/model.bin"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half"])
def test_a_damaged_model_is_one_clear_error(damage, name, network_run):
    path: Path = network_run.path / "model" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "half" else 0])
    with pytest.raises((RunError, ModelError)) as found:
        open_run(network_run.path).predict(_pixels(2))
    assert "fit again" in str(found.value).lower()


@pytest.mark.parametrize("name", ["networks", "classes", "blocks"])
def test_parts_that_do_not_fit_are_one_clear_error(name, network_run):
    path = network_run.path / "model/model.json"
    facts = json.loads(path.read_text())
    facts[name] = facts[name][:1]
    path.write_text(json.dumps(facts))
    with pytest.raises(RunError, match="Fit again"):
        open_run(network_run.path).predict(_pixels(2))
