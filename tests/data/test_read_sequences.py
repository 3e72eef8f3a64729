"""Texts that are to be written, and tokens with a tag each, from files, tables and arrays."""

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
from headway.types import Finding


def csv(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def finding(data: Any, check: str) -> Finding:
    return next(f for f in data.findings if f.check == check)


def test_texts_to_be_written(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", "en,fr\nGood day,Bonjour\nNo,Non\nYes,\n")
    data = read(tmp_path / "t.csv", task="seq2seq", text="en", label="fr")
    assert list(data.targets) == ["Bonjour", "Non"] and data.classes == () and data.sources == ("Good day", "No")
    assert finding(data, "missing_labels").evidence == ("row 2",)
    assert list(take(data, [1]).targets) == ["Non"]
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
