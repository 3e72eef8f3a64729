"""Words and characters against scikit-learn's TF-IDF; saved and read again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from headway.errors import DataError, RunError
from headway.modalities import _runs, _tfidf
from headway.modalities._tfidf import Tfidf, fit, load, save

TEXTS = [
    "A red cat sat on the mat.",
    "the dog, the red dog; it's 7 a.m.",
    "Grüße 😀 aus Köln",
    "שלום עולם",
    "cat",
    "the dog and the cat  and\tthe mat",
    "!",
]
UNSEEN = ["a red dog in Köln", "완전히 다른 글", "", "😀", "nothing shared? zzz qqq"]


def oracle(train: list[str], texts: list[str]) -> sp.csr_array:
    """Both kinds of scikit-learn's, each row and kind of length 1, side by side, rows of length 1 again."""
    kinds = (
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True),
    )
    both = sp.hstack([kind.fit(train).transform(texts) for kind in kinds], format="csr")
    length = np.sqrt(np.asarray(both.multiply(both).sum(axis=1)).ravel())
    return sp.csr_array(sp.diags_array(1 / np.maximum(length, 1e-12)) @ both)


def test_products_of_rows_are_scikit_learns() -> None:
    found = fit(TEXTS).transform([*TEXTS, *UNSEEN])
    rows = oracle(TEXTS, [*TEXTS, *UNSEEN])
    with_training = (rows @ rows[: len(TEXTS)].T).toarray()
    np.testing.assert_allclose(found @ found[: len(TEXTS)].T, with_training, atol=2e-5)
    np.testing.assert_allclose((found**2).sum(axis=1), 1, atol=1e-4)
    assert not found[: len(TEXTS), -1].any(), "nothing of a training text lies outside of their span"
    assert found[len(TEXTS) + 1, -1] == 1.0, "a text in another script is all outside"


def test_a_probe_on_coordinates_is_the_probe_on_all_terms() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    vocabulary = [[f"{topic}{n:02d}" for n in range(40)] for topic in ("alpha", "beta", "gamma")]
    y = np.arange(90) % 3
    every = [word for words in vocabulary for word in words]
    texts = [" ".join([*rng.choice(vocabulary[c], 4), *rng.choice(every, 8)]) for c in y]
    tfidf = fit(texts[:60])
    X, rows = tfidf.transform(texts), oracle(texts[:60], texts)
    ours = LogisticRegression(C=10, tol=1e-8, max_iter=5000).fit(X[:60], y[:60]).predict_proba(X[60:])
    theirs = LogisticRegression(C=10, tol=1e-8, max_iter=5000).fit(rows[:60], y[:60]).predict_proba(rows[60:])
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(
        st.text(st.sampled_from("aAbßİ é1.\n\t😀של\u200d\0"), max_size=30) | st.text(max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_runs_are_scikit_learns(texts: list[str]) -> None:
    # What neither side should be asked: lone surrogates, which the reader replaces, are not drawn by st.text().
    analyse = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5)).build_analyzer()
    expected = [Counter(analyse(one)) for one in texts]
    terms = _runs.vocabulary(texts, least=1, most=10**6)
    assert set(terms) == set().union(*expected)
    counts = _runs.counts(texts, terms).toarray()
    for row, counter in enumerate(expected):
        assert {term: n for term, n in zip(terms, counts[row].tolist(), strict=True) if n} == counter


def test_the_most_frequent_terms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tfidf, "WORDS", 2)
    monkeypatch.setattr(_tfidf, "CHARACTERS", 3)
    words, runs = fit(["the cat", "the dog", "the cat"]).terms
    assert words == ("cat", "the") or words == ("the", "the cat")
    assert len(runs) == 3 and all(run in " the " for run in runs)
    monkeypatch.setattr(_tfidf, "_MANY", 3)
    assert "dog" not in fit(["the cat", "the dog", "the cat"]).terms[0]


def test_many_texts_span_the_coordinates_by_some() -> None:
    rng = np.random.default_rng(3)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 30, 12)) for _ in range(60)]
    whole = fit(texts).transform(texts)
    some = fit(texts, most=20)
    X = some.transform(texts)
    assert some.dim == X.shape[1] <= 21
    drawn = np.unique(np.linspace(0, 59, 20).round().astype(int))
    np.testing.assert_allclose((X @ X.T)[np.ix_(drawn, drawn)], (whole @ whole.T)[np.ix_(drawn, drawn)], atol=1e-4)
    np.testing.assert_allclose((X**2).sum(axis=1), 1, atol=1e-3)


def test_what_is_saved_comes_back_without_pickle(tmp_path: Path) -> None:
    tfidf = fit([*TEXTS, ("a pair", "of texts")])
    save(tfidf, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tfidf.json", "tfidf.safetensors"]
    again = load(tmp_path)
    assert again.key == tfidf.key and again.terms == tfidf.terms
    np.testing.assert_array_equal(again.transform(UNSEEN), tfidf.transform(UNSEEN))
    assert fit(TEXTS).key != tfidf.key == fit([*TEXTS, ("a pair", "of texts")]).key


@pytest.mark.parametrize("damage", ["absent", "cut", "version", "terms", "json", "words"])
def test_damage_is_an_error_of_ours(tmp_path: Path, damage: str) -> None:
    save(fit(TEXTS), tmp_path)
    terms, arrays = tmp_path / "tfidf.json", tmp_path / "tfidf.safetensors"
    content = terms.read_text(encoding="utf-8")
    if damage == "absent":
        arrays.unlink()
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-50])
    else:
        changed = {
            "version": content.replace("tfidf-1", "tfidf-0"),
            "terms": content.replace('"cat", ', "", 1),
            "json": content[:-5],
            "words": content.replace('"words"', '"other"'),
        }[damage]
        assert changed != content
        terms.write_text(changed, encoding="utf-8")
    with pytest.raises(RunError):
        load(tmp_path)


def test_texts_without_a_term_are_refused_and_odd_ones_are_not() -> None:
    with pytest.raises(DataError, match="no words and no runs"):
        fit(["", "  "])
    tfidf = fit(["😀", "🎉🎉", "!"])
    assert tfidf.terms[0] == () and tfidf.transform(["🎉🎉", ""])[0] @ tfidf.transform(["🎉🎉"])[0] > 0.999
    large = "word " * 210_000
    assert fit([large, "other"]).transform([large]).shape == (1, 3)
    assert fit(["one"]).transform([]).shape == (0, 2)


def test_labels_and_order_of_batches_do_not_matter() -> None:
    tfidf = fit(TEXTS)
    whole = tfidf.transform([*TEXTS, *UNSEEN])
    alone = np.concatenate([tfidf.transform([one]) for one in [*TEXTS, *UNSEEN]])
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    assert isinstance(tfidf, Tfidf) and whole.dtype == np.float32
