"""Folders of images, with everything that is wrong with real ones."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headway.data.read import read
from headway.errors import DataError
from headway.types import Dataset

Draw = Callable[[Path | str, int], Path]


def finding(data: Dataset, check: str) -> str:
    (found,) = [f for f in data.findings if f.check == check]
    return found.message + " " + "; ".join(found.evidence)


def test_a_folder_a_class(folder: Path) -> None:
    data = read(folder)
    assert data.classes == ("a", "b", "c")
    assert data.names[:2] == ("a/0.png", "a/3.png")
    assert [data.classes[t] for t in data.targets] == [name[0] for name in data.names]
    assert (data.modality, data.task, data.parts, data.groups, data.findings) == (
        "image",
        "classification",
        None,
        None,
        (),
    )
    assert len(np.unique(data.digests, axis=0)) == 12
    assert all(isinstance(source, Path) and source.is_file() for source in data.sources)


def test_reading_is_the_same_twice_and_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    again = shutil.copytree(folder, tmp_path / "elsewhere")
    assert read(folder).fingerprint == read(again).fingerprint == read(str(folder) + "/").fingerprint
    (again / "a" / "0.png").write_bytes((again / "b" / "1.png").read_bytes())
    assert read(again).fingerprint != read(folder).fingerprint


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_given_parts(tmp_path: Path, draw: Draw, val: str) -> None:
    for i, part in enumerate(["train", "train", val, "test"]):
        for j, label in enumerate("xy"):
            draw(tmp_path / part / label / f"{i}.png", 10 * i + j)
    data = read(tmp_path)
    assert data.classes == ("x", "y")
    assert sorted(map(str, data.parts or ())) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    assert {
        name.split("/")[0].lower()[:3] for name, part in zip(data.names, data.parts or (), strict=True) if part == "val"
    } == {"val"}


def test_classes_that_are_named_like_parts_are_classes(tmp_path: Path, draw: Draw) -> None:
    for i, label in enumerate(["train", "bus"] * 2):  # the vehicle
        draw(tmp_path / label / f"{i}.png", i)
    draw(tmp_path / "train" / "deep" / "9.png", 9)
    data = read(tmp_path)
    assert data.classes == ("bus", "train") and data.parts is None and len(data.names) == 5


def test_parts_without_class_folders_in_them_are_classes(tmp_path: Path, draw: Draw) -> None:
    for i, label in enumerate(["train", "test"] * 2):
        draw(tmp_path / label / f"{i}.png", i)
    data = read(tmp_path)
    assert data.classes == ("test", "train") and data.parts is None


@pytest.mark.parametrize(
    "name",
    [
        b"with spaces.png",
        b"two\nlines.png",
        "\U0001f600 émoji.png".encode(),
        b"latin-\xe9.png",
        b"-rf.png",
        b"'\";$(x).png",
        b"a,b.png",
    ],
)
def test_file_and_class_names_of_any_bytes(tmp_path: Path, draw: Draw, name: bytes) -> None:
    label = name.removesuffix(b".png")
    for i, where in enumerate([label, label, b"other", b"other"]):
        draw(Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), where, b"%d " % i + name))), i)
    data = read(tmp_path)
    assert len(data.names) == 4 and len(data.classes) == 2
    for shown in (*data.names, *data.classes):
        shown.encode("utf-8")
    assert all("\n" not in shown for shown in data.names)
    assert all(isinstance(s, Path) and s.read_bytes() for s in data.sources)
    assert len(read(tmp_path, labelled=False).names) == 4


def test_bad_items_are_named_counted_and_skipped(folder: Path) -> None:
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "a" / "renamed.png").write_bytes(b"%PDF-1.7")
    (folder / "b" / "dangling.gif").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "b" / "pipe.jpg")
    data = read(folder)
    assert len(data.names) == 12
    text = finding(data, "bad_items")
    assert text.startswith("4 items cannot be used")
    for part in (
        "empty.jpg is empty",
        "renamed.png is not an image",
        "dangling.gif does not exist",
        "pipe.jpg is a pipe",
    ):
        assert part in text
    with pytest.raises(DataError, match=r"4 items cannot be used.*renamed\.png"):
        read(folder, strict=True)


def test_other_files_are_ignored_and_counted_and_hidden_ones_are_not_seen(folder: Path) -> None:
    (folder / "README.txt").write_text("not one of the items")
    (folder / "a" / "notes.txt").write_text("nor this")
    (folder / "a" / "no_suffix").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "a" / ".hidden.png").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / "b" / ".cache").mkdir()
    (folder / "b" / ".cache" / "x.png").write_bytes(b"x")
    data = read(folder, strict=True)
    assert len(data.names) == 13 and "a/no_suffix" in data.names
    assert finding(data, "not_images") == "1 files are not images and were left alone. a/notes.txt"


def test_images_beside_the_class_folders(folder: Path, draw: Draw) -> None:
    draw(folder / "stray.png", 99)
    assert "1 images lie beside" in finding(read(folder), "images_without_class")


def test_link_loops_end_and_links_are_followed(folder: Path, tmp_path: Path, draw: Draw) -> None:
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a" / "self")
    draw(tmp_path / "elsewhere" / "50.png", 50)
    (folder / "b" / "link").symlink_to(tmp_path / "elsewhere")
    data = read(folder)
    assert "b/link/50.png" in data.names
    assert "a/up/a" in finding(data, "link_loop")
    assert len([n for n in data.names if n.startswith("a/") and n.count("/") == 1]) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_unreadable_folder_is_reported(draw: Draw) -> None:
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        for i in range(6):
            draw(Path(top) / "abc"[i % 3] / f"{i}.png", i)
        os.chmod(Path(top) / "c", 0)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)  # to the superuser nothing is unreadable
        try:
            data = read(top)
            os.seteuid(user)
            os.chmod(top, 0)
            os.seteuid(65534 if user == 0 else user)
            with pytest.raises(DataError, match=r"folder cannot be read.*Permission denied"):
                read(top)
        finally:
            os.seteuid(user)
            os.chmod(top, 0o755)
            os.chmod(Path(top) / "c", 0o755)
    assert data.classes == ("a", "b")
    assert "Permission denied" in finding(data, "unreadable_folder")


def test_what_holds_no_data_set_is_said_to(tmp_path: Path, draw: Draw) -> None:
    with pytest.raises(DataError, match="no class folders"):
        read(tmp_path)
    draw(tmp_path / "1.png", 1)
    with pytest.raises(DataError, match=r"no class folders.*Put each class's images into a folder"):
        read(tmp_path)
    with pytest.raises(DataError, match="a single file is no data set"):
        read(tmp_path / "1.png")
    with pytest.raises(DataError, match="there is no data set here"):
        read(tmp_path / "absent")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"no usable items.*1 items cannot be used"):
        read(tmp_path)


def test_few_items(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "a" / "1.png", 1)
    draw(tmp_path / "a" / "2.png", 2)
    with pytest.raises(DataError, match="only one class"):
        read(tmp_path)
    draw(tmp_path / "b" / "3.png", 3)
    assert "one item only" in finding(read(tmp_path), "class_of_one")
    (tmp_path / "a" / "2.png").unlink()
    assert read(tmp_path).classes == ("a", "b")


def test_a_thousand_classes(tmp_path: Path, draw: Draw) -> None:
    for i in range(1000):
        draw(tmp_path / str(i) / "x.png", i)
    data = read(tmp_path)
    assert data.classes == tuple(map(str, range(1000)))  # numbers sort as numbers
    assert [data.classes[t] + "/x.png" for t in data.targets] == list(data.names)


def test_unlabelled_files_folders_globs_and_lists(folder: Path) -> None:
    (folder / "a" / "notes.txt").write_text("x")
    whole = read(folder, labelled=False)
    assert len(whole.names) == 12 and whole.targets is None and whole.classes == ()
    one = read(folder / "a" / "0.png", labelled=False)
    assert one.names == (str(folder / "a" / "0.png"),)
    assert len(read(str(folder / "[ab]" / "*.png"), labelled=False).names) == 8
    both = read([folder / "a" / "0.png", str(folder / "b" / "1.png")], labelled=False)
    assert [Path(n).name for n in both.names] == ["0.png", "1.png"]
    listed = read([folder / "a" / "0.png", folder / "a" / "notes.txt"], labelled=False)
    assert "notes.txt is not an image" in finding(listed, "bad_items")
    with pytest.raises(DataError, match="there is no data set here"):
        read(str(folder / "*.bmp"), labelled=False)


def test_reading_folders_needs_no_polars(folder: Path) -> None:
    import subprocess

    code = f"import sys; from headway.data.read import read; read({str(folder)!r}); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"polars", "torch", "scipy", "sklearn"} & set(out.stdout.split())
