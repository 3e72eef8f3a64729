"""Budgets of texts: stages end with their share of the time, and costs are predicted before they are paid."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from headway.budget import Deadline
from headway.data.read import read
from headway.evaluate import tag_fitting
from headway.evaluate.tag_fitting import affordable, crossed
from headway.evaluate.taggers import Lines
from headway.linear.multinomial import path
from headway.recipe import learnt
from headway.recipe.learnt import Price, learnt_features, set_aside
from headway.tasks import tagging

CLASSES = ("O", *(f"B-{name}" for name in "ABCDEFGHIJ"))


def _lines(n):
    tags = np.random.default_rng(0).integers(0, len(CLASSES), (n, 8))
    return Lines(
        sentences=(("w",) * 8,) * n,
        tags=tags,
        folds=np.arange(n) % 3,
        classes=CLASSES,
        legal=tagging.legal(CLASSES),
        metrics=tagging.metrics(CLASSES),
    )


def test_a_path_ends_where_the_time_does():
    X, y = np.random.default_rng(0).normal(size=(200, 5)).astype("f"), np.arange(200) % 3
    asked = []
    next(path(X, y, 3, [1e-3], tolerance=0.0, go_on=lambda: bool(asked.append(1)) or len(asked) < 3))
    assert len(asked) == 3


def test_a_tagger_whose_time_is_over_ends_at_once_and_says_so():
    lines = _lines(400)
    X = np.random.default_rng(1).normal(size=(3200, 30)).astype("f")
    found = crossed(X, lines, (1.0, 0.3), time=Deadline(0.0))
    assert found.told["stopped"] == "budget" and found.penalty == 1.0
    assert np.isfinite(found.left).all() and found.left.shape == (3200, len(CLASSES))


@pytest.mark.parametrize(("seconds", "words"), [(0.0, 256), (40.0, 1000), (float("inf"), 8000)])
def test_so_many_words_are_learnt_from_as_the_time_holds(seconds, words, monkeypatch):
    """On a clock on which a pass over a thousand words takes a second."""
    clock = [0.0]

    def paced(X, *_, steps, **__):
        clock[0] += steps * len(X) / 1000
        yield None

    monkeypatch.setattr(tag_fitting, "path", paced)
    monkeypatch.setattr(tag_fitting, "perf_counter", lambda: clock[0])
    found = affordable(np.zeros((8000, 4), "f"), np.zeros(8000, np.int64), 3, 1.0, time=Deadline(seconds))
    assert found == pytest.approx(words, rel=0.01)


def test_words_are_all_learnt_from_where_there_is_time():
    X = np.random.default_rng(1).normal(size=(800, 4)).astype("f")
    assert crossed(X, _lines(100), (1.0,), time=Deadline(float("inf"))).told == {"penalty": 1.0}


@pytest.fixture
def texts():
    words = np.random.default_rng(0).integers(0, 50, (300, 6))
    return read(([" ".join(f"word{w}" for w in row) for row in words], ["ab"[i % 2] for i in range(300)]))


def _session(seconds):
    return SimpleNamespace(deadline=Deadline(seconds), cut={}, aside=0.0, timed=lambda _: nullcontext())


def test_the_learnt_arm_takes_fewer_texts_where_the_time_is_short(texts, monkeypatch):
    monkeypatch.setattr(learnt, "price", lambda *_: Price(item=0.001, flops=1e7))  # 128 texts take 8 s, 256 take 52 s
    short, long = _session(30.0), _session(1000.0)
    found = learnt_features(texts, texts.digests, 10, short)
    assert found.width <= 129 and "128 training texts" in short.cut["classical"]
    assert learnt_features(texts, texts.digests, 10, long).width > 129 and not long.cut


def test_time_is_left_aside_before_networks_run(texts, monkeypatch):
    session = _session(100.0)
    set_aside(texts, np.arange(300), session)
    assert 0 < session.aside <= learnt.MOST * 100
    monkeypatch.setattr(learnt, "price", lambda *_: Price(item=1.0, flops=1e9))
    set_aside(texts, np.arange(300), session)
    assert session.aside == learnt.MOST * 100
