"""Tags of any scheme become IOB2, and spans are what seqeval says they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB1, IOB2, IOBES, Entities

from headway.errors import DataError
from headway.tasks import tagging
from headway.tasks._spans import broken, iob2, scheme_of, spans_of

KINDS = ("PER", "LOC", "X-Y")
ORACLES = {"IOB1": IOB1, "IOB2": IOB2, "IOBES": IOBES}


@st.composite
def spans(draw):
    """Spans of a sentence that do not overlap, and how many words it has."""
    at, found = 0, []
    for _ in range(draw(st.integers(0, 5))):
        start = at + draw(st.integers(0, 2))
        stop = start + draw(st.integers(1, 3))
        found.append((draw(st.sampled_from(KINDS)), start, stop))
        at = stop
    return found, at + draw(st.integers(0, 2))


def _written(found, length, scheme):
    tags = ["O"] * length
    for number, (kind, start, stop) in enumerate(found):
        inner = ["I"] * (stop - start)
        if scheme == "IOBES":
            inner = ["S"] if stop - start == 1 else ["B", *["I"] * (stop - start - 2), "E"]
        elif scheme == "IOB2" or (number and found[number - 1][2] == start and found[number - 1][0] == kind):
            inner[0] = "B"
        tags[start:stop] = [f"{letter}-{kind}" for letter in inner]
    return tags


@pytest.mark.parametrize("scheme", ORACLES)
@given(data=spans())
def test_spans_of_every_scheme_are_those_that_seqeval_reads(scheme, data):
    found, length = data
    tags = _written(found, length, scheme)
    assert spans_of(tags, scheme) == found
    assert broken(tags, scheme) == 0
    oracle = [(e.tag, e.start, e.end) for one in Entities([tags], ORACLES[scheme]).entities for e in one]
    assert oracle == found
    assert scheme_of([["B-Q", "I-Q"], iob2(found, length)]) == "IOB2"


@given(data=spans())
def test_iob2_and_back(data):
    found, length = data
    tags = iob2(found, length)
    assert spans_of(tags, "IOB2") == found
    assert [(kind, start, stop + 1) for kind, start, stop in get_entities(list(tags))] == found


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        ([["I-X", "B-X"], ["I-X"]], "IOB1"),
        ([["B-X", "I-X"], ["O"]], "IOB2"),
        ([["B-X", "E-X"], ["S-Y"]], "IOBES"),
        ([["B-X", "L-X"], ["U-Y"]], "IOBES"),
        ([["B", "I", "O"]], "IOB2"),
        ([["DET", "NOUN"]], "plain"),
        ([["B", "I"]], "plain"),
        ([["O", "O"]], "plain"),
        ([["B-X", "NOUN"]], "plain"),
    ],
)
def test_the_scheme_is_recognised(sentences, scheme):
    assert scheme_of(sentences) == scheme


def test_every_scheme_encodes_to_the_same_targets():
    found, length = [("LOC", 0, 2), ("LOC", 2, 3), ("PER", 4, 5)], 6
    encoded = [tagging.encode([_written(found, length, s), _written(found, length, s)]) for s in ORACLES]
    assert [e.scheme for e in encoded] == list(ORACLES)
    assert len({(e.targets, e.classes) for e in encoded}) == 1
    assert encoded[0].classes == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert tagging.is_spans(encoded[0].classes)


def test_broken_tags_are_read_and_counted():
    found = tagging.encode([["B-X", "I-X"], ["O", "I-X"], ["B-X", "I-X", "I-X"]])
    assert found.scheme == "IOB2" and found.targets[1] == ("O", "B-X")
    assert any(f.check == "broken_tags" and "1 tags" in f.message for f in found.findings)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([["O"]], "too few"),
        ([["O"], ["O"]], "only one tag"),
        ([["A"], [None]], "no tag"),
        (["A", "B"], "a tag for every word"),
    ],
)
def test_what_cannot_be_learnt_is_refused(labels, what):
    with pytest.raises(DataError, match=what):
        tagging.encode(labels)


def test_unknown_tags_of_a_model_are_refused():
    with pytest.raises(DataError, match="does not know"):
        tagging.encode_as([["B-NEW"]], ("O", "B-X", "I-X"))


def test_what_may_follow_what():
    legal = tagging.legal(("O", "B-X", "I-X", "B-Y", "I-Y"))
    assert not legal[0, 2] and not legal[5, 2] and not legal[3, 2] and not legal[1, 4]
    assert legal[1, 2] and legal[2, 2] and legal[:, 1].all() and legal[:, 0].all()
    assert tagging.legal(("ADJ", "NOUN")).all()


def test_strata_are_the_types_that_a_sentence_holds():
    np.testing.assert_array_equal(tagging.strata([("O", "B-X", "I-X"), ("B-Y",), ("O",)]), [[1, 0], [0, 1], [0, 0]])
