"""``vectors:`` files written by gensim, against sums written out in numpy."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from headway import backbones
from headway.backbones import vectors
from headway.errors import WeightsMissing, WeightsRefused

from .text_oracles import features

WORDS = ("the", "of", "market", "goal", "élan")
TABLE = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
TEXTS = ("the goal of the market", "élan, the", "nothing known", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))


def _save(path: Path, kind: str) -> Path:
    from gensim.models import KeyedVectors

    found = KeyedVectors(4)
    found.add_vectors(list(WORDS), TABLE)
    if kind == "glove":
        path.write_text("".join(f"{w} {' '.join(map(repr, v.tolist()))}\n" for w, v in zip(WORDS, TABLE, strict=True)))
    elif kind == "gz":
        plain = _save(path.with_suffix(".plain"), "text")
        path = path.with_suffix(".gz")
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        found.save_word2vec_format(str(path), binary=kind == "binary")
    return path


def _expected(probabilities: np.ndarray) -> np.ndarray:
    """Arora et al. 2017, algorithm 1, its first loop; a text of unknown words alone is 0."""
    rows = []
    for text in TEXTS:
        known = [WORDS.index(word) for word in text.replace(",", " ").split() if word in WORDS]
        parts = [1e-3 / (1e-3 + probabilities[w]) * TABLE[w] for w in known]
        rows.append(np.sum(parts, axis=0) / len(parts) if parts else np.zeros(4))
    return np.array(rows)


ZIPF = 1 / np.arange(1, 6) / (1 / np.arange(1, 6)).sum()


@pytest.mark.parametrize("kind", ["text", "binary", "glove", "gz"])
def test_every_format_gives_the_weighted_mean(tmp_path: Path, kind: str) -> None:
    network = backbones.open(f"vectors:{_save(tmp_path / 'words.vec', kind)}", offline=True)
    assert (network.spec.dim, network.stages, network.spec.input.pooling) == (4, ("embedding",), "weighted")
    np.testing.assert_allclose(features(network, TEXTS)[0], _expected(ZIPF), atol=1e-5)
    np.testing.assert_allclose(features(network, TEXTS, pad=3, wider=9)[0], _expected(ZIPF), atol=1e-5)
    again = backbones.open(network.spec.id, offline=True)
    assert (again.spec, again.weights_key) == (network.spec, network.weights_key)


def test_counts_beside_the_file_are_used(tmp_path: Path) -> None:
    path = _save(tmp_path / "words.vec", "text")
    plain = backbones.open(f"vectors:{path}", offline=True)
    counts = np.array([500, 300, 7, 5, 1])
    (tmp_path / "words.vec.vocab").write_text("".join(f"{w} {n}\n" for w, n in zip(WORDS, counts, strict=True)))
    counted = backbones.open(f"vectors:{path}", offline=True)
    assert counted.weights_key != plain.weights_key
    np.testing.assert_allclose(features(counted, TEXTS)[0], _expected(counts / counts.sum()), atol=1e-5)


def test_unknown_words_are_reported(tmp_path: Path) -> None:
    network = backbones.open(f"vectors:{_save(tmp_path / 'words.vec', 'text')}", offline=True)
    found = vectors.coverage(network.tokenizer(), ["The goal of Zorg", "zorg zorg"])
    assert (found.words, found.unknown, found.commonest) == (6, 3, (("zorg", 2), ("Zorg", 1)))


def test_random_vectors_have_the_same_geometry(tmp_path: Path) -> None:
    network = backbones.open(f"vectors:{_save(tmp_path / 'words.vec', 'text')}", offline=True)
    sibling = backbones.sibling(network, seed=1)
    found, drawn = features(network, TEXTS)[0], features(sibling, TEXTS)[0]
    assert found.shape == drawn.shape
    assert not np.allclose(found, drawn, atol=0.05)
    assert backbones.open(sibling.spec.id, offline=True).weights_key == sibling.weights_key


def test_what_is_no_file_of_word_vectors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.bin"
    for content, said in (
        (pickle.dumps({"a": 1}, protocol=4), "a pickle"),
        ((793712314).to_bytes(4, "little") + b"\0" * 90, r"Export its word vectors as \.vec"),
        (b"just a line of text\n", "no file of word vectors"),
        (b"3 4\na 1 2 3 4\n", "no file of word vectors"),
        (b"a 1 2 3\nb 1 nan 2\n", "not finite"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsRefused, match=said):
            backbones.open(f"vectors:{path}", offline=True)
    with pytest.raises(WeightsMissing, match="not there"):
        backbones.open(f"vectors:{tmp_path / 'nowhere'}", offline=True)
    good = backbones.open(f"vectors:{_save(tmp_path / 'words.vec', 'text')}", offline=True)
    (tmp_path / "words.vec").write_text("1 2\nother 1 2\n")
    with pytest.raises(WeightsRefused, match="others now"):
        backbones.open(good.spec.id, offline=True)
