"""Few items, many classes, damaged items, names of any bytes: a run, or one plain sentence."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from headway.errors import DataError
from headway.run import open_run

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
