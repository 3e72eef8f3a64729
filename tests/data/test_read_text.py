"""Texts from folders, tables, arrays and saved data sets, however odd they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headway.data import health
from headway.data.dataset import drop, take, target_codes
from headway.data.read import read
from headway.data.split import split
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


def test_broken_utf_8_in_a_table_hurts_its_own_cell_only(tmp_path: Path) -> None:
    rows = ["Ελληνικά κείμενα".encode(), "Grüße aus Köln".encode("cp1252"), "größer".encode()]
    csv(tmp_path / "t.csv", b"text,label\n" + b"".join(row + b",\xc3\xa9t\xc3\xa9\n" for row in rows) + b"x y,b\n")
    data = read(tmp_path / "t.csv")
    assert data.sources == ("Ελληνικά κείμενα", "Grüße aus Köln", "größer", "x y")
    assert data.classes == ("b", "été")


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


# --- texts and tags to be written ---------------------------------------------------------------


def test_texts_to_be_written(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", "en,fr\nGood day,Bonjour\nNo,Non\nYes,\n")
    data = read(tmp_path / "t.csv", task="seq2seq", text="en", label="fr")
    assert list(data.targets or ()) == ["Bonjour", "Non"] and data.classes == () and data.sources == ("Good day", "No")
    assert finding(data, "missing_labels").evidence == ("row 2",)
    assert list(take(data, [1]).targets or ()) == ["Non"]
    other = csv(tmp_path / "u.csv", "en,fr\nGood day,Bonjour\nNo,Nan\n")
    assert read(other, task="seq2seq", text="en", label="fr").fingerprint != data.fingerprint
    with pytest.raises(OptionError, match="which column holds the texts to be written"):
        read(tmp_path / "t.csv", task="seq2seq", text="en")
    with pytest.raises(OptionError, match="for texts"):
        read(tmp_path / "t.csv", task="seq2seq", modality="image")


CONLL = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n# NN O\nPeter NNP B-PER\n"


def test_tokens_and_tags_of_every_source_are_the_same(tmp_path: Path) -> None:
    sentences, tags = [("EU", "rejects"), ("#", "Peter")], [("B-ORG", "O"), ("O", "B-PER")]
    expected = read((sentences, tags), task="tagging")
    assert expected.sources == tuple(sentences) and tuple(map(tuple, expected.targets or ())) == tuple(tags)
    lines = [json.dumps({"tokens": s, "tags": t}) for s, t in zip(sentences, tags, strict=True)]
    frame = pl.DataFrame({"tokens": [list(s) for s in sentences], "tags": [list(t) for t in tags]})
    frame.write_parquet(tmp_path / "t.parquet")
    csv(tmp_path / "t.jsonl", "\n".join(lines))
    csv(tmp_path / "t.conll", CONLL)
    csv(tmp_path / "t.tsv", CONLL.replace(" ", "\t").replace("\n", "\r\n"))
    for path in tmp_path.iterdir():
        assert read(path, task="tagging").fingerprint == expected.fingerprint, path.name
    by_number = read(tmp_path / "t.conll", task="tagging", text="1", label="2")
    assert next(iter(by_number.targets or ())) == ("NNP", "VBZ")
    unlabelled = read(tmp_path / "t.conll", task="tagging", labelled=False)
    assert unlabelled.sources == expected.sources and unlabelled.targets is None


def test_universal_dependencies_and_parts(tmp_path: Path) -> None:
    row = "{}\t{}\t_\t{}\t_\t_\t0\t_\t_\t_\n"
    content = (
        "# text = du pain\n" + row.format("1-2", "du", "_") + row.format(1, "de", "ADP") + row.format(2, "le", "DET")
    )
    content += row.format("2.1", "x", "X") + row.format(3, "pain", "NOUN") + "\n"
    for part in ("train", "test"):
        csv(tmp_path / f"{part}.conllu", content)
    data = read(tmp_path, task="tagging")
    assert data.sources[0] == ("de", "le", "pain") and next(iter(data.targets or ())) == ("ADP", "DET", "NOUN")
    assert data.parts == ("test", "train")


def test_tokens_and_tags_that_do_not_match(tmp_path: Path) -> None:
    data = read(([("a", "b"), ("c",), ("d",)], [("X",), ("X",), ("O",)]), task="tagging")
    assert data.sources == (("c",), ("d",))
    assert finding(data, "bad_items").evidence == ("row 0 has 2 tokens and 1 tags",)
    with pytest.raises(DataError, match=r"too few columns.*line 3: 'alone'"):
        read(csv(tmp_path / "t.conll", "a X\n\nalone\nb X\n"), task="tagging")
    with pytest.raises(OptionError, match="no names of columns"):
        read(csv(tmp_path / "u.conll", "a X\n"), task="tagging", label="tag")


def test_tags_are_checked_and_split_by_their_kinds() -> None:
    rng = np.random.default_rng(0)
    tags = [("B-RARE", "O") if i < 8 else ("B-COMMON", "O") for i in range(80)]
    data = read(([(f"w{i}", f"v{rng.integers(9)}") for i in range(80)], tags), task="tagging")
    parts = split(data, seed=0)
    rare = np.array([tag[0] == "B-RARE" for tag in data.targets or ()])
    assert rare[parts.test].sum() == 2 and len(parts.test) == 20
    again = read(([("same", "words")] * 2 + [("x", "y")], [("O", "O"), ("B", "O"), ("O", "O")]), task="tagging")
    assert {f.check for f in health.check(again)} == {"exact_duplicates", "conflicting_labels"}
    assert target_codes(again).tolist() == [0, 1, 0]
    note = Finding(check="x", severity="note", message="m")
    assert drop(again, [0], note).sources == (("same", "words"), ("x", "y"))
