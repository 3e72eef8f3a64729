"""The commands on labels and on numbers: what is read, printed and written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

MODELS = ("--models", "random:test_efficientnet@7", "--budget", "90s")
PROBE = (*MODELS, "--method", "probe")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety digits, and three tables of them: labels in one column, in three, and their ink."""
    folder = tmp_path_factory.mktemp("table")
    digits = load_digits()
    rows = []
    for row in range(90):
        grey = (digits.images[row] * 15).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        Image.fromarray(grey).save(folder / f"{row:02d}.png")
        digit = int(digits.target[row])
        named = {"even": digit % 2 == 0, "round": digit in (0, 6, 8, 9), "small, low": digit < 4}
        rows.append((f"{row:02d}.png", named, digits.images[row].mean()))
    for name, header, cells in (
        ("labels", ["file", "labels"], lambda named, _: [";".join(k for k, on in named.items() if on)]),
        ("columns", ["file", "even", "round", "small, low"], lambda named, _: [int(on) for on in named.values()]),
        ("ink", ["file", "ink"], lambda _, ink: [f"{ink:.5f}"]),
    ):
        with (folder / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows([header, *([path, *cells(named, ink)] for path, named, ink in rows)])
    return folder


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_labels_fit_predict_evaluate(headway, table, tmp_path):
    done = headway("fit", table / "labels.csv", *PROBE, "--task", "multilabel", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for said in ("mean average precision", "how often each label occurs", "Labels were parted at ';'", "Verdict"):
        assert said in done.stdout
    done = headway("predict", tmp_path / "run", table / "03.png", table / "08.png")
    assert done.returncode == 0, done.stderr
    rows = _rows(done.stdout)
    assert list(rows[0]) == ["item", "prediction", "even", "round", "small, low"]
    thresholds = json.loads((tmp_path / "run/manifest.json").read_text())["chosen"]["thresholds"]
    for row in rows:
        shares = [float(row[name]) for name in ("even", "round", "small, low")]
        on = [n for n, p, t in zip(("even", "round", "small, low"), shares, thresholds, strict=True) if p >= t]
        assert row["prediction"] == ";".join(on)
    found = {}
    for name in ("labels", "columns"):  # three columns of the labels' names are found as such
        done = headway("evaluate", tmp_path / "run", table / f"{name}.csv", "--json")
        assert done.returncode == 0, done.stderr
        found[name] = json.loads(done.stdout)
    assert found["labels"] == found["columns"]
    assert set(found["labels"]) == {
        *("n", "mean_average_precision", "macro_f1", "micro_f1", "hamming_loss", "subset_accuracy", "log_loss", "ece")
    }


def test_several_label_columns(headway, table, tmp_path):
    columns = ("--label", "even", "--label", "round", "--label", "small, low")
    done = headway("fit", table / "columns.csv", *PROBE, *columns, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert (manifest["task"], manifest["classes"]) == ("multilabel", ["even", "round", "small, low"])


def test_numbers_fit_rank_predict_evaluate(headway, table, tmp_path):
    data = table / "ink.csv"
    done = headway("fit", data, *PROBE, "--label", "ink", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for said in ("leave-one-out R²", "R² on the test set", "the mean", "--task classification"):
        assert said in done.stdout
    done = headway("predict", tmp_path / "run", table / "03.png")
    (row,) = _rows(done.stdout)
    assert list(row) == ["item", "prediction"] and 0 < float(row["prediction"]) < 12
    done = headway("evaluate", tmp_path / "run", data, "--label", "ink", "--json")
    assert set(json.loads(done.stdout)) == {"n", "r2", "mae", "rmse", "pearson", "spearman"}
    done = headway("rank", data, *MODELS, "--label", "ink", "--json")
    assert "reg_hscore" not in json.loads(done.stdout)[0]


def test_trouble_is_told_in_words(headway, table, tmp_path):
    bad = table / "bad.csv"
    bad.write_text("file,ink,dark\n01.png,1.5,1\n02.png,much,0\n03.png,2.5,1\n")
    for arguments, says in (
        ((bad, "--label", "ink", "--task", "regression"), "'much' in row 1"),
        ((table / "ink.csv", "--label", "ink", "--task", "regresion"), "Did you mean regression"),
        ((bad, "--label", "dark", "--label", "ink"), "does not hold 0 and 1"),
        ((table / "columns.csv", "--label", "even", "--label", "round", "--task", "regression"), "one label an item"),
    ):
        done = headway("fit", *arguments, *PROBE, "--out", tmp_path / "run")
        assert done.returncode == 2, done.stdout
        assert says in " ".join(done.stderr.split())
