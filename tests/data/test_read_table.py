"""Tables, saved data sets and arrays."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from headway.data.read import read
from headway.errors import DataError, OptionError

Draw = Callable[[Path | str, int], Path]


@pytest.fixture
def images(tmp_path: Path, draw: Draw) -> Path:
    for i in range(6):
        draw(tmp_path / "images" / f"{i}.png", i)
    return tmp_path


def columns(n: int = 6) -> dict[str, list[object]]:
    return {"file": [f"images/{i}.png" for i in range(n)], "kind": [["cat", "dog"][i % 2] for i in range(n)]}


def write(frame: pl.DataFrame, path: Path) -> Path:
    kind = path.suffix
    if kind == ".parquet":
        frame.write_parquet(path)
    elif kind == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if kind == ".tsv" else ",")
    return path


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_every_kind_of_table_gives_the_same_data_set(images: Path, kind: str) -> None:
    path = write(pl.DataFrame(columns()), images / f"table{kind}")
    data = read(path)
    assert data.names == tuple(f"images/{i}.png" for i in range(6))
    assert data.classes == ("cat", "dog") and data.targets is not None and data.targets.tolist() == [0, 1] * 3
    folder = read([images / str(n) for n in columns()["file"]], labelled=False)
    np.testing.assert_array_equal(data.digests, folder.digests)


@pytest.mark.parametrize("text", ["file;kind\n{}", "\ufefffile,kind\n{}", "file|kind\r\n{}", 'file,"kind"\n{}'])
def test_separators_byte_order_marks_and_line_ends(images: Path, text: str) -> None:
    separator = next(s for s in ";,|" if s in text)
    end = "\r\n" if "\r\n" in text else "\n"
    rows = end.join(f"images/{i}.png{separator}{'xy'[i % 2]}" for i in range(6))
    (images / "t.csv").write_bytes(text.format(rows).encode())
    assert read(images / "t.csv").classes == ("x", "y")


def test_absolute_paths_and_unusual_names(images: Path, draw: Draw) -> None:
    names = ["with space.png", "co,mma.png", "ünï\U0001f600.png", 'quo"te.png']
    for i, name in enumerate(names):
        draw(images / name, 50 + i)
    frame = pl.DataFrame({"p": [*map(str, map(images.joinpath, names))], "label": ["a", "b"] * 2})
    assert len(read(write(frame, images / "t.csv"), strict=True).names) == 4


def test_a_table_that_is_not_utf_8_finds_its_files(images: Path, draw: Draw) -> None:
    for i, name in enumerate([b"\xe9t\xe9.png", b"h\xffver.png"]):
        draw(images / os.fsdecode(name), i)
    (images / "t.csv").write_bytes(b"file,label\n\xe9t\xe9.png,\xe9t\xe9\nh\xffver.png,hiver\n")
    data = read(images / "t.csv", strict=True)
    assert set(data.classes) == {"été", "hiver"}


def test_label_and_group_columns_by_name(images: Path) -> None:
    frame = pl.DataFrame({**columns(), "who": ["u", "u", "v", None, None, "w"], "label": ["z"] * 5 + ["q"]})
    path = write(frame, images / "t.csv")
    data = read(path, label="kind", group="who")
    assert data.classes == ("cat", "dog")
    assert data.groups is not None and data.groups.tolist() == [0, 0, 1, 2, 3, 4]  # a missing group is one of its own
    assert read(path).classes == ("q", "z"), "a column called label is the label"
    with pytest.raises(OptionError, match=r"no column 'kin'.*'file', 'kind', 'who', 'label'.*Did you mean kind"):
        read(path, label="kin")
    with pytest.raises(OptionError, match="no column 'whom'"):
        read(path, group="whom")


def test_an_unclear_label_column_is_asked_for(images: Path) -> None:
    frame = pl.DataFrame({**columns(), "colour": ["red", "blue"] * 3})
    with pytest.raises(OptionError, match=r"not clear which column.*'kind', 'colour'.*--label kind or --label colour"):
        read(write(frame, images / "t.csv"))
    only_id = pl.DataFrame({"file": columns()["file"], "id": [*range(6)], "same": ["x"] * 6})
    with pytest.raises(OptionError, match="not clear which column"):
        read(write(only_id, images / "t.csv"))


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".jsonl"])
def test_missing_labels_are_dropped_and_counted(images: Path, kind: str) -> None:
    frame = pl.DataFrame({**columns(), "kind": ["cat", None, "dog", "", "cat", "dog"]})
    data = read(write(frame, images / f"t{kind}"))
    assert data.names == tuple(f"images/{i}.png" for i in (0, 2, 4, 5))
    (found,) = [f for f in data.findings if f.check == "missing_labels"]
    assert found.message.startswith("2 items have no label") and found.evidence == ("images/1.png", "images/3.png")


def test_numeric_and_unicode_labels(images: Path) -> None:
    numbers = pl.DataFrame({**columns(), "kind": [10, 9, 10, 9, 2, 2]})
    assert read(write(numbers, images / "n.csv"), label="kind").classes == ("2", "9", "10")
    assert read(write(numbers, images / "n.parquet"), label="kind").classes == ("2", "9", "10")
    padded = pl.DataFrame({**columns(), "kind": ["007", "7"] * 3})
    assert read(write(padded, images / "p.csv")).classes == ("007", "7")
    words = pl.DataFrame({**columns(), "kind": ["猫", "Hündin", "🐟"] * 2})
    assert set(read(write(words, images / "w.csv")).classes) == {"猫", "Hündin", "🐟"}


def test_a_split_column_gives_parts(images: Path) -> None:
    frame = pl.DataFrame({**columns(), "split": ["train", "train", "valid", "train", "test", None]})
    assert read(write(frame, images / "t.csv")).parts == ("train", "train", "val", "train", "test", None)


def test_equal_column_names_are_refused(images: Path) -> None:
    (images / "t.csv").write_text("file,label,label\nimages/0.png,a,b\n")
    with pytest.raises(DataError, match=r"the same name.*'label'"):
        read(images / "t.csv")


def test_files_that_are_absent_are_bad_items(images: Path) -> None:
    frame = pl.DataFrame({"file": [*columns()["file"], "images/gone.png"], "kind": ["cat", "dog"] * 3 + ["cat"]})
    data = read(write(frame, images / "t.csv"))
    assert len(data.names) == 6 and "gone.png does not exist" in data.findings[0].evidence[0]
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read(images / "t.csv", strict=True)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"one column only\nx\n", b'{"a": '])
def test_tables_that_are_none(images: Path, name: str, content: bytes) -> None:
    (images / name).write_bytes(content)
    with pytest.raises(DataError):
        read(images / name)


def test_a_folder_with_metadata(images: Path) -> None:
    frame = pl.DataFrame({"file_name": [f"{i}.png" for i in range(6)], "label": ["a", "b"] * 3})
    write(frame, images / "images" / "metadata.csv")
    assert read(images / "images").classes == ("a", "b")


def test_unlabelled_tables(images: Path) -> None:
    path = write(pl.DataFrame({"file": columns()["file"], "x": [1] * 6, "y": [2] * 6}), images / "t.csv")
    data = read(path, labelled=False)
    assert data.targets is None and len(data.names) == 6


# --- saved by datasets --------------------------------------------------------------------------


def hub(n: int = 6) -> object:
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ant"])})
    pictures = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)) for i in range(n)]
    return datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, -1, 0, 1, 1][:n]}, features=features)


def test_a_saved_data_set(tmp_path: Path) -> None:
    hub().save_to_disk(tmp_path / "one")  # type: ignore[attr-defined]
    data = read(tmp_path / "one")
    assert data.classes == ("ant", "zebra")
    assert data.targets is not None and [data.classes[t] for t in data.targets] == [
        "zebra",
        "ant",
        "zebra",
        "ant",
        "ant",
    ]
    assert [f.check for f in data.findings] == ["missing_labels"]
    expected = np.random.default_rng(3).integers(0, 256, (9, 9, 3), np.uint8)
    source = data.sources[2]
    assert isinstance(source, bytes)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(source))), expected)


def test_a_saved_dictionary_of_parts_and_parquet(tmp_path: Path) -> None:
    import datasets

    datasets.DatasetDict({"train": hub(), "validation": hub(2), "test": hub(2)}).save_to_disk(tmp_path / "d")
    data = read(tmp_path / "d")
    assert data.parts == ("train",) * 5 + ("val",) * 2 + ("test",) * 2
    assert data.classes == ("ant", "zebra") and data.names[-1] == "test/row 1"
    hub().to_parquet(tmp_path / "d.parquet")  # type: ignore[attr-defined]
    assert read(tmp_path / "d.parquet").classes == ("ant", "zebra")


def sharded(folder: Path, part: str, n: int, of: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(of):
        rows = hub(n).shard(of, k, contiguous=True)  # type: ignore[attr-defined]
        rows.to_parquet(folder / f"{part}-{k:05d}-of-{of:05d}.parquet")


@pytest.mark.parametrize("inside", ["", "data"])
def test_the_parquet_files_of_a_hub_folder_are_one_data_set(tmp_path: Path, inside: str) -> None:
    for part, n, of in (("train", 6, 2), ("validation", 2, 1), ("test", 4, 3)):
        sharded(tmp_path / "hub" / inside, part, n, of)
    (tmp_path / "hub" / "README.md").write_text("a card")
    data = read(tmp_path / "hub")
    assert data.classes == ("ant", "zebra") and [f.check for f in data.findings] == ["missing_labels"]
    assert data.targets is not None and data.parts is not None
    rows = {name: (data.classes[t], part) for name, t, part in zip(data.names, data.targets, data.parts, strict=True)}
    kinds = ["zebra", "ant", None, "zebra", "ant", "ant"]  # as hub() labels them; None has no label
    expected = {}
    for part, n, short in (("train", 6, "train"), ("validation", 2, "val"), ("test", 4, "test")):
        expected |= {f"{part}/row {i}": (kinds[i], short) for i in range(n) if kinds[i]}
    assert rows == expected
    hub().save_to_disk(tmp_path / "saved")  # type: ignore[attr-defined]
    whole = {digest.tobytes() for digest in read(tmp_path / "saved").digests}
    assert {digest.tobytes() for digest in data.digests} == whole  # the same pictures, from the bytes in the files
    assert len(read(tmp_path / "hub", labelled=False).names) == 12


def test_a_missing_shard_is_said_and_a_lone_part_may_have_any_name(tmp_path: Path) -> None:
    sharded(tmp_path, "full", 6, 3)
    data = read(tmp_path)
    assert data.parts is None and len(data.names) == 5
    assert not [f for f in data.findings if f.check == "absent_shards"]
    (tmp_path / "full-00001-of-00003.parquet").unlink()
    (found,) = [f for f in read(tmp_path).findings if f.check == "absent_shards"]
    assert found.evidence == ("full: 2 of 3 files are here",)


def test_parquet_files_beside_class_folders_are_left_alone(folder: Path) -> None:
    expected = read(folder).fingerprint
    hub().to_parquet(folder / "train.parquet")  # type: ignore[attr-defined]
    assert read(folder).fingerprint == expected


def test_parquet_files_of_parts_need_no_numbers_but_one_schema(tmp_path: Path) -> None:
    for part in ("train", "test"):
        hub().to_parquet(tmp_path / f"{part}.parquet")  # type: ignore[attr-defined]
    assert read(tmp_path).parts == ("test",) * 5 + ("train",) * 5
    sharded(tmp_path / "other", "train", 4, 2)
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "other" / "train-00001-of-00002.parquet")
    with pytest.raises(DataError, match=r"saved data set cannot be read.*train-00001-of-00002"):
        read(tmp_path / "other")


def test_damaged_saved_data_sets(tmp_path: Path) -> None:
    for state in ("{", "{}", json.dumps({"_data_files": [{"filename": "../../etc/passwd"}]})):
        (tmp_path / "state.json").write_text(state)
        with pytest.raises(DataError, match="saved data set"):
            read(tmp_path)


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 8, 9), (4, 8, 9, 1), (4, 8, 9, 3)])
def test_arrays_of_every_shape_and_scale(shape: tuple[int, ...]) -> None:
    X = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    y = np.array(["a", "b", "a", "b"])
    data = read((X, y))
    assert data.names == ("row 0", "row 1", "row 2", "row 3") and data.classes == ("a", "b")
    first = data.sources[0]
    assert isinstance(first, np.ndarray) and first.shape == (8, 9, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first[..., 0], X[0].reshape(8, 9, -1)[..., 0])
    for other in (X / 255, X.astype(np.float32), X.astype(np.int64), X.tolist() if X.ndim == 4 else list(X)):
        assert read((other, list(y))).fingerprint == data.fingerprint


def test_lists_of_anything(tmp_path: Path, draw: Draw) -> None:
    path = draw(tmp_path / "0.png", 0)
    picture = Image.open(path)
    pixels = np.asarray(picture)
    data = read(([path, str(path), path.read_bytes(), pixels, picture, pixels[..., 0]], [1, 2, 1, 2, 1, 2]))
    assert len(data.names) == 6
    assert (data.digests[0] == data.digests[1]).all() and (data.digests[0] == data.digests[2]).all()
    assert (data.digests[3] == data.digests[4]).all() and (data.digests[3] != data.digests[5]).any()


def test_shape_is_part_of_the_content() -> None:
    data = read(([*np.zeros((2, 4, 4), np.uint8), np.zeros((2, 8), np.uint8)], [0, 1, 1]))
    assert (data.digests[0] == data.digests[1]).all() and (data.digests[0] != data.digests[2]).any()


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.zeros((3, 4)), [0, 1, 1]),
        (np.zeros((3, 4, 4)), [0, 1]),
        (np.zeros((3, 4, 4, 2)), [0, 1, 1]),
        (np.full((3, 4, 4), np.nan), [0, 1, 1]),
        (np.full((3, 4, 4), 256), [0, 1, 1]),
        (np.full((3, 4, 4), -1.0), [0, 1, 1]),
        (np.zeros((3, 4, 4), complex), [0, 1, 1]),
        (np.zeros((3, 4, 4)), np.zeros((3, 2))),
        ([object()] * 3, [0, 1, 1]),
        ([], []),
        (np.zeros((0, 4, 4)), []),
        (5, [1]),
    ],
)
def test_arrays_that_are_no_images(X: object, y: object) -> None:
    with pytest.raises(DataError):
        read((X, y))


def test_arrays_without_labels() -> None:
    with pytest.raises(DataError, match="no labels"):
        read(np.zeros((3, 4, 4), np.uint8))
    assert read(np.zeros((3, 4, 4), np.uint8), labelled=False).targets is None
    assert read((np.zeros((2, 4, 4), np.uint8), [0, 1]), labelled=False).targets is None
