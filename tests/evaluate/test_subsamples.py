"""Subsamples: nested, in their shares, from names, whatever the order of the rows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import OptionError
from headway.evaluate.subsamples import geometric_sizes, nested

labels = st.lists(st.integers(0, 4), min_size=6, max_size=120).map(np.array)


def sizes_for(y, data):
    classes = len(np.unique(y))
    return sorted(data.draw(st.sets(st.integers(classes, len(y)), min_size=1, max_size=5)))


@given(labels, st.data(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_each_is_within_the_next_and_every_class_has_its_share(y, data, seed):
    sizes = sizes_for(y, data)
    subsamples = nested(y, sizes=sizes, seed=seed)
    classes, counts = np.unique(y, return_counts=True)
    for size, rows in zip(sizes, subsamples, strict=True):
        assert len(rows) == len(set(rows.tolist())) == size
        for label, share in zip(classes, counts / len(y), strict=True):
            taken = np.count_nonzero(y[rows] == label)
            assert max(1, (size - len(classes)) * share - 1e-9) <= taken <= size * share + 1 + 1e-9
    for small, large in pairwise(subsamples):
        assert set(small) < set(large)


@given(labels, st.data(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_with_digests_the_order_of_rows_does_not_matter(y, data, seed):
    rng = np.random.default_rng(seed)
    digests = rng.integers(0, 256, (len(y), 16), dtype=np.uint8)
    groups = rng.integers(0, 1 + len(y) // 2, len(y))
    order = rng.permutation(len(y))
    sizes = sizes_for(y, data)
    one = nested(y, sizes=sizes, seed=seed, groups=groups, digests=digests)
    other = nested(y[order], sizes=sizes, seed=seed, groups=groups[order], digests=digests[order])
    for rows, moved in zip(one, other, strict=True):
        assert set(rows.tolist()) == set(order[moved].tolist())


@given(labels, st.data(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_groups_stay_whole_and_no_more_is_taken_than_the_last_brings(y, data, seed):
    groups = np.random.default_rng(seed).integers(0, 1 + len(y) // 3, len(y))
    sizes = sizes_for(y, data)
    largest = np.bincount(groups).max()
    for size, rows in zip(sizes, nested(y, sizes=sizes, seed=seed, groups=groups), strict=True):
        assert not set(groups[rows]) & set(np.delete(groups, rows))
        assert size <= len(rows) < size + largest


def test_the_numbers_of_groups_mean_nothing():
    y, groups = np.arange(60) % 3, np.repeat(np.arange(20), 3)
    renamed = (groups * 7 + 3) % 101
    for one, other in zip(*(nested(y, sizes=(9, 30), seed=1, groups=g) for g in (groups, renamed)), strict=True):
        assert one.tolist() == other.tolist()


def test_seeds_decide():
    y = np.arange(100) % 2
    first, again, other = (nested(y, sizes=(20,), seed=seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_every_row_is_as_likely_as_another_of_its_class():
    y = np.repeat([0, 1], [30, 10])
    taken = np.zeros(40)
    for seed in range(400):
        taken[nested(y, sizes=(8,), seed=seed)[0]] += 1
    expected = np.where(y == 0, taken[y == 0].mean(), taken[y == 1].mean())
    assert (np.abs(taken - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("sizes", [(), (1,), (4, 4), (8, 4), (9,)])
def test_sizes_that_cannot_be_drawn_are_refused(sizes):
    with pytest.raises(OptionError, match="cannot be drawn"):
        nested(np.arange(8) % 2, sizes=sizes, seed=0)


def test_sizes_are_geometric_and_end_with_all():
    sizes = geometric_sizes(1000, least=10, count=5)
    assert sizes[0] == 10 and sizes[-1] == 1000
    assert np.allclose(np.diff(np.log(sizes)), np.log(1000 / 10) / 4, atol=0.05)
    assert geometric_sizes(3, least=2, count=9) == (2, 3)
    with pytest.raises(OptionError):
        geometric_sizes(5, least=6)
