"""Labels of every kind become classes, and probabilities become rows again."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headway.errors import DataError, OptionError
from headway.tasks import classification as task

labels = st.one_of(
    st.lists(st.text(min_size=1), min_size=2),
    st.lists(st.integers(), min_size=2),
    st.lists(st.booleans(), min_size=2),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2),
)


@given(labels, st.randoms(use_true_random=False))
def test_every_label_finds_its_name_whatever_the_order(given_labels, random):
    assume(not any(task.missing(label) for label in given_labels))
    names = [task.class_name(label) for label in given_labels]
    assume(len(set(names)) > 1)
    found = task.encode(given_labels)
    assert [found.classes[t] for t in found.targets] == names
    assert len(set(found.classes)) == len(found.classes)
    assert set(found.targets.tolist()) == set(range(len(found.classes)))
    shuffled = random.sample(given_labels, len(given_labels))
    assert task.encode(shuffled).classes == found.classes
    assert task.encode(names).classes == found.classes  # a class's name is its own label


@pytest.mark.parametrize(
    ("given_labels", "classes"),
    [
        (["dog", "cat", "dog"], ("cat", "dog")),
        ([10, 9, 2], ("2", "9", "10")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["007", "7", "10"], ("007", "10", "7")),
        ([1.0, 2.0, -1.0], ("-1", "1", "2")),
        ([0.5, 2.0], ("0.5", "2")),
        ([True, False], ("False", "True")),
        (np.array([True, False]), ("False", "True")),
        (np.array([3, 1], np.int8), ("1", "3")),
        (np.array([3.0, 1.0], np.float32), ("1", "3")),
        (np.array(["b", "a"]), ("a", "b")),
        ([b"b", b"a"], ("a", "b")),
        (["ёж", "éléphant", "象", "🐟"], ("éléphant", "ёж", "象", "🐟")),
        (["e\u0301", "\u00e9", "x"], ("x", "\u00e9")),
        (["9" * 5000, "1"], ("1", "9" * 5000)),
    ],
)
def test_names_and_order(given_labels, classes):
    assert task.encode(given_labels).classes == classes


def test_a_folder_name_that_is_not_utf8_can_be_written_to_json_and_csv():
    found = task.encode([b"caf\xe9", "caf\udce8", "tea"])
    json.dumps(found.classes).encode()
    "".join(found.classes).encode("utf-8")
    assert len(found.classes) == 3


@pytest.mark.parametrize(
    ("given_labels", "message"),
    [
        ([], "too few"),
        (["a"], "too few"),
        (["a", "a"], "only one class"),
        ([1, 1.0], "only one class"),
        (["a", None, "b"], r"no label.*1 of 3, first in row 1"),
        (["a", "b", " "], r"no label.*1 of 3, first in row 2"),
        ([1.0, math.nan, 2.0], "no label"),
        (np.array([1.0, np.nan]), "no label"),
        ([1.0, math.inf], "not a finite number"),
    ],
)
def test_refuses_what_cannot_be_learnt(given_labels, message):
    with pytest.raises(DataError, match=message):
        task.encode(given_labels)


def test_a_class_of_one_item_is_a_finding_and_not_an_error():
    found = task.encode(["a", "a", "b", "c"])
    (finding,) = found.findings
    assert (finding.check, finding.severity, finding.evidence) == ("class_of_one", "warn", ("b", "c"))
    assert task.encode(["a", "a", "b", "b"]).findings == ()


def test_classes_that_look_alike_are_a_finding():
    (finding,) = task.encode(["Cat", "cat ", "dog"] * 2).findings
    assert (finding.check, finding.evidence) == ("classes_alike", ("'Cat' / 'cat '",))


def test_a_thousand_classes():
    found = task.encode([f"class {i % 1000}" for i in range(3000)])
    assert len(found.classes) == 1000 and found.findings == ()


# --- decode -------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 10**6))
def test_rows_hold_the_probabilities_and_the_best_class(n, classes, seed):
    P = np.random.default_rng(seed).dirichlet(np.ones(classes), size=n).astype(np.float32)
    names = [f"{i}.jpg" for i in range(n)]
    known = [f"c{i}" for i in range(classes)]
    rows = list(task.decode(P, names=names, classes=known))
    header = task.columns(known)
    assert [row[0] for row in rows] == names
    for row, p in zip(rows, P, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert cells["probability"] == max(p) == cells[cells["prediction"]]
        assert [cells[name] for name in known] == p.tolist()


def test_rows_survive_csv_with_odd_names():
    rows = list(task.decode(np.array([[1.0, 0.0]]), names=["a\n,\"b'.jpg"], classes=["x,y", "é"]))
    text = io.StringIO()
    csv.writer(text).writerows([task.columns(["x,y", "é"]), *rows])
    back = list(csv.reader(io.StringIO(text.getvalue())))
    assert back == [["item", "prediction", "probability", "x,y", "é"], ["a\n,\"b'.jpg", "x,y", "1.0", "1.0", "0.0"]]


@given(st.lists(st.sampled_from(["item", "item (class)", "item (class) (class)", "prediction", "x"]), unique=True))
def test_no_two_columns_share_a_name(classes):
    header = task.columns(classes)
    assert len(set(header)) == len(header) == 3 + len(classes)
    assert all(column == name for column, name in zip(header[3:], classes, strict=True) if name not in header[:3])


def test_refuses_probabilities_of_other_items():
    with pytest.raises(OptionError):
        list(task.decode(np.ones((2, 2)), names=["a"], classes=["x", "y"]))
