"""Every data set, built from its real package: counts a class, and every file can be read."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headway import samples
from headway.data.read import read

pytestmark = pytest.mark.samples

MNIST = {str(digit): 500 for digit in range(10)}
STAMPS = {"birds": 35, "mammals": 68, "fish": 11, "fruit": 26, "flowers": 25, "vehicles": 11, "tools": 13}
CLIP13 = {
    "beverages": 49,
    "birds": 50,
    "boating": 33,
    "bugs": 49,
    "buildings": 68,
    "desserts": 67,
    "fish": 19,
    "flowers": 28,
    "fruit": 79,
    "mammals": 110,
    "tools": 123,
    "trees": 11,
    "vehicles": 30,
}
BBC = {"business": 510, "entertainment": 386, "politics": 417, "sports": 511, "tech": 401}
DRUMS = {
    "clap": 19,
    "cowbell": 20,
    "crash": 41,
    "hihat": 148,
    "kick": 61,
    "ride": 71,
    "snare": 101,
    "stick": 30,
    "tom": 96,
}
LETTERS = {chr(code): 3 for code in range(ord("a"), ord("z") + 1)}

FOLDERS = [
    ("mnist5k", MNIST),
    ("stamp7", STAMPS),
    ("stamp9", STAMPS | {"bugs": 9, "trees": 7}),
    pytest.param("clip13", CLIP13, marks=pytest.mark.slow),
    ("bbc", BBC),
    pytest.param("drum-hits", DRUMS, marks=pytest.mark.slow),
    ("spoken-letters", LETTERS),
]
TABLES = {
    "sentiment": {"tweets": 4200, "products": 3708, "films": 10605, "newspaper": 5190},
    "django-fr": {"django-fr": 806},
    "django-de": {"django-de": 777},
    "django-es": {"django-es": 790},
    "movielens": {"ratings": 100_004, "films": 9066},
    "trees": {"boxes": 951},
}


def counts(folder: Path) -> dict[str, int]:
    return {path.name: len(list(path.iterdir())) for path in folder.iterdir() if path.is_dir()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_readable(path: Path) -> None:
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            assert max(image.size) <= 512
    elif path.suffix == ".txt":
        assert path.read_text(encoding="utf-8").strip()
    elif path.suffix != ".csv":
        start = path.read_bytes()[:4]
        assert start in {".wav": [b"RIFF"], ".flac": [b"fLaC"], ".aiff": [b"FORM"], ".ogg": [b"OggS"]}[path.suffix]


@pytest.mark.parametrize(("name", "expected"), FOLDERS)
def test_folder_a_class(name: str, expected: dict[str, int], tmp_path: Path) -> None:
    to = samples.build(name, tmp_path / name)
    assert counts(to) == expected
    declared = next(sample.items for sample in samples.available() if sample.name == name)
    assert sum(expected.values()) == declared
    for path in to.rglob("*"):
        if path.is_file():
            check_readable(path)


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path) -> None:
    to = samples.build(name, tmp_path / name)
    assert {path.stem: len(rows(path)) for path in to.glob("*.csv")} == TABLES[name]


def test_clip13_and_stamp7_are_a_pair_of_domains() -> None:
    assert set(STAMPS) < set(CLIP13)


def test_sentiment_is_a_mean_rating_in_its_range(tmp_path: Path) -> None:
    to = samples.build("sentiment", tmp_path / "to")
    for path in to.glob("*.csv"):
        table = rows(path)
        means = np.array([float(row["score"]) for row in table])
        assert -4 <= means.min() < -1 < 1 < means.max() <= 4
        assert {row["domain"] for row in table} == {path.stem}
        assert all(row["text"] for row in table)


def test_addresses_are_words_and_tags_that_the_reader_takes(tmp_path: Path) -> None:
    data = read(samples.build("addresses", tmp_path / "to"), task="tagging")
    assert (len(data.names), data.modality, data.task) == (1488, "text", "tagging")
    spans = [tag for tag in data.classes if tag != "O"]  # outside of all is a tag, though every word here is inside one
    assert len({tag[2:] for tag in spans}) == 29 and {tag[:2] for tag in spans} == {"B-", "I-"}
    before = [("O", *tags[:-1]) for tags in data.targets or ()]
    for tags, earlier in zip(data.targets or (), before, strict=True):
        assert all(tag[0] == "B" or tag[2:] == e[2:] for tag, e in zip(tags, earlier, strict=True)), "IOB2"
    assert len(set(zip(data.sources, map(tuple, data.targets or ()), strict=True))) == 1488


def test_boxes_lie_in_their_photographs(tmp_path: Path) -> None:
    to = samples.build("trees", tmp_path / "to")
    table = rows(to / "boxes.csv")
    assert sorted(Counter(row["path"] for row in table).values()) == [37, 61, 279, 574]
    for name in {row["path"] for row in table}:
        with Image.open(to / name) as image:
            width, height = image.size
        for row in table:
            if row["path"] == name:
                assert 0 <= int(row["xmin"]) < int(row["xmax"]) <= width
                assert 0 <= int(row["ymin"]) < int(row["ymax"]) <= height


def test_drum_hits_have_fifteen_kits(tmp_path: Path) -> None:
    table = rows(samples.build("drum-hits", tmp_path / "to") / "items.csv")
    assert len(table) == 587
    assert len({row["kit"] for row in table}) == 15


def test_movielens_rows(tmp_path: Path) -> None:
    to = samples.build("movielens", tmp_path / "to")
    ratings = rows(to / "ratings.csv")
    films = {row["film"]: row for row in rows(to / "films.csv")}
    assert len({row["user"] for row in ratings}) == 671
    assert {row["film"] for row in ratings} == set(films)
    assert {float(row["rating"]) for row in ratings} == {half / 2 for half in range(1, 11)}
    assert films["260"]["title"].startswith("Star Wars")
    assert films["260"]["year"] == "1977"


@pytest.mark.slow
def test_fashion_mnist_whole_and_in_part(tmp_path: Path) -> None:
    whole = samples.build("fashion-mnist", tmp_path / "whole")
    part = samples.build("fashion5k", tmp_path / "part")
    for folder, train, test in ((whole, 6000, 1000), (part, 400, 100)):
        assert set(counts(folder / "train").values()) == {train}
        assert set(counts(folder / "test").values()) == {test}
        assert len(counts(folder / "train")) == len(counts(folder / "test")) == 10
    for path in (part / "test").rglob("*.png"):
        assert path.read_bytes() == (whole / path.relative_to(part)).read_bytes()
