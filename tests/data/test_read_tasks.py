"""Tables and arrays of labels and of numbers: what is read, what is decided alone, and what is asked back."""

import json

import numpy as np
import polars as pl
import pytest

from headway.data.read import read
from headway.errors import DataError, OptionError


@pytest.fixture
def folder(tmp_path):
    """Thirty small pictures, no two alike."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for row in range(30):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{row:02d}.png")
    return tmp_path


def _csv(folder, header, rows, *, separator=",", encoding="utf-8", name="table.csv"):
    lines = [separator.join(header)] + [separator.join((f"{row:02d}.png", *cells)) for row, cells in enumerate(rows)]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def _checks(dataset):
    return {finding.check: finding for finding in dataset.findings}


# --- labels -------------------------------------------------------------------------------------


def test_a_csv_with_quotes_a_bom_and_semicolons_in_cells(folder):
    cells = [('"red;""big, round"""',), ("red",), ('""',), ("",), ('"big; red "',)]
    path = _csv(folder, ("file", "labels"), cells, encoding="utf-8-sig")
    found = read(path, task="multilabel")
    assert (found.task, found.classes) == ("multilabel", ('"big, round"', "big", "red"))
    assert found.targets.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert len(found.names) == 5  # an empty cell is an item without labels, not one that nobody has labelled
    assert set(_checks(found)) >= {"items_without_label", "labels_parted"}


def test_a_semicolon_separated_csv_with_bars_in_cells(folder):
    path = _csv(folder, ("file", "labels"), [("a|b",), ("b",), ("a",)], separator=";")
    assert read(path, task="multilabel").targets.tolist() == [[1, 1], [0, 1], [1, 0]]


def test_text_is_never_parted_unasked_but_the_question_is_raised(folder):
    path = _csv(folder, ("file", "label"), [("a;b",), ("a;b;c",), ("b;c",), ("a",), ("b",), ("c",), ("c;a",)])
    found = read(path)
    assert (found.task, len(found.classes)) == ("classification", 7)
    assert "--task multilabel" in _checks(found)["task"].message
    plain = _csv(folder, ("file", "label"), [("a;b",), ("c",), ("c",), ("a;b",)], name="plain.csv")
    assert "task" not in _checks(read(plain))


def test_several_label_columns_are_labels(folder):
    rows = [("1", "0", "true"), ("0", "0", "False"), ("", "1", "true"), ("1.0", "0", "true")]
    path = _csv(folder, ("file", "wet", "cold", "dark"), rows)
    found = read(path, label=["wet", "dark", "cold"])
    assert (found.task, found.classes) == ("multilabel", ("wet", "dark", "cold"))
    assert found.targets.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 0]]
    assert found.names == ("00.png", "01.png", "03.png")  # row 2 says nothing of "wet"
    assert _checks(found)["missing_labels"].evidence == ("02.png",)


def test_several_label_columns_must_hold_0_and_1(folder):
    path = _csv(folder, ("file", "wet", "cold"), [("1", "maybe"), ("0", "0")])
    with pytest.raises(DataError, match="'maybe' in 'cold'"):
        read(path, label=["wet", "cold"])
    good = _csv(folder, ("file", "wet", "cold"), [("1", "0"), ("0", "0")])
    for task in ("classification", "regression"):
        with pytest.raises(DataError, match="one label an item"):
            read(good, label=["wet", "cold"], task=task)
    with pytest.raises(OptionError, match=r"no column 'wett'.*Did you mean wet"):
        read(good, label=["wett", "cold"])


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_column_of_lists_is_labels(folder, kind):
    lists = [["a", "b"], [], ["b"], None]
    names = [f"{row:02d}.png" for row in range(4)]
    path = folder / f"table.{kind}"
    if kind == "parquet":
        pl.DataFrame({"file": names, "labels": lists}).write_parquet(path)
    else:
        path.write_text("\n".join(json.dumps({"file": n, "labels": x}) for n, x in zip(names, lists, strict=True)))
    found = read(path)
    assert (found.task, found.classes, found.targets.tolist()) == ("multilabel", ("a", "b"), [[1, 1], [0, 0], [0, 1]])
    assert _checks(found)["missing_labels"].evidence == ("03.png",)


def test_lists_of_class_numbers_get_their_names(folder):
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Value("string"),
            "labels": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog", "cow"])),
        }
    )
    table = {"image": [str(folder / f"{row:02d}.png") for row in range(3)], "labels": [[0, 2], [], [1]]}
    datasets.Dataset.from_dict(table, features=features).save_to_disk(folder / "saved")
    found = read(folder / "saved")
    assert (found.classes, found.targets.tolist()) == (("cat", "cow", "dog"), [[1, 1, 0], [0, 0, 0], [0, 0, 1]])


def test_arrays_and_frames_of_0_and_1(folder):
    X = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    Y = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    found = read((X, Y))
    assert (found.task, found.classes, found.targets.tolist()) == ("multilabel", ("0", "1", "2"), Y.tolist())
    assert _checks(found)["label_never_on"].evidence == ("2",)
    import pandas as pd

    named = read((X, pd.DataFrame(Y.astype(bool), columns=["z", "a", "m"])))
    assert (named.classes, named.targets.tolist()) == (("z", "a", "m"), Y.tolist())
    with pytest.raises(DataError, match="on or off"):
        read((X, Y * 2))
    with pytest.raises(DataError, match="one label an item"):
        read((X, Y), task="regression")


def test_a_models_labels_are_found_as_columns_of_their_names(folder):
    path = _csv(folder, ("file", "wet", "cold", "note"), [("1", "0", "x"), ("0", "1", "y")])
    found = read(path, task="multilabel", classes=("cold", "wet"))
    assert (found.classes, found.targets.tolist()) == (("cold", "wet"), [[0, 1], [1, 0]])


# --- numbers ------------------------------------------------------------------------------------


def test_many_numbers_that_are_not_whole_are_regression(folder):
    values = np.random.default_rng(0).normal(size=30)
    path = _csv(folder, ("file", "y"), [(f"{value:.4f}",) for value in values])
    found = read(path)
    assert (found.task, found.classes) == ("regression", ())
    np.testing.assert_allclose(found.targets, values, atol=1e-4)
    assert "--task classification" in _checks(found)["task"].message
    assert read(path, task="classification").task == "classification"


def test_whole_numbers_stay_classes_and_the_question_is_raised(folder):
    path = _csv(folder, ("file", "y"), [(str(row % 25),) for row in range(30)])
    found = read(path)
    assert (found.task, len(found.classes)) == ("classification", 25)
    assert "--task regression" in _checks(found)["task"].message
    number = read(path, task="regression")
    assert number.targets.tolist() == [float(row % 25) for row in range(30)]
    few = _csv(folder, ("file", "y"), [(str(row % 5),) for row in range(30)], name="few.csv")
    assert "task" not in _checks(read(few))
    versions = _csv(folder, ("file", "y"), [(f"1.{row % 6}",) for row in range(30)], name="versions.csv")
    assert read(versions).task == "classification"


def test_what_is_no_number_is_named(folder):
    path = _csv(folder, ("file", "y"), [("1.5",), ("2,5",), ("",)], separator=";")
    with pytest.raises(DataError, match=r"not a number.*'2,5' in row 1.*decimal point"):
        read(path, task="regression")
    bad = _csv(folder, ("file", "y"), [("1.5",), ("inf",), ("2",)], name="bad.csv")
    with pytest.raises(DataError, match="not a finite number"):
        read(bad, task="regression")
    same = _csv(folder, ("file", "y"), [("1.5",), ("1.50",)], name="same.csv")
    with pytest.raises(DataError, match="same number"):
        read(same, task="regression")


def test_items_without_a_number_are_left_out(folder):
    X = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    found = read((X, [1.5, None, float("nan"), 2.5]), task="regression")
    assert found.targets.tolist() == [1.5, 2.5]
    assert _checks(found)["missing_labels"].evidence == ("row 1", "row 2")


# --- which task ---------------------------------------------------------------------------------


def test_folders_are_classes(folder):
    for name in ("a", "b"):
        (folder / "set" / name).mkdir(parents=True)
        (folder / f"0{int(name == 'b')}.png").rename(folder / "set" / name / "1.png")
    assert read(folder / "set").task == "classification"
    with pytest.raises(OptionError, match=r"one class an item.*table"):
        read(folder / "set", task="regression")


def test_an_unknown_task_names_the_closest(folder):
    with pytest.raises(OptionError, match="Did you mean regression"):
        read((np.zeros((2, 4, 4), np.uint8), [1, 2]), task="regresion")


def test_the_same_values_as_other_targets_are_another_data_set():
    X = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    y = [0, 1, 0, 1]
    prints = {read((X, y), task=task).fingerprint for task in ("classification", "regression", "multilabel")}
    assert len(prints) == 3
    numbers = read((X, y), task="regression")
    assert numbers.fingerprint != read((X, [0, 1, 0, 1.5]), task="regression").fingerprint
