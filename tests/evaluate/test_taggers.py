"""Taggers: folds leave whole sentences out, arms are told apart, and what leaves is legal."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from headway.evaluate.metrics import measure
from headway.evaluate.taggers import Lines, left_out_tags, on_marks, on_states, on_table, tag
from headway.features.words import Block
from headway.linear.chain import padded
from headway.linear.folds import left_out
from headway.linear.multinomial import path, scores
from headway.tasks import tagging

CLASSES = ("O", "B-X", "I-X")


def made(n=60, *, seed=0, twins=False):
    """Sentences in which a capital begins a span that goes on while words end in -s; ``twins``: all are alike."""
    rng = np.random.default_rng(seed)
    sentences, tags = [], []
    for _ in range(n):
        words, own = [], []
        for _ in range(6):
            kind = 0 if twins else int(rng.integers(3))
            if kind == 2 and not words:
                kind = 0
            inside = kind == 2 and own[-1] != "O"
            words.append(f"{'abcdefgh'[rng.integers(8)]}{rng.integers(9)}" + ("s" if kind == 2 else ""))
            words[-1] = words[-1].capitalize() if kind == 1 else words[-1]
            own.append("B-X" if kind == 1 else "I-X" if inside else "O")
        sentences.append(tuple(words))
        tags.append(tuple(own))
    return Lines(
        sentences=tuple(sentences),
        tags=tagging.numbered(tags, CLASSES),
        folds=np.arange(n) % 3,
        classes=CLASSES,
        legal=tagging.legal(CLASSES),
        metrics=tagging.metrics(CLASSES),
    )


def test_hand_features_learn_what_words_look_like_and_beat_the_table():
    lines, fresh = made(), made(30, seed=1)
    marks, table = on_marks(lines, seed=0), on_table(lines, seed=0)
    assert marks.score > 0.9 > table.score
    said = padded(tag(marks.tagger, fresh.sentences), 6)
    assert measure("span_f1", fresh.tags, said) > 0.9
    assert {r.fold for r in marks.records} == {0, 1, 2} and {r.arm for r in table.records} == {"prior"}


def test_folds_leave_whole_sentences_out():
    """Each word's state names its sentence, and tags are random: only a leak could make them known out of fold."""
    lines = made()
    rng = np.random.default_rng(3)
    lines = replace(lines, tags=np.repeat(rng.integers(0, 2, (60, 1)), 6, axis=1))
    X = np.repeat(np.eye(60, dtype=np.float32), 6, axis=0) + 0.01
    found = on_states(X, [Block(stage=0, pooling="first")], lines, arm="transfer", backbone="b", seed=0)
    word = {r.fold: r.value for r in found.records if r.metric == "word_accuracy"}
    assert np.mean(list(word.values())) < 0.75
    assert measure("word_accuracy", lines.tags, padded(tag(found.tagger, lines.sentences, X), 6)) > 0.9


def test_out_of_fold_tags_are_legal_and_in_place():
    lines = made()
    rng = np.random.default_rng(0)
    said = left_out_tags(rng.normal(size=(360, 3)).astype(np.float32), lines, 0.5)
    assert ((said < 0) == (lines.tags < 0)).all()
    assert not ((said[:, 1:] == 2) & (said[:, :-1] == 0)).any() and not (said[:, 0] == 2).any()


def test_the_probe_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    X = (rng.normal(size=(200, 8)) + y[:, None] * rng.normal(size=8)).astype(np.float32)
    found = list(path(X, y, 3, [1.0, 0.5], tolerance=1e-9, steps=500))[-1]
    oracle = LogisticRegression(C=2.0, tol=1e-8, max_iter=2000).fit(X, y)
    ours = scores(X, found)
    theirs = oracle.decision_function(X)
    np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=2e-2)


def test_ridge_with_folds_left_out_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X, Y, folds = rng.normal(size=(50, 4)), rng.normal(size=(50, 2)), np.arange(50) % 3
    found = left_out(X, Y, folds, [0.1])[0]
    for fold in range(3):
        seen = folds != fold
        centred = X[seen] - X[seen].mean(0)
        penalty = 0.1 * np.trace(centred.T @ centred) / 4
        oracle = Ridge(alpha=penalty).fit(X[seen], Y[seen]).predict(X[~seen])
        np.testing.assert_allclose(found[~seen], oracle, atol=1e-4)


def test_an_unknown_word_gets_the_most_frequent_tag():
    table = on_table(made(), seed=0)
    assert [CLASSES[t] for t in tag(table.tagger, [("never-seen",)])[0]] == ["O"]


@pytest.mark.parametrize("make", [on_marks, on_table])
def test_a_sentence_without_words_has_no_tags(make):
    found = tag(make(made(), seed=0).tagger, [(), ("A1",), ()])
    assert [len(one) for one in found] == [0, 1, 0]
