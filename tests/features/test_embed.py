"""From a data set to columns: the order that items are taken in, and the matrix that comes out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.data.read import read
from headway.features.embed import default_store, embed, even_order, facts_of, matrix, modality_of
from headway.features.store import Store
from headway.types import Dataset


def _dataset(targets, parts=None, classes=4):
    n = len(targets)
    return Dataset(
        name="made",
        modality="image",
        task="classification",
        names=tuple(map(str, range(n))),
        sources=(np.zeros((8, 8, 3), np.uint8),) * n,
        digests=np.zeros((n, 16), np.uint8),
        targets=None if targets is None else np.array(targets),
        classes=tuple("abcd"[:classes]),
        parts=parts,
    )


LABELS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["train", "test", None])), min_size=1, max_size=60)


@given(rows=LABELS, seed=st.integers(0, 5))
def test_every_beginning_has_all_classes_and_parts_in_proportion(rows, seed):
    dataset = _dataset([target for target, _ in rows], tuple(part for _, part in rows))
    order = even_order(dataset, seed=seed)
    assert sorted(order.tolist()) == list(range(len(rows)))
    total = Counter(rows)
    for stop in range(1, len(rows) + 1):
        seen = Counter(rows[row] for row in order[:stop])
        for stratum, count in total.items():
            # Each stratum is spread evenly, so a beginning has its share to within one, and what the others round by.
            assert abs(seen[stratum] - count * stop / len(rows)) <= 1 + len(total) / 2 * count / len(rows)


def test_the_order_comes_from_the_seed_alone():
    dataset = _dataset(list(np.arange(200) % 4))
    first, again, other = (even_order(dataset, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[:20] != np.arange(20)).any()


def test_without_labels_the_order_is_a_shuffle():
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    assert sorted(even_order(read(images, labelled=False), seed=0).tolist()) == list(range(9))


def test_a_data_set_is_embedded_and_read_back(tmp_path, toys):
    images = np.random.default_rng(0).integers(0, 256, (30, 20, 24, 3), dtype=np.uint8)
    dataset = read((images, np.arange(30) % 3))
    store, toy = Store(tmp_path), toys.Toy()
    classical, hashes = facts = facts_of(modality_of(dataset))
    found = embed(dataset, [toy], store=store, facts=facts)
    assert (found.bad, len(found.left)) == ({}, 0)
    X = matrix(store, [(toy.key, "1"), (classical.key, "0"), (toy.key, "0")], dataset.digests)
    width = len(classical.compute(images[0]))
    assert X.shape == (30, 5 + width + 3)
    assert X.dtype == np.float32
    np.testing.assert_allclose(X[:, -3:], images.mean((1, 2)), atol=1.5)  # resizing rounds
    np.testing.assert_array_equal(X[7, 5:-3], np.asarray(classical.compute(images[7]), np.float32))
    np.testing.assert_array_equal(
        matrix(store, [(hashes.key, "0")], dataset.digests[4:5])[0], hashes.compute(images[4])
    )
    assert matrix(store, [], dataset.digests).shape == (30, 0)
    with pytest.raises(KeyError):
        matrix(store, [("another", "0")], dataset.digests)


def test_the_store_lies_in_the_cache(tmp_path):
    assert default_store(tmp_path).root == tmp_path / "features"
