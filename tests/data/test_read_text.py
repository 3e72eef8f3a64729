"""Texts from folders, tables, arrays and saved data sets, however odd they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headway.data.read import read
from headway.errors import DataError, OptionError
from headway.modalities import text
from headway.types import Finding

PROSE = [f"a sentence of several words, number {i}" for i in range(12)]


def csv(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def finding(data: Any, check: str) -> Finding:
    return next(f for f in data.findings if f.check == check)


@pytest.mark.parametrize("suffix", [".txt", ""])
def test_a_folder_of_texts_a_class(tmp_path: Path, suffix: str) -> None:
    for label in ("sport", "tech"):
        (tmp_path / label).mkdir()
        for i in range(3):
            (tmp_path / label / f"{i}{suffix}").write_text(f"{label} {i}")
    (tmp_path / "README.txt").write_text("about the data")
    data = read(tmp_path)
    assert (data.modality, data.classes) == ("text", ("sport", "tech"))
    assert data.sources == tuple(f"{label} {i}" for label in data.classes for i in range(3))
    assert data.names[0] == f"sport/0{suffix}" and not data.findings


def test_images_among_texts_and_texts_among_images_are_left_alone(tmp_path: Path, draw: Any) -> None:
    for label in ("a", "b"):
        for i in range(3):
            draw(tmp_path / "pictures" / label / f"{i}.png", hash((label, i)) % 100)
            (tmp_path / "texts" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "texts" / label / f"{i}.txt").write_text(f"{label} {i}")
    (tmp_path / "pictures/a/notes.txt").write_text("notes")
    draw(tmp_path / "texts/a/figure.png", 1)
    pictures, texts = read(tmp_path / "pictures"), read(tmp_path / "texts")
    assert (pictures.modality, texts.modality) == ("image", "text")
    assert len(pictures.names) == len(texts.names) == 6
    assert finding(texts, "not_texts").evidence == ("a/figure.png",)


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_every_kind_of_table_gives_the_same_texts(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"body": PROSE, "topic": ["x", "y"] * 6, "who": ["u", "v", "w"] * 4})
    path = tmp_path / f"t{kind}"
    if kind == ".parquet":
        frame.write_parquet(path)
    elif kind == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if kind == ".tsv" else ",")
    asked = read(path, text="body", label="topic", group="who")
    assert asked.sources == tuple(PROSE) and asked.classes == ("x", "y")
    assert asked.groups is not None and asked.groups.tolist() == [0, 1, 2] * 4
    found = read(path, label="topic", group="who")
    assert found.fingerprint == asked.fingerprint, "the column of texts is unmistakable"
    np.testing.assert_array_equal(asked.digests, read((PROSE, ["x", "y"] * 6)).digests)


def test_pairs_by_name_and_from_python(tmp_path: Path) -> None:
    pairs = [(f"first {i}", f"second {i}") for i in range(4)]
    frame = pl.DataFrame(
        {"sentence1": [a for a, _ in pairs], "sentence2": [b for _, b in pairs], "label": ["s", "d"] * 2}
    )
    frame.write_csv(tmp_path / "pairs.csv")
    expected = read((pairs, ["s", "d"] * 2))
    assert expected.sources == tuple(pairs)
    assert read(tmp_path / "pairs.csv").fingerprint == expected.fingerprint
    turned = read(tmp_path / "pairs.csv", text=("sentence2", "sentence1"), label="label")
    assert turned.sources[0] == ("second 0", "first 0") and turned.fingerprint != expected.fingerprint
    assert len(np.unique(read(([("ab", "c"), ("a", "bc")], ["x", "y"])).digests, axis=0)) == 2


def test_unclear_columns_are_asked_for(tmp_path: Path) -> None:
    frame = pl.DataFrame({"one": PROSE, "two": PROSE[::-1], "label": ["x", "y"] * 6})
    frame.write_csv(tmp_path / "t.csv")
    with pytest.raises(OptionError, match=r"--text one or --text two"):
        read(tmp_path / "t.csv", modality="text")
    with pytest.raises(OptionError, match=r"no column 'tow'.*Did you mean two"):
        read(tmp_path / "t.csv", text="tow", label="label")
    with pytest.raises(OptionError, match="too many columns of texts"):
        read(tmp_path / "t.csv", text=("one", "two", "label"))


def test_missing_paths_are_not_taken_for_texts(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", "file,label\n" + "".join(f"gone/{i}.png,{'xy'[i % 2]}\n" for i in range(6)))
    with pytest.raises(DataError, match="no column of the table holds paths"):
        read(tmp_path / "t.csv")


# --- odd texts ----------------------------------------------------------------------------------

ODD = {
    "emoji": "😀🎉🏳️‍🌈",
    "right to left": "שלום עולם مرحبا",
    "mixed": "Привет 你好 hello नमस्ते",
    "nul": "before\0after",
    "large": "word " * 210_000,
    "quoted": 'she said "no", then\nleft; twice',
    "spaces": "  kept as they are  ",
}


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".jsonl"])
def test_odd_texts_come_through_as_they_are(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"text": [*ODD.values()], "label": ["a", "b", "a", "b", "a", "b", "a"]})
    path = tmp_path / f"t{kind}"
    {".csv": frame.write_csv, ".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson}[kind](path)
    data = read(path)
    assert data.sources == tuple(ODD.values())
    assert finding(data, "odd_texts").evidence == ("row 3 holds NUL characters",)
    for source in data.sources:
        assert text.perceptual_hash(source).shape == (256,)


def test_odd_texts_in_files(tmp_path: Path) -> None:
    contents = {
        "utf8_mark": "\ufeffGrüße".encode(),
        "utf16": "Grüße".encode("utf-16"),
        "utf16_be": b"\xfe\xff" + "Grüße".encode("utf-16-be"),
        "no_mark": "plain words".encode("utf-16-le"),
        "western": "Grüße für 5 €".encode("cp1252"),
        "broken": "Ελληνικά κείμενο".encode()[:-1] + b" end",
    }
    for i, (name, content) in enumerate(contents.items()):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.txt").write_bytes(content)
    data = read(tmp_path)
    by_name = {Path(name).stem: source for name, source in zip(data.names, data.sources, strict=True)}
    assert by_name["utf8_mark"] == by_name["utf16"] == by_name["utf16_be"] == "Grüße"
    assert by_name["no_mark"] == "plain words"
    assert by_name["western"] == "Grüße für 5 €"
    assert by_name["broken"] == "Ελληνικά κείμεν\ufffd end"
    odd = finding(data, "odd_texts").evidence
    assert sorted(item.split("/")[1].split(".")[0] for item in odd) == ["broken", "western"]


def test_empty_texts_are_named_and_left_out(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", 'text,label\none two,a\n,a\n"  ",b\n\u200b,b\nthree four,b\n')
    data = read(tmp_path / "t.csv")
    assert data.sources == ("one two", "three four")
    assert finding(data, "bad_items").evidence == ("row 1 is empty", "row 2 is empty", "row 3 is empty")
    with pytest.raises(DataError, match="3 items cannot be used"):
        read(tmp_path / "t.csv", strict=True)
    for label, content in (("a", b"text"), ("b", b""), ("b", b"\xef\xbb\xbf \n"), ("b", b"more")):
        (tmp_path / "f" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / label / f"{len(content)}.txt").write_bytes(content)
    assert read(tmp_path / "f").sources == ("text", "more")


@pytest.mark.parametrize(
    "content",
    [
        'text;label\n"one; two ""x""\nthree";a\nfour five;b\n',
        '\ufefftext,label\r\n"one; two ""x""\nthree",a\r\nfour five,b\r\n',
    ],
)
def test_quotes_line_ends_marks_and_separators(tmp_path: Path, content: str) -> None:
    data = read(csv(tmp_path / "t.csv", content))
    assert data.sources == ('one; two "x"\nthree', "four five") and data.classes == ("a", "b")
    wide = read(csv(tmp_path / "w.csv", content.removeprefix("\ufeff").encode("utf-16")))
    assert wide.fingerprint == data.fingerprint


def test_lines_of_json_in_any_encoding(tmp_path: Path) -> None:
    lines = '{"text": "Grüße aus Köln", "label": "a"}\n{"text": "x y", "label": "b"}\n'
    expected = read(csv(tmp_path / "plain.jsonl", lines)).fingerprint
    for name, content in {
        "mark": b"\xef\xbb\xbf" + lines.encode(),
        "wide": lines.encode("utf-16"),
        "western": lines.encode("cp1252"),
    }.items():
        data = read(csv(tmp_path / f"{name}.jsonl", content))
        assert data.fingerprint == expected, name
        said = [f.message for f in data.findings if f.check == "odd_table"]
        assert said == (["The table is not UTF-8: read as Windows-1252."] if name == "western" else [])


def test_headers_and_line_ends_of_other_programs(tmp_path: Path) -> None:
    old = read(csv(tmp_path / "mac.csv", "text,label\rone two,a\rthree four,b\r"))
    assert old.sources == ("one two", "three four") and old.classes == ("a", "b")
    quoted = read(csv(tmp_path / "q.csv", '"text, as, it, was";label\none, two;a\nthree;b\n'), text="text, as, it, was")
    assert quoted.sources == ("one, two", "three") and quoted.classes == ("a", "b")
    own = read(csv(tmp_path / "o.csv", "text,x_duplicated_0,label\none two,p,a\nthree four,p,b\n"), label="label")
    assert own.sources == ("one two", "three four"), "a name of the user's own"


def test_a_saved_hugging_face_data_set_of_texts(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})

    def part(texts: list[str]) -> Any:
        table = {"text": texts, "label": [i % 2 for i in range(len(texts))]}
        return datasets.Dataset.from_dict(table, features=features)

    datasets.DatasetDict({"train": part(PROSE), "test": part(["a last one", "the very last"])}).save_to_disk(
        tmp_path / "d"
    )
    data = read(tmp_path / "d")
    assert data.sources == (*PROSE, "a last one", "the very last") and data.classes == ("neg", "pos")
    assert data.parts == ("train",) * 12 + ("test",) * 2 and data.modality == "text"
    (tmp_path / "hub").mkdir()
    part(PROSE).to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    hub = read(tmp_path / "hub", text="text", label="label")
    assert hub.sources == tuple(PROSE) and hub.classes == ("neg", "pos")


def test_broken_utf_8_in_a_table_hurts_its_own_cell_only(tmp_path: Path) -> None:
    rows = ["Ελληνικά κείμενα".encode(), "Grüße aus Köln".encode("cp1252"), "größer".encode()]
    csv(tmp_path / "t.csv", b"text,label\n" + b"".join(row + b",\xc3\xa9t\xc3\xa9\n" for row in rows) + b"x y,b\n")
    data = read(tmp_path / "t.csv")
    assert data.sources == ("Ελληνικά κείμενα", "Grüße aus Köln", "größer", "x y")
    assert data.classes == ("b", "été")
    assert finding(data, "odd_table").message.startswith("The table is not UTF-8 throughout")


def test_duplicate_header_missing_labels_and_labels_like_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"columns of the table have the same name.*'text'"):
        read(csv(tmp_path / "d.csv", "text,text,label\na b,c d,x\ne f,g h,y\n"))
    content = "text,label\none two,007\nthree four,7\nfive six,\nseven eight,007\n"
    data = read(csv(tmp_path / "l.csv", content))
    assert data.classes == ("007", "7") and len(data.names) == 3
    assert finding(data, "missing_labels").evidence == ("row 2",)
    stars = read(csv(tmp_path / "s.csv", "text,label\n" + "".join(f"{t},{i % 10 + 1}\n" for i, t in enumerate(ODD))))
    assert stars.task == "classification" and stars.classes == tuple(map(str, range(1, 8)))
    rated = read((PROSE * 3, [i / 7 for i in range(36)]))
    assert (rated.task, rated.modality) == ("regression", "text")


def test_cleaning_is_off_unless_asked_for(tmp_path: Path) -> None:
    raw = "e\u0301 &amp; \x07  x"
    assert read(([raw, "y"], ["a", "b"])).sources[0] == raw
    cleaned = read(([raw, "y"], ["a", "b"]), clean=("html", "controls", "nfc", "blanks"))
    assert cleaned.sources[0] == "é & x"
    with pytest.raises(OptionError, match=r"Did you mean blanks"):
        read(([raw, "y"], ["a", "b"]), clean=("blank",))


def test_strings_are_paths_where_they_name_files(tmp_path: Path, draw: Any) -> None:
    files = [draw(tmp_path / f"{i}.png", i) for i in range(2)]
    assert read(([*map(str, files)], ["a", "b"])).modality == "image"
    assert read(["a.txt and more", "second"], labelled=False).sources == ("a.txt and more", "second")
    (tmp_path / "a.txt").write_text("content")
    assert read([tmp_path / "a.txt"], labelled=False).sources == ("content",)
    assert read(tmp_path / "a.txt", labelled=False, modality="text").sources == ("content",)
    with pytest.raises(DataError, match="neither a text nor a pair"):
        read(([("a", "b", "c")], ["x"]), modality="text")
