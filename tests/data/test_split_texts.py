"""Copies among real texts: never on two sides of a split."""

from __future__ import annotations

import numpy as np
import pytest

from headway import samples
from headway.data import health
from headway.data.read import read
from headway.data.split import split
from headway.modalities import text
from headway.types import Dataset, IntArray


@pytest.fixture(scope="module")
def bbc(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(samples.build("bbc", tmp_path_factory.mktemp("samples") / "bbc"))


@pytest.fixture(scope="module")
def near(bbc: Dataset) -> IntArray:
    hashes = np.stack([text.perceptual_hash(str(source)) for source in bbc.sources])
    return health.near_duplicates(hashes, bbc.digests, close=text.close_pairs)


def test_the_98_exact_copies_of_bbc_are_found(bbc: Dataset) -> None:
    assert (len(bbc.names), bbc.modality, len(bbc.classes)) == (2225, "text", 5)
    assert len(set(bbc.sources)) == 2225 - 98
    copies = next(finding for finding in health.check(bbc) if finding.check == "exact_duplicates")
    assert copies.message.startswith("98 items are exact copies")


@pytest.mark.parametrize("seed", range(3))
def test_no_copy_of_bbc_straddles_a_split(bbc: Dataset, near: IntArray, seed: int) -> None:
    known: dict[object, int] = {}
    content = np.array([known.setdefault(source, len(known)) for source in bbc.sources])
    assert len(np.unique(near)) < len(np.unique(content)), "there are near-copies beside the exact ones"
    parts = split(bbc, seed=seed, duplicates=near)
    assert len(parts.train) + len(parts.test) == len(bbc.names) and len(parts.folds) == 5
    for learnt, judged in ((parts.train, parts.test), *parts.folds):
        assert not np.intersect1d(content[learnt], content[judged]).size
        assert not np.intersect1d(near[learnt], near[judged]).size
    plain = np.random.default_rng(seed).permutation(len(bbc.names))
    assert np.intersect1d(content[plain[:500]], content[plain[500:]]).size, "a split that does not look tears copies"


def test_near_copies_of_bbc_share_most_of_their_words(bbc: Dataset, near: IntArray) -> None:
    """What is joined although it is not equal are other versions of an article, held here by their words."""
    first = np.unique(near, return_index=True)[1]
    words = [set(str(source).lower().split()) for source in bbc.sources]
    joined = [row for row in range(len(near)) if row not in set(first.tolist())]
    shared = [len(words[row] & words[first[near[row]]]) / len(words[row] | words[first[near[row]]]) for row in joined]
    assert len(joined) > 98 and min(shared) > 0.5
    classes = np.asarray(bbc.targets)
    assert np.mean([classes[row] == classes[first[near[row]]] for row in joined]) > 0.95


def test_one_text_of_very_many_characters_is_said() -> None:
    data = read((["word " * 210_000, "two words", "three more words"], ["a", "b", "a"]))
    found = next(finding for finding in health.check(data) if finding.check == "long_texts")
    assert found.evidence == ("row 0: 1,050,000 characters",) and "the median has 16" in found.message
    assert not [f for f in health.check(read((["one", "two"], ["a", "b"]))) if f.check == "long_texts"]
