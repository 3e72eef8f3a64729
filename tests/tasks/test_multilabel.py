"""Labels in every form become columns of 0 and 1, and probabilities become rows again."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headway.errors import DataError, OptionError
from headway.tasks import multilabel as task

names = st.text("abcxyzé ", min_size=1).map(str.strip).filter(bool)
lists = st.lists(st.lists(names, max_size=4, unique=True), min_size=2, max_size=12)


@given(lists, st.randoms(use_true_random=False))
def test_every_list_finds_its_columns_whatever_the_order(given_labels, random):
    given_sets = [{task.class_name(name) for name in row} for row in given_labels]
    assume(any(given_sets) and any(given_sets[0] != other for other in given_sets))
    found = task.encode(given_labels)
    assert [{found.classes[c] for c in np.flatnonzero(row)} for row in found.targets] == given_sets
    assert set(found.classes) == set().union(*given_sets)
    assert found.targets.dtype == np.int64
    order = random.sample(range(len(given_labels)), len(given_labels))
    again = task.encode([given_labels[row] for row in order])
    assert again.classes == found.classes
    np.testing.assert_array_equal(again.targets, found.targets[order])


@given(lists, st.sampled_from(";|"))
def test_text_and_lists_say_the_same(given_labels, mark):
    assume(any(given_labels) and any(set(given_labels[0]) != set(other) for other in given_labels))
    assume(any(len(row) > 1 for row in given_labels))
    found, parted = task.encode(given_labels), task.encode([f" {mark} ".join(row) for row in given_labels])
    assert parted.classes == found.classes
    np.testing.assert_array_equal(parted.targets, found.targets)


@pytest.mark.parametrize(
    ("given_labels", "classes", "targets"),
    [
        (["a;b", "b"], ("a", "b"), [[1, 1], [0, 1]]),
        (["a|b;c", "b"], ("a|b", "b", "c"), [[1, 0, 1], [0, 1, 0]]),
        (["a|b", "b|", " | a"], ("a", "b"), [[1, 1], [0, 1], [1, 0]]),
        (["a, b", "b"], ("a", "b"), [[1, 1], [0, 1]]),
        (["Paris, Texas; b", "b"], ("Paris, Texas", "b"), [[1, 1], [0, 1]]),
        (["b;b", None, ""], ("b",), [[1], [0], [0]]),
        ([["10", 9], [2.0]], ("2", "9", "10"), [[0, 1, 1], [1, 0, 0]]),
        ([{"b"}, ("a",)], ("a", "b"), [[0, 1], [1, 0]]),
        ([np.array(["b", "a"]), np.array([], str)], ("a", "b"), [[1, 1], [0, 0]]),
        ([np.array([1, 0, 0]), np.array([1, 1, 0])], ("0", "1", "2"), [[1, 0, 0], [1, 1, 0]]),
        ([{"z": 1, "a": 0}, {"z": True, "a": 1.0}], ("z", "a"), [[1, 0], [1, 1]]),
        (["e\u0301;x", "\u00e9"], ("x", "\u00e9"), [[1, 1], [0, 1]]),
        ([math.nan, "a"], ("a",), [[0], [1]]),
    ],
)
def test_forms(given_labels, classes, targets):
    found = task.encode(given_labels)
    assert (found.classes, found.targets.tolist()) == (classes, targets)


@pytest.mark.parametrize(
    ("given_labels", "message"),
    [
        ([], "too few"),
        (["a"], "too few"),
        (["", None], "no item has a label"),
        ([["a"], ["a"]], "nothing to tell apart"),
        ([["a"], ["a", None]], "an empty one.*row 1"),
        ([["a"], ["a", " "]], "an empty one"),
        ([np.array([0, 2]), np.array([0, 1])], "on or off.*Given: 2"),
        ([{"a": 0.5}, {"a": 1}], "on or off"),
        ([["a"], [math.inf]], "finite"),
    ],
)
def test_refuses_what_cannot_be_learnt(given_labels, message):
    with pytest.raises(DataError, match=message):
        task.encode(given_labels)


def test_findings_name_labels_that_say_little_and_items_that_have_none():
    rows = [{"on": 1, "off": 0, "once": row == 0, "some": row % 2} for row in range(6)]
    found = {finding.check: finding for finding in task.encode(rows).findings}
    assert found["label_never_on"].evidence == ("off",)
    assert found["label_always_on"].evidence == ("on",)
    assert found["label_of_one"].evidence == ("once",)
    checks = {finding.check for finding in task.encode([["a", "b"], ["a"], ["b"], ["b", "a"]]).findings}
    assert checks == set()
    none = task.encode(["a;b", "a", "b", ""]).findings
    assert {f.check for f in none} == {"items_without_label", "labels_parted"}


def test_a_models_labels_are_kept_and_unknown_ones_refused():
    known = ("cat", "dog", "cow")
    assert task.encode_as([["cow"], "dog;cat", []], known).targets.tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]
    with pytest.raises(DataError, match="Did you mean dog"):
        task.encode_as([["dgo"]], known)
    # A label that holds a separator is found as a whole.
    assert task.encode_as(["a;b"], ("a;b", "c")).targets.tolist() == [[1, 0]]


def test_strata_are_the_rarest_labels():
    targets = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]])
    assert task.strata(targets).tolist() == [1, 0, 2, 3, 1]


def test_rows_survive_csv_with_odd_names():
    P = np.array([[0.9, 0.2], [0.1, 0.1]])
    rows = list(task.decode(P, names=["a\n,b", "c"], classes=["x,y", "item"]))
    text = io.StringIO()
    csv.writer(text).writerows([task.columns(["x,y", "item"]), *rows])
    back = list(csv.reader(io.StringIO(text.getvalue())))
    assert back == [
        ["item", "prediction", "x,y", "item (class)"],
        ["a\n,b", "x,y", "0.9", "0.2"],
        ["c", "", "0.1", "0.1"],
    ]


def test_thresholds_decide():
    P = np.array([[0.3, 0.6]])
    assert task.decide(P).tolist() == [[0, 1]]
    assert task.decide(P, np.array([0.25, 0.75])).tolist() == [[1, 0]]


def test_refuses_probabilities_of_other_items():
    with pytest.raises(OptionError):
        list(task.decode(np.ones((2, 2)), names=["a"], classes=["x", "y"]))
