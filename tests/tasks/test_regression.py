"""Numbers in every form, what is refused, and what splits hold in proportion."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import DataError, OptionError
from headway.tasks import regression as task

numbers = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2).filter(lambda x: len(set(x)) > 1)


@given(numbers)
def test_numbers_and_their_text_are_the_same(values):
    found = task.encode(values)
    assert found.targets.dtype == np.float64 and found.classes == ()
    np.testing.assert_array_equal(found.targets, values)
    np.testing.assert_array_equal(task.encode([repr(value) for value in values]).targets, values)


@pytest.mark.parametrize(
    ("given_labels", "targets"),
    [
        (["1e-3", " 2 "], [0.001, 2.0]),
        ([np.float32(0.5), np.int64(3)], [0.5, 3.0]),
        ([b"1.5", 2], [1.5, 2.0]),
        (np.array([1, 2, 2], np.int8), [1.0, 2.0, 2.0]),
    ],
)
def test_forms(given_labels, targets):
    assert task.encode(given_labels).targets.tolist() == targets


@pytest.mark.parametrize(
    ("given_labels", "message"),
    [
        ([], "too few"),
        ([1.0], "too few"),
        ([1.0, 1], "same number"),
        (["a", "1"], "not a number.*'a' in row 0"),
        (["1,5", "1"], "decimal point"),
        ([True, 2], "not a number"),
        ([1.0, math.inf], "not a finite number.*row 1"),
        (["nan", "1", "2"], "not a finite number"),
        ([1.0, None, 2.0], "no label"),
        ([1.0, math.nan], "no label"),
        ([[1.0, 2.0], [1.0]], "one label an item"),
        ([{"a": 1}, {"a": 0}], "one label an item"),
    ],
)
def test_refuses_what_cannot_be_learnt(given_labels, message):
    with pytest.raises(DataError, match=message):
        task.encode(given_labels)


def test_a_slip_of_the_pen_is_a_finding():
    (finding,) = task.encode([*np.arange(20.0), 5000.0]).findings
    assert (finding.check, finding.severity, finding.evidence) == ("far_targets", "warn", ("5000",))
    assert task.encode(np.random.default_rng(0).normal(size=200)).findings == ()
    assert task.encode([0.0] * 50 + [1.0]).findings == ()  # most items alike is no slip


@given(st.lists(st.integers(0, 30), min_size=2, max_size=200), st.randoms(use_true_random=False))
def test_strata_are_ranges_that_do_not_overlap(values, random):
    y = np.array(values, float)
    strata = task.strata(y)
    assert set(strata) == set(range(strata.max() + 1)) and strata.max() < task.BINS
    order = np.argsort(y, kind="stable")
    assert (np.diff(strata[order]) >= 0).all()  # equal numbers share a range
    for value in set(values):
        assert len(set(strata[y == value])) == 1
    np.testing.assert_array_equal(task.strata(3 * y - 7), strata)


def test_strata_of_different_numbers_are_of_equal_size():
    counts = np.bincount(task.strata(np.random.default_rng(0).normal(size=1000)))
    assert counts.tolist() == [100] * 10


def test_rows():
    assert list(task.decode(np.array([[0.5], [2.0]]), names=["a", "b"], classes=())) == [("a", 0.5), ("b", 2.0)]
    with pytest.raises(OptionError):
        list(task.decode(np.ones((2, 2)), names=["a", "b"], classes=()))
