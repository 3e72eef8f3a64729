"""Texts out of any bytes, near-copies against their definition, lengths and truncation."""

from __future__ import annotations

import codecs

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.data.health import near_duplicates
from headway.errors import DataError
from headway.modalities import _minhash, text

PROSE = (
    "The committee met on Tuesday to discuss whether the harbour should be dredged before winter. Nobody could say "
    "what it would cost, and the mayor, who had promised an answer by spring, left the room without a word to us all."
)


# --- bytes --------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_text_or_a_refusal_that_says_why(data: bytes) -> None:
    try:
        found = text.decode(data)
    except DataError as error:
        assert error.what.startswith("the text cannot be used: ")
        return
    assert isinstance(found, str) and found.encode()


@settings(max_examples=200, deadline=None)
@given(words=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), mark=st.booleans())
def test_utf_8_comes_back_as_it_was(words: str, mark: bool) -> None:
    words = words.lstrip("\ufeff") or "x"
    if not text.sniff(words.encode()):  # such as a text that begins as a PDF file does
        return
    assert text.load((codecs.BOM_UTF8 if mark else b"") + words.encode()) == (words, "")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("words", ["plain", "😀🎉", "שלום עולם", "Привет 你好 नमस्ते", "e\u0301\u200d\u200f"])
def test_marks_decide(encoding: str, words: str) -> None:
    assert text.load(words.encode(encoding)) == (words, "")


def test_what_was_odd_is_said() -> None:
    assert text.load("a\0b") == ("a\0b", "holds NUL characters")
    assert text.load(("a", "b\0")) == (("a", "b\0"), "holds NUL characters")
    assert text.load(b"a\0b and more")[1] == "holds NUL characters"
    assert text.load("plain".encode("utf-16")[:-1])[1] == "is damaged UTF-16-LE"
    assert text.load("Grüße".encode("cp1252") + b"\x81") == ("Grüße\x81", "is not UTF-8: read as Windows-1252")
    assert text.load("a\ud800b")[0] == "a\ufffdb"


def test_too_large_a_file_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_BYTES", 10)
    assert text.decode(b"ten bytes!") == "ten bytes!"
    with pytest.raises(DataError, match="11 bytes, more than the limit of 10"):
        text.decode(b"ten bytes!!")


def test_blank_is_what_nobody_sees() -> None:
    for blank in ("", " \n\t", "\u200b\ufeff", "\0", "\u2003\u200e"):
        assert text.is_blank(blank), repr(blank)
    for seen in ("😀", ".", "\0x", "ا"):
        assert not text.is_blank(seen), repr(seen)


def test_cleaning_keeps_what_is_spelling() -> None:
    every = ("html", "controls", "nfc", "blanks")
    for spelling in ("می\u200cخواهم", "🏳️\u200d🌈", "\u200fשלום", "<b>tags stay</b>"):
        assert text.clean(spelling, every) == spelling
    assert text.clean(("a  b", "\ufeffc\0"), every) == ("a b", "c")


# --- near-copies --------------------------------------------------------------------------------


def jaccard(first: str, second: str) -> float:
    """Of the sets of runs of 8 characters, by the definition."""
    sets = []
    for one in (first, second):
        plain = _minhash.normalised(one)
        sets.append({plain[i : i + _minhash.RUN] for i in range(len(plain) - _minhash.RUN + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def estimate(first: str, second: str) -> float:
    a, b = (text.perceptual_hash(one).view("<u4") for one in (first, second))
    return float((a == b).mean())


def test_equal_minima_estimate_the_jaccard_similarity() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}" for a in "bcdfgk" for b in ("an", "or", "ist", "ell", "umb", "ight")])
    errors, seen = [], []
    for replaced in np.linspace(0.0, 0.4, 60):
        first = rng.choice(words, 200)
        second = np.where(rng.random(200) < replaced, rng.choice(words, 200), first)
        true = jaccard(" ".join(first), " ".join(second))
        errors.append(estimate(" ".join(first), " ".join(second)) - true)
        seen.append(true)
    assert min(seen) < 0.35 and max(seen) == 1.0
    assert abs(np.mean(errors)) < 0.02, "no bias: its standard error is 0.007"
    assert np.sqrt(np.mean(np.square(errors))) < 0.08, "64 minima have a standard error of at most 0.0625"


def clusters(texts: list[str]) -> list[int]:
    hashes = np.stack([text.perceptual_hash(one) for one in texts])
    digests = np.arange(len(texts), dtype="<u8").reshape(-1, 1).view(np.uint8).repeat(2, axis=1)
    return near_duplicates(hashes, digests, close=text.close_pairs).tolist()


def test_copies_with_other_looks_are_found_and_other_texts_are_not() -> None:
    alike = [
        PROSE,
        PROSE.upper(),
        PROSE.replace(". ", ".\r\n\r\n").replace(",", ";"),
        "  " + PROSE.replace(" ", "\u00a0"),
        PROSE.replace("Tuesday", "Monday"),
        PROSE + " (Reuters)",
    ]
    other = PROSE.split()[::-1]
    assert clusters([*alike, " ".join(other), "The committee met on Tuesday."]) == [0] * 6 + [1, 2]


def test_short_texts_are_copies_only_of_themselves() -> None:
    assert clusters(
        ["It was good.", "it was GOOD", "It was not good.", "good it was", "😀", "😀😀", "😀 ", "שלום"]
    ) == [
        *(0, 0, 1, 2),
        *(3, 4, 3, 5),
    ]

    rated = [f"The film that we saw last night was rated {stars}" for stars in (7, 8)]
    assert jaccard(*rated) > _minhash.NEAR and clusters(rated) == [0, 1]


def test_pairs_of_texts_have_a_hash_of_both() -> None:
    assert (text.perceptual_hash(("one", "two")) != text.perceptual_hash(("two", "one"))).any()
    assert text.perceptual_hash(("a" * 1_000_000, "b")).shape == (256,)


def test_close_pairs_find_what_all_pairs_would() -> None:
    rng = np.random.default_rng(1)
    texts = []
    for _ in range(12):
        base = [f"w{n:04d}" for n in rng.integers(0, 9999, 120)]
        for changed in (0, 1, 3, 60):
            copy = base.copy()
            for place in rng.choice(120, changed, replace=False):
                copy[place] = f"v{rng.integers(9999):04d}"
            texts.append(" ".join(copy))
    hashes = np.stack([text.perceptual_hash(one) for one in texts]).view("<u4")
    alike = (hashes[:, None] == hashes[None]).mean(-1) >= _minhash.NEAR
    label = list(range(len(texts)))
    for i, j in zip(*np.nonzero(alike), strict=True):
        label = [label[i] if x == label[j] else x for x in label]
    first: dict[int, int] = {}
    expected = [first.setdefault(x, len(first)) for x in label]
    assert 12 < len(set(expected)) < len(texts)
    assert clusters(texts) == expected


def test_a_crowd_of_equal_texts_costs_a_chain_of_pairs() -> None:
    hashes = np.repeat(text.perceptual_hash(PROSE)[None], 3000, axis=0)
    left, _ = text.close_pairs(hashes)
    assert len(left) < 3 * 3000


# --- lengths ------------------------------------------------------------------------------------


def test_lengths_are_numpys() -> None:
    texts = ["x" * n for n in (1, 5, 9, 200)] + [("ab", "cd e")]
    found = text.lengths(texts)
    sizes = [1, 5, 9, 200, 6]
    assert (found.items, found.longest) == (5, 200)
    assert found.median == np.median(sizes) and found.p95 == np.percentile(sizes, 95)
    assert found.words == 1.0


def test_truncation_is_said_and_loud_where_most_is_lost() -> None:
    tokens = np.array([100, 10, 300, 256])
    assert text.truncated(tokens, 300) is None
    note = text.truncated(tokens, 256, names=["a", "b", "c", "d"], network="MiniLM")
    assert note is not None and note.severity == "note" and note.evidence == ("c: 300 tokens",)
    assert note.message.startswith("1 of 4 texts are longer than the 256 tokens that MiniLM reads: 7 %")
    warned = text.truncated(tokens, 20)
    assert warned is not None and warned.severity == "warn" and "89 %" in warned.message, "596 of 666"
