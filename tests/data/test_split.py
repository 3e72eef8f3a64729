"""Properties of every split, on data sets of every shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.data.split import TEST_SIZE, split, straddling, units
from headway.errors import DataError, OptionError
from headway.types import Dataset, IntArray, Part, Split


def dataset(
    targets: Sequence[int],
    *,
    groups: Sequence[int] | None = None,
    parts: Sequence[Part | None] | None = None,
    contents: Sequence[int] | None = None,
) -> Dataset:
    n = len(targets)
    digests = np.zeros((n, 16), np.uint8)
    digests[:, :4] = np.asarray(range(n) if contents is None else contents, "<u4").reshape(-1, 1).view(np.uint8)
    return Dataset(
        name="made",
        modality="image",
        task="classification",
        names=tuple(f"row {i}" for i in range(n)),
        sources=(b"",) * n,
        digests=digests,
        targets=np.asarray(targets, np.int64),
        classes=tuple(map(str, range(max(targets, default=0) + 1))),
        groups=None if groups is None else np.asarray(groups, np.int64),
        parts=None if parts is None else tuple(parts),
    )


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Dataset, IntArray]:
    n = draw(st.integers(2, 60))
    column = lambda most: st.lists(st.integers(0, most), min_size=n, max_size=n)  # noqa: E731
    groups = draw(st.none() | column(draw(st.integers(0, 60))))
    clusters = np.asarray(draw(column(draw(st.integers(0, 120)))), np.int64)
    return dataset(draw(column(draw(st.integers(0, 8)))), groups=groups), clusters


def sides(result: Split) -> list[tuple[IntArray, IntArray]]:
    return [(result.train, result.test), *result.folds]


@settings(max_examples=300, deadline=None)
@given(made=datasets(), seed=st.integers(0, 5), folds=st.integers(2, 6), repeats=st.integers(1, 2))
def test_nothing_straddles_and_every_row_is_used_once(
    made: tuple[Dataset, IntArray], seed: int, folds: int, repeats: int
) -> None:
    data, clusters = made
    n = len(data.names)
    result = split(data, seed=seed, folds=folds, repeats=repeats, duplicates=clusters)
    for left, right in sides(result):
        assert not set(clusters[left]) & set(clusters[right])
        if data.groups is not None:
            assert not set(data.groups[left]) & set(data.groups[right])
    np.testing.assert_array_equal(np.sort(np.concatenate([result.train, result.test])), np.arange(n))
    per_repeat = len(result.folds) // repeats
    for repeat in range(repeats if result.folds else 0):
        own = result.folds[repeat * per_repeat : (repeat + 1) * per_repeat]
        np.testing.assert_array_equal(np.sort(np.concatenate([val for _, val in own])), result.train)
        for fit, val in own:
            np.testing.assert_array_equal(np.sort(np.concatenate([fit, val])), result.train)
            assert len(fit) and len(val)
    assert len(result.train)
    train_units = len(np.unique(units(data, clusters)[result.train]))
    assert per_repeat == (min(folds, train_units) if train_units > 1 else 0)


@settings(max_examples=200, deadline=None)
@given(made=datasets(), seed=st.integers(0, 5))
def test_each_class_keeps_a_training_item(made: tuple[Dataset, IntArray], seed: int) -> None:
    data, clusters = made
    result = split(data, seed=seed, duplicates=clusters)
    assert data.targets is not None
    assert set(data.targets[result.train]) == set(data.targets)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    seed=st.integers(0, 9),
    share=st.sampled_from([0.1, 0.25, 0.5, 0.8]),
    folds=st.integers(2, 7),
)
def test_without_duplicates_proportions_are_exact(sizes: list[int], seed: int, share: float, folds: int) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    result = split(dataset(targets.tolist()), seed=seed, test_size=share, folds=folds)
    counts = np.bincount(targets[result.test], minlength=len(sizes))
    for size, count in zip(sizes, counts, strict=True):
        assert count == (0 if size == 1 else min(max(round(share * size), 1), size - 1))
    in_folds = np.array([np.bincount(targets[val], minlength=len(sizes)) for _, val in result.folds])
    if len(in_folds):
        assert np.ptp(in_folds, axis=0).max() <= 1
        assert np.ptp(in_folds.sum(1)) <= max(2, len(sizes) // 2)


def test_proportions_hold_within_reason_where_groups_are_large() -> None:
    rng = np.random.default_rng(0)
    targets, groups = rng.integers(0, 4, 800), rng.integers(0, 100, 800)
    result = split(dataset(targets.tolist(), groups=groups.tolist()), seed=0)
    assert abs(len(result.test) / 800 - TEST_SIZE) < 0.04
    whole = np.bincount(targets) / 800
    for rows in (result.test, *(val for _, val in result.folds)):
        assert np.abs(np.bincount(targets[rows], minlength=4) / len(rows) - whole).max() < 0.08
    assert np.ptp([len(val) for _, val in result.folds]) < 30


def test_groups_and_clusters_chain() -> None:
    """0 and 1 share a group, 1 and 2 a cluster: all three are one unit."""
    data = dataset([0, 0, 1, 1, 0, 1], groups=[7, 7, 8, 9, 10, 11])
    assert units(data, np.array([0, 1, 1, 2, 3, 4])).tolist() == [0, 0, 0, 1, 2, 3]
    for seed in range(30):
        for left, _ in sides(split(data, seed=seed, duplicates=np.array([0, 1, 1, 2, 3, 4]))):
            assert len({0, 1, 2} & set(left.tolist())) in (0, 3)


def test_equal_contents_never_straddle_even_when_nobody_looked_for_duplicates() -> None:
    data = dataset([0, 1] * 20, contents=[i // 4 for i in range(40)])
    for seed in range(10):
        for left, right in sides(split(data, seed=seed)):
            assert not set((left // 4).tolist()) & set((right // 4).tolist())


@pytest.mark.parametrize(
    ("targets", "test", "folds"),
    [([0, 1], 0, 2), ([0, 0, 1], 1, 2), ([0] * 4 + [1], 1, 4), ([0, 0], 1, 0), ([0], 0, 0), ([0, 1, 2, 3], 0, 4)],
)
def test_tiny_data_sets(targets: list[int], test: int, folds: int) -> None:
    result = split(dataset(targets), seed=0)
    assert (len(result.test), len(result.folds)) == (test, folds)


def test_a_class_of_one_item_is_trained_on() -> None:
    for seed in range(10):
        assert 12 in split(dataset([0, 1] * 6 + [2]), seed=seed).train


def test_a_thousand_classes() -> None:
    targets = np.repeat(np.arange(1000), 4)
    result = split(dataset(targets.tolist()), seed=0)
    assert (np.bincount(targets[result.test]) == 1).all()
    assert len(result.folds) == 5


def test_the_seed_decides_and_nothing_else() -> None:
    data = dataset([0, 1, 2] * 30)
    same = [split(data, seed=3, repeats=2) for _ in range(2)]
    for (a, b), (c, d) in zip(sides(same[0]), sides(same[1]), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    other = split(data, seed=4)
    assert set(other.test.tolist()) != set(same[0].test.tolist())
    assert set(same[0].folds[0][1].tolist()) != set(same[0].folds[5][1].tolist()), "repeats differ"
    one = split(data, seed=3)
    np.testing.assert_array_equal(one.folds[0][1], same[0].folds[0][1])  # more repeats leave the first as it was


def test_given_parts_are_kept() -> None:
    parts: list[Part | None] = ["train", "val", "test", None] * 10
    data = dataset([0, 0, 0, 0, 1, 1, 1, 1] * 5, parts=parts)
    result = split(data, seed=0)
    assert result.test.tolist() == [i for i in range(40) if i % 4 == 2]
    ((fit, val),) = result.folds
    assert val.tolist() == [i for i in range(40) if i % 4 == 1]
    assert fit.tolist() == [i for i in range(40) if i % 4 in (0, 3)]
    assert result.train.tolist() == sorted([*fit, *val])
    assert straddling(data) == (pytest.approx(np.zeros(0)), ())


def test_parts_without_a_test_or_without_a_validation_part() -> None:
    targets = [0, 1] * 40
    no_val = split(dataset(targets, parts=["train"] * 60 + ["test"] * 20), seed=0)
    assert no_val.test.tolist() == list(range(60, 80)) and len(no_val.folds) == 5
    no_test = split(dataset(targets, parts=["train"] * 60 + ["val"] * 20), seed=0)
    assert len(no_test.test) == 16 and max(no_test.test) < 60, "held out of the training part"
    assert no_test.folds[0][1].tolist() == list(range(60, 80))
    with pytest.raises(DataError, match="nothing to train on"):
        split(dataset(targets, parts=["test"] * 80), seed=0)


def test_copies_across_given_parts_leave_the_test_part_alone_and_are_reported() -> None:
    parts: list[Part | None] = ["train"] * 10 + ["val"] * 5 + ["test"] * 5
    clusters = np.arange(20)
    clusters[[0, 19]] = 100  # train and test
    clusters[[1, 12]] = 101  # train and val
    clusters[[13, 18]] = 102  # val and test
    clusters[[2, 3]] = 103  # within train: no harm
    data = dataset([0, 1] * 10, parts=parts)
    result = split(data, seed=0, duplicates=clusters)
    assert result.test.tolist() == [15, 16, 17, 18, 19]
    ((fit, val),) = result.folds
    assert val.tolist() == [10, 11, 12, 14]
    assert fit.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    rows, (found,) = straddling(data, clusters)
    assert rows.tolist() == [0, 1, 13]
    assert found.severity == "warn" and found.message.startswith("3 items") and found.evidence[0] == "row 0"


@settings(max_examples=200, deadline=None)
@given(made=datasets(), seed=st.integers(0, 3), data=st.data())
def test_nothing_straddles_given_parts_either(made: tuple[Dataset, IntArray], seed: int, data: st.DataObject) -> None:
    from dataclasses import replace

    whole, clusters = made
    n = len(whole.names)
    choice = st.sampled_from(["train", "train", "val", "test", None])
    given_parts = replace(whole, parts=tuple(data.draw(st.lists(choice, min_size=n, max_size=n))))
    try:
        result = split(given_parts, seed=seed, duplicates=clusters)
    except DataError:
        return
    for left, right in sides(result):
        assert not set(clusters[left]) & set(clusters[right])
    left_out = set(range(n)) - set(result.train.tolist()) - set(result.test.tolist())
    assert left_out == set(straddling(given_parts, clusters)[0].tolist())


def test_bad_requests() -> None:
    data = dataset([0, 1] * 4)
    for options in ({"test_size": 1.0}, {"test_size": -0.1}, {"test_size": float("nan")}, {"folds": 1}, {"repeats": 0}):
        with pytest.raises(OptionError, match="Allowed: test_size"):
            split(data, seed=0, **options)  # type: ignore[arg-type]
    assert len(split(data, seed=0, test_size=0).test) == 0
    from dataclasses import replace

    with pytest.raises(DataError, match="needs labels"):
        split(replace(data, targets=None), seed=0)
