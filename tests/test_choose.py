"""Ranking: noise stays below signal, ties are ties, and nothing depends on luck or order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import choose
from headway.choose import Candidate, prior, rank
from headway.errors import DataError, OptionError
from headway.types import BackboneSpec, Features, ImageInput

IMAGE = ImageInput(height=224, width=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _spec(arch: str, *, params: int = 1_000_000, accuracy: float | None = None) -> BackboneSpec:
    return BackboneSpec(
        source="packaged", arch=arch, weights="in1k", revision="1", modality="image", dim=1, params=params,
        licence="MIT", input=IMAGE, accuracy=accuracy,
    )  # fmt: skip


def _candidate(arch: str, X, y, *, seconds: float = 1.0, groups=None, **known) -> Candidate:
    features = Features(X=np.asarray(X, np.float32), y=y, classes=int(y.max()) + 1, blocks=(X.shape[1],), groups=groups)
    return Candidate(spec=_spec(arch, **known), features=features, seconds=seconds)


def _problem(n: int = 200, d: int = 64, classes: int = 4, *, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = rng.normal(size=(classes, d))

    def features(apart: float):
        return rng.normal(size=(n, d)) + apart * centres[y]

    return y, features


def test_signal_is_ranked_above_noise_whatever_the_prior_says():
    y, features = _problem()
    ranked = rank(
        [
            _candidate("noise", features(0.0), y, accuracy=0.9, params=10**9, seconds=0.1),
            _candidate("weak", features(0.15), y),
            _candidate("strong", features(0.8), y),
        ],
        seed=0,
    )
    assert [r.backbone for r in ranked] == [f"packaged:{name}.in1k" for name in ("strong", "weak", "noise")]
    assert [r.tie for r in ranked] == [1, 2, 3]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rotated_features_tie_and_prior_then_name_order_them(seed):
    y, features = _problem(80, 24, seed=seed)
    X = features(0.3)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(24, 24)))[0]
    ranked = rank(
        [
            _candidate("dear", X @ turn, y, accuracy=0.7, seconds=5.0),
            _candidate("unknown", X[:, ::-1], y, seconds=0.1),
            _candidate("known", X * 8, y, accuracy=0.75, seconds=9.0),
            _candidate("cheap", X @ turn.T, y, accuracy=0.7, seconds=4.0),
        ],
        seed=seed,
    )
    assert {r.tie for r in ranked} == {1}
    assert [r.backbone.split(":")[1] for r in ranked] == ["known.in1k", "cheap.in1k", "dear.in1k", "unknown.in1k"]


def test_measured_seconds_change_nothing_but_themselves():
    y, features = _problem(100, 20)
    drawn = {name: features(0.3) for name in "cab"}
    times = np.random.default_rng(0).permutation(3)
    orders = [
        [
            r.backbone
            for r in rank([_candidate(n, X, y, seconds=s) for (n, X), s in zip(drawn.items(), t, strict=True)], seed=0)
        ]
        for t in (times, times[::-1])
    ]
    assert orders[0] == orders[1] == [f"packaged:{name}.in1k" for name in "abc"]


def test_equally_good_but_independent_features_mostly_tie():
    separated = 0
    for seed in range(40):
        y, features = _problem(120, 32, seed=seed)
        ranked = rank([_candidate("a", features(0.2), y), _candidate("b", features(0.2), y)], seed=seed, bootstrap=400)
        separated += ranked[1].tie == 2
    assert separated <= 8  # twice what 95 % intervals and a bootstrap that does not redraw the training allow


@pytest.mark.parametrize(("discordant", "told_apart"), [(0, False), (3, False), (4, False), (9, True)])
def test_few_items_do_not_prove_a_difference(discordant, told_apart):
    # McNemar's exact test first rejects at 6 to 0; a plain percentile bootstrap already at 4 to 0.
    y = np.arange(100) % 2
    correct = np.ones((2, 100), dtype=bool)
    correct[:, 50:] = False  # both fail on half: unpaired, 9 points of 100 would be nothing
    correct[1, :discordant] = False
    draws, sides = choose._draws(correct, y, None, 2000, 0)
    ties = choose._tie_groups(correct.mean(axis=1), draws, sides)
    assert ties == ((1, 2) if told_apart else (1, 1))


def test_a_group_holds_all_that_cannot_be_told_from_its_leader():
    rng = np.random.default_rng(0)
    scores = np.array([0.5, 0.9, 0.88, 0.52])
    draws = scores[:, None] + 0.03 * rng.normal(size=(4, 1000))
    assert choose._tie_groups(scores, draws, np.zeros(1000)) == (2, 1, 1, 2)


def test_the_score_lies_in_its_interval_and_the_interval_is_about_binomial():
    y, features = _problem(400, 16, 2)
    (line,) = rank([_candidate("a", features(0.1), y)], seed=0)
    assert line.low < line.score < line.high
    width = 2 * 1.96 * np.sqrt(line.score * (1 - line.score) / 400)
    assert line.high - line.low == pytest.approx(width, rel=0.15)


def test_groups_are_drawn_whole_and_left_out_whole():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    y = groups % 2
    X = np.repeat(rng.normal(size=(20, 30)), 10, axis=0) + 0.01 * rng.normal(size=(200, 30))
    (plain,) = rank([_candidate("a", X, y)], seed=0)
    (grouped,) = rank([_candidate("a", X, y, groups=groups)], seed=0)
    assert plain.score == 1.0
    assert grouped.score < 0.8
    assert grouped.scores["loo_knn"] < 0.8
    assert grouped.high - grouped.low > 0.3  # twenty groups, not two hundred items


def test_rare_classes_count_as_much_as_common_ones():
    rng = np.random.default_rng(0)
    y = np.array([0] * 180 + [1] * 20)
    X = np.zeros((200, 4))
    X[:, 0] = y * 10
    blind = rng.normal(size=(200, 4))
    ranked = rank([_candidate("blind", blind, y), _candidate("sees", X + 0.1 * blind, y)], seed=0)
    assert ranked[0].score == 1.0
    assert ranked[1].score < 0.65  # not the 0.9 of always saying "common"


def test_the_order_of_candidates_and_the_call_do_not_matter():
    y, features = _problem(100, 20)
    candidates = [_candidate(str(i), features(0.1 * i), y) for i in range(4)]
    first = rank(candidates, seed=3)
    assert rank(candidates, seed=3) == first
    assert rank(candidates[::-1], seed=3) == first
    assert [dataclasses.replace(r, tie=1) for r in rank(candidates[:1], seed=3)] == [
        dataclasses.replace(r, tie=1) for r in first if r.backbone == "packaged:0.in1k"
    ]


def test_every_cheap_score_is_there_by_name():
    y, features = _problem(60, 8)
    X = features(0.5).astype(np.float32)
    (line,) = rank([_candidate("a", X, y)], seed=0)
    from headway import plugins

    assert dict(line.scores) == {
        name: plugins.load("scores", name).score(X, y) for name in ("loo_ridge", "loo_knn", "logme", "reg_hscore")
    }
    assert line.score == line.scores["loo_ridge"]
    assert (line.items, line.available) == (60, 60)


def test_many_items_are_subsampled_by_class_and_the_result_says_so(monkeypatch):
    monkeypatch.setattr(choose, "MOST_ITEMS", 200)
    y, features = _problem(1000, 8)
    y = y.copy()
    y[:3] = 4  # a class of three
    (line,) = rank([_candidate("a", features(1.0), y)], seed=0)
    assert (line.items, line.available) == (199, 1000)
    rows = choose._stratified(y, 200, 1)
    assert np.bincount(y[rows]).tolist() == [49, 49, 49, 50, 2]
    assert len(set(rows.tolist())) == len(rows)
    assert not np.array_equal(rows, choose._stratified(y, 200, 2))


def test_a_thousand_classes_and_a_class_of_one_can_be_ranked():
    y = np.concatenate([np.arange(1000), np.arange(500)])
    X = np.random.default_rng(0).normal(size=(1500, 16))
    (line,) = rank([_candidate("a", X, y)], seed=0, bootstrap=100)
    assert 0 <= line.low <= line.score <= line.high <= 1


def test_prior_prefers_published_accuracy_then_size():
    assert prior(_spec("a", accuracy=0.7)) > prior(_spec("b", params=10**9))
    assert prior(_spec("a", accuracy=0.7, params=10**7)) > prior(_spec("b", accuracy=0.7, params=10**6))
    assert 0 <= prior(_spec("a", params=0)) <= prior(_spec("b", accuracy=1.0, params=10**12)) <= 1


def test_rows_that_differ_are_refused():
    y, features = _problem(40, 4)
    a = _candidate("a", features(1.0), y)
    for other in (
        _candidate("b", features(1.0), (y + 1) % 4),
        _candidate("b", features(1.0)[:-1], y[:-1]),
        _candidate("b", features(1.0), y, groups=np.arange(40)),
    ):
        with pytest.raises(DataError, match="same items"):
            rank([a, other], seed=0)


def test_nothing_to_rank_and_too_few_draws_are_refused():
    y, features = _problem(40, 4)
    with pytest.raises(OptionError, match="nothing to rank"):
        rank([], seed=0)
    with pytest.raises(OptionError, match="bootstrap"):
        rank([_candidate("a", features(1.0), y)], seed=0, bootstrap=10)
