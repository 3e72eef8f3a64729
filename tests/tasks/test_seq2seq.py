import numpy as np
import pytest

from headway.errors import DataError, OptionError
from headway.tasks import seq2seq
from headway.tasks._plain_answers import copied, led, most_frequent


def test_targets_are_kept_as_they_are():
    odd = [" a\x00 ", "007", "été", "e\u0301te\u0301", "\u200f\u05d0", "x" * 1_000_000]
    found = seq2seq.encode(odd)
    assert found.targets.tolist() == odd and found.targets.dtype == object and found.classes == ()


def test_lone_surrogates_become_what_a_file_can_hold():
    assert seq2seq.encode(["a\udcff", "b"]).targets[0] == "a\\udcff"


@pytest.mark.parametrize("bad", [[], ["a"], ["a", None], ["a", " "], ["a", float("nan")], ["a", ["b"]], ["a", "a"]])
def test_what_cannot_be_learnt_is_refused(bad):
    with pytest.raises(DataError):
        seq2seq.encode(bad)


def test_one_frequent_target_is_a_finding():
    found = seq2seq.encode(["oui", "oui", "oui", "non"])
    assert [finding.check for finding in found.findings] == ["frequent_target"]
    assert seq2seq.encode(["oui", "non", "si"]).findings == ()


def test_the_kind_follows_from_lengths():
    long = "word " * 60
    assert seq2seq.kind_of([long] * 3, ["short one"] * 3) == "summarisation"
    assert seq2seq.kind_of([long] * 3, [long] * 3) == "translation"
    assert seq2seq.kind_of(["a b c d e f"] * 3, ["a"] * 3) == "translation"
    assert seq2seq.primary_of("summarisation") == "rougeL" and seq2seq.primary_of("translation") == "chrf"


def test_what_it_encodes_it_decodes():
    targets = seq2seq.encode(["un", "=deux()"]).targets
    rows = list(seq2seq.decode(targets, names=("1", "2"), classes=()))
    assert rows == [("1", "un"), ("2", "=deux()")]
    assert seq2seq.encode_as(["neuf"], ()).targets.tolist() == ["neuf"]
    with pytest.raises(OptionError):
        list(seq2seq.decode(np.zeros((2, 1)), names=("1", "2"), classes=()))


def test_strata_do_not_depend_on_the_order():
    targets = seq2seq.texts(["a" * k for k in range(1, 41)])
    order = np.random.default_rng(0).permutation(40)
    strata = seq2seq.strata(targets)
    assert strata.dtype == np.int64 and strata.min() == 0 and strata.max() >= 1
    np.testing.assert_array_equal(seq2seq.strata(targets[order]), strata[order])


def test_plain_answers():
    assert copied(["a", "b"]) == ["a", "b"]
    assert led(["A b. C d? E! F.", "no stop"]) == ["A b. C d? E!", "no stop"]
    assert most_frequent(["z", "b", "z", "b", "c"]) == "b"
