"""Splits of texts for ``text.py``: a folder a class of text files under ``train/`` and ``test/``."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from _shared import sample
from headway import fetch

ASKED = 500  # test texts at most: a fit measures them within its budget
NEGATIVE, POSITIVE = -1.0, 1.0  # mean ratings of -4..4: negative up to the one, positive from the other, else neutral


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A sample, its table where it has several, and how many texts are learnt from, the classes as even as can be."""

    sample: str
    labels: int
    table: str = ""


DOMAINS = ("films", "newspaper", "products", "tweets")
DATA = {
    "bbc-5": Set(sample="bbc", labels=25),
    "bbc-20": Set(sample="bbc", labels=100),
    **{domain: Set(sample="sentiment", labels=100, table=domain) for domain in DOMAINS},
}
GROUPS = {"bbc-5": ("bbc-5",), "bbc-20": ("bbc-20",), "sentiment": DOMAINS}


def home() -> Path:
    found = fetch.cache_dir() / "benchmarks" / "text"
    found.mkdir(parents=True, exist_ok=True)
    return found


def split_of(name: str, *, seed: int, asked: int = ASKED) -> Path:
    """``train/`` and ``test/`` of a data set, by a draw of its own for each seed. No text is there twice."""
    to = home() / f"{name}-{seed}-{asked}"
    if to.exists():
        return to
    rng, by_class = np.random.default_rng(seed), texts_of(DATA[name])
    classes = sorted(by_class)
    making = Path(tempfile.mkdtemp(prefix="split-", dir=home()))
    for place, label in enumerate(classes):
        texts = [by_class[label][row] for row in rng.permutation(len(by_class[label]))]
        shots = DATA[name].labels // len(classes) + (place < DATA[name].labels % len(classes))
        for part, taken in (("train", texts[:shots]), ("test", texts[shots:][: asked // len(classes)])):
            write(making / part / label, taken)
    making.rename(to)
    return to


def texts_of(wanted: Set) -> Mapping[str, list[str]]:
    """The texts of every class; of those that differ in case and spacing alone, only the first."""
    source = sample(wanted.sample)
    if wanted.table:
        with (source / f"{wanted.table}.csv").open(newline="", encoding="utf-8") as file:
            found = [(row["text"], opinion(float(row["score"]))) for row in csv.DictReader(file)]
    else:
        found = [(path.read_text("utf-8"), path.parent.name) for path in sorted(source.glob("*/*.txt"))]
    seen: set[str] = set()
    by_class: dict[str, list[str]] = {}
    for text, label in found:
        key = " ".join(text.casefold().split())
        if key not in seen:
            seen.add(key)
            by_class.setdefault(label, []).append(text)
    return by_class


def opinion(rating: float) -> str:
    return "negative" if rating <= NEGATIVE else "positive" if rating >= POSITIVE else "neutral"


def write(folder: Path, texts: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, text in enumerate(texts):
        (folder / f"{number:04d}.txt").write_text(text, "utf-8")


def digest(folder: Path) -> str:
    """Of a split's names and texts: what says whether kept answers are to the same question."""
    paths = sorted(path for path in folder.rglob("*.txt"))
    lines = [f"{path.relative_to(folder)}\0{path.read_text('utf-8')}" for path in paths]
    return hashlib.blake2b("\0".join(lines).encode(), digest_size=8).hexdigest()


def documents(count: int | None) -> Path:
    """BBC's articles without the copies, in the folders of their classes; with ``count`` as many of them in all."""
    to = home() / f"bbc-{count or 'all'}"
    if not to.exists():
        by_class = texts_of(DATA["bbc-5"])
        making = Path(tempfile.mkdtemp(prefix="split-", dir=home()))
        for label, texts in by_class.items():
            write(making / label, texts[: None if count is None else count // len(by_class)])
        making.rename(to)
    return to
