"""Poolings of one layer are alternatives; stages of several depths are nested, as they always were for images."""

from __future__ import annotations

import numpy as np
import pytest

from headway.evaluate import contenders
from headway.evaluate.contenders import Arena, Entrant
from headway.features.store import Store
from headway.recipe.competition import _by_its_best_pooling, _enter
from headway.recipe.session import open_session

STAGES = ("quarter", "half", "cls", "embedding")


@pytest.fixture
def arena(tmp_path):
    """The class is in the pooling called cls, and in no other stage."""
    rng = np.random.default_rng(0)
    y, digests = np.arange(60) % 2, rng.integers(0, 256, (60, 16), dtype=np.uint8)
    columns = {str(stage): rng.normal(size=(60, 4)).astype(np.float32) for stage in range(4)}
    columns["2"][:, 0] += 4 * y
    store = Store(tmp_path)
    store.put("key", digests, columns)
    return Arena(store=store, digests=digests, y=y, classes=2, folds=np.arange(60) // 2 % 5, groups=np.arange(60))


TEXT = Entrant(name="net", key="key", stages=STAGES, dims=(4, 4, 4, 4), poolings=(2, 3))
IMAGE = Entrant(name="net", key="key", stages=STAGES, dims=(4, 4, 4, 4))


def _stages(entrant, count, arena):
    return contenders.of_networks("transfer", [entrant], "ridge", arena=arena, stages=count).taken


def test_other_poolings_are_not_among_the_last_stages(arena):
    assert TEXT.nested == (0, 1, 3)
    assert [_stages(TEXT, count, arena) for count in (1, 2, 3, 9)] == [((3,),), ((1, 3),), ((0, 1, 3),), ((0, 1, 3),)]
    (other,) = TEXT.alternatives()
    assert other.nested == (0, 1, 2)
    assert _stages(other, 2, arena) == ((1, 2),)
    assert [again.top for again in other.alternatives()] == [3]


def test_without_poolings_it_is_the_last_stages_as_ever(arena):
    assert IMAGE.nested == (0, 1, 2, 3)
    assert list(IMAGE.alternatives()) == []
    assert _stages(IMAGE, 3, arena) == ((1, 2, 3),)
    assert len(list(contenders.singles([IMAGE], arena=arena))) == 1


def test_stages_of_several_networks_are_told_apart(arena):
    (other,) = TEXT.alternatives()
    found = contenders.of_networks("transfer", [TEXT, other], "ridge", arena=arena, stages=2)
    assert found.taken == ((1, 3), (1, 2))
    assert found.blocks == (("key", "1"), ("key", "3"), ("key", "1"), ("key", "2"))
    assert found.backbone == "net (last 2 stages) + net (cls) (last 2 stages)"


def test_validation_chooses_the_pooling(arena, fresh_cache):
    session = open_session(60.0, seed=0, device="cpu", offline=True)
    results = _enter(contenders.singles([TEXT], arena=arena), session, must=1)
    assert [result.contender.backbone for result in results] == ["net", "net (cls)"]
    assert results[1].score > results[0].score + 0.2
    chosen = _by_its_best_pooling(TEXT, results)
    assert chosen.top == 2
    np.testing.assert_array_equal(
        contenders.of_networks("transfer", [chosen], "ridge", arena=arena).features().X,
        arena.store.get("key", arena.digests, ["2"]),
    )
