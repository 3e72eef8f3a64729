"""Listing and building: what `headway samples` calls. No network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headway import fetch, plugins, samples
from headway.errors import DataError, OptionError, StorageError, WeightsMissing
from headway.samples import Sample, Sources


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def counts(folder: Path) -> dict[str, int]:
    return {path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir()) if path.is_dir()}


def build_failing(to: Path, sources: Sources) -> None:
    (to / "half").write_text("half")
    raise RuntimeError("in the middle")


def build_without_space(to: Path, sources: Sources) -> None:
    (to / "half").write_text("half")
    raise OSError(28, "No space left on device", str(to / "half"))


def fake(monkeypatch: pytest.MonkeyPatch, build: object) -> None:
    sample = Sample(
        name="toy", modality="image", task="none", items=1, description="d", source="s", licence="l", build=build  # type: ignore[arg-type]
    )  # fmt: skip
    monkeypatch.setattr(samples, "available", lambda: (sample,))


# --- the door -----------------------------------------------------------------------------------


def test_every_family_declares_samples_with_names_of_their_own() -> None:
    found = samples.available()
    assert len(found) == 20
    assert len({sample.name for sample in found}) == len(found)
    assert [sample.name for sample in found] == sorted(sample.name for sample in found)
    assert {"clip13", "stamp7", "digits", "mnist5k"} <= {sample.name for sample in found}
    for plugin in plugins.names("samples"):
        assert plugins.load("samples", plugin).SAMPLES, plugin
    for sample in found:
        assert sample.modality in ("image", "text", "audio", "table")
        assert sample.task in ("classification", "regression", "detection", "seq2seq", "tagging", "rating", "none")
        assert sample.items > 0
        assert sample.source
        assert sample.licence


def test_unknown_name_suggests_one() -> None:
    with pytest.raises(OptionError, match=r"Did you mean clip13\?"):
        samples.build("clip31", Path("anywhere"))


def test_a_taken_folder_is_refused_and_an_empty_one_used(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "to").mkdir()
    samples.build("photos", tmp_path / "to", offline=True)
    assert "Fernando Ochoa" in (tmp_path / "to/README.txt").read_text(encoding="utf-8")
    before = sorted((tmp_path / "to").iterdir())
    with pytest.raises(DataError, match="taken"):
        samples.build("photos", tmp_path / "to", offline=True)
    assert sorted((tmp_path / "to").iterdir()) == before
    with pytest.raises(DataError, match="taken"):
        samples.build("photos", tmp_path / "to/README.txt")


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, build_failing)
    with pytest.raises(RuntimeError, match="in the middle"):
        samples.build("toy", tmp_path / "to")
    fake(monkeypatch, build_without_space)
    with pytest.raises(StorageError, match="No space left"):
        samples.build("toy", tmp_path / "to")
    assert list(tmp_path.iterdir()) == []


FETCHED = [s.name for s in samples.available() if s.name not in ("digits", "breast-cancer", "diabetes", "photos")]


@pytest.mark.parametrize("name", FETCHED)
def test_offline_and_absent(name: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_installed", lambda *_: None)
    with pytest.raises(WeightsMissing, match="not on this machine"):
        samples.build(name, tmp_path / "to", offline=True)
    assert not (tmp_path / "to").exists()


# --- without a package client -------------------------------------------------------------------


def test_digits_are_scikit_learns(tmp_path: Path, cache: Path) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    to = samples.build("digits", tmp_path / "to", offline=True)
    assert counts(to) == {str(label): int((bunch.target == label).sum()) for label in range(10)}
    for row in (0, 900, 1796):
        (path,) = to.glob(f"{bunch.target[row]}/{row:04d}.png")
        with Image.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_allclose(np.asarray(image) / 255 * 16, bunch.images[row], atol=0.04)


def test_tables_are_scikit_learns(tmp_path: Path, cache: Path) -> None:
    from sklearn.datasets import load_breast_cancer, load_diabetes

    cancer = rows(samples.build("breast-cancer", tmp_path / "c", offline=True) / "breast-cancer.csv")
    assert len(cancer) == 569
    assert sum(row["label"] == "malignant" for row in cancer) == 212
    np.testing.assert_array_equal([float(row["mean area"]) for row in cancer], load_breast_cancer().data[:, 3])
    diabetes = rows(samples.build("diabetes", tmp_path / "d", offline=True) / "diabetes.csv")
    np.testing.assert_array_equal([float(row["label"]) for row in diabetes], load_diabetes().target)
