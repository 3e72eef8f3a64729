"""Span metrics against seqeval, and whole sentences as what is resampled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval import metrics as seqeval

from headway.errors import OptionError
from headway.evaluate.metrics import measure, metric_interval
from headway.evaluate.paired import paired_test

CLASSES = ("O", "B-X", "I-X", "B-Y", "I-Y")


@st.composite
def tagged(draw):
    """Two taggings of the same words, legal or not, as names and as padded numbers."""
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    arrays = []
    for _ in range(2):
        numbers = np.full((len(lengths), max(lengths)), -1)
        for row, length in enumerate(lengths):
            numbers[row, :length] = rng.integers(5, size=length)
        arrays.append(numbers)
    return arrays


def _names(numbers):
    return [[CLASSES[t] for t in row[row >= 0]] for row in numbers]


@given(arrays=tagged())
def test_span_metrics_are_those_of_seqeval(arrays):
    y, said = arrays
    names = _names(y), _names(said)
    found = {name: measure(name, y, said) for name in ("span_f1", "span_precision", "span_recall", "word_accuracy")}
    assert found["span_f1"] == pytest.approx(seqeval.f1_score(*names, zero_division=0))
    assert found["span_precision"] == pytest.approx(seqeval.precision_score(*names, zero_division=0))
    assert found["span_recall"] == pytest.approx(seqeval.recall_score(*names, zero_division=0))
    assert found["word_accuracy"] == pytest.approx(seqeval.accuracy_score(*names))


def test_a_sentence_counts_as_often_as_it_is_drawn():
    y, said = np.array([[1, 2], [1, 0], [3, -1]]), np.array([[1, 2], [0, 1], [0, -1]])
    twice = np.array([0, 0, 1, 1, 1])
    assert measure("span_f1", y, said, weight=[2, 3, 0]) == pytest.approx(measure("span_f1", y[twice], said[twice]))


def test_the_interval_holds_the_value_and_the_test_tells_better_from_worse():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (80, 6))
    good, bad = (np.where(rng.random(y.shape) < share, 1 - y, y) for share in (0.05, 0.4))
    found = metric_interval("span_f1", y, good, resamples=500)
    assert found.low < found.value < found.high
    better = paired_test("span_f1", y, good, bad)
    assert better.p < 0.01 and better.effect > 0
    assert paired_test("span_f1", y, good, good).p == 1.0


def test_tags_of_other_words_are_refused():
    with pytest.raises(OptionError, match="one a word"):
        measure("span_f1", [[1, -1]], [[1, 1]])
