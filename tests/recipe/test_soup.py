"""A soup in the recipe: averaged within a fold, judged by rows that none of it has seen, and kept where they say so."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from headway.recipe.soup import Series, soup_of
from headway.seeds import seed_of

FOLDS, DIM = 3, 4


class Seen:
    """The rows of one fold, to look at."""

    def __init__(self, X, y):
        self.X, self.y = torch.tensor(X), torch.tensor(y)

    def epoch(self, number):
        assert number == 0
        yield self.X, self.y


@pytest.fixture
def toy():
    """Twelve rows that two one-sided models each get half right, and both together all of."""
    rng = np.random.default_rng(seed_of("soup"))
    y = np.arange(12) % 2
    X = (rng.random((12, DIM)) * 0.1).astype(np.float32)
    X[np.arange(12), np.where(np.arange(12) // 2 % 2, 0, 1)] = np.where(y, 1.0, -1.0)
    folds = np.arange(12) // 4
    return SimpleNamespace(X=X, arena=SimpleNamespace(y=y, folds=folds), told=lambda scores: scores)


def trial(ground, weight, fold):
    tail = torch.nn.Linear(DIM, 2)
    with torch.no_grad():
        tail.weight.copy_(torch.stack([-torch.tensor(weight), torch.tensor(weight)]))
        tail.bias.zero_()
    rows = np.flatnonzero(ground.arena.folds == fold)
    return SimpleNamespace(tail=tail, rows=rows, seen=Seen(ground.X[rows], ground.arena.y[rows]) if len(rows) else None)


def series(ground, weights):
    """``weights[fold]`` were trained without that fold; the last of them on all rows."""
    return Series(
        whole=trial(ground, weights[FOLDS], -1),
        judges=tuple(trial(ground, weights[fold], fold) for fold in range(FOLDS)),
    )


def sided(side, more=0.0):
    """What uses one of the two columns that tell the class, and is wrong by the other."""
    weight = [-0.2, -0.2, 0.0, 0.0]
    weight[side] = 1.0 + more
    return weight


def test_each_judge_tells_the_average_of_what_never_saw_its_fold(toy):
    one = series(toy, [sided(0, 0.1 * i) for i in range(FOLDS + 1)])
    other = series(toy, [sided(1, 0.2 * i) for i in range(FOLDS + 1)])
    cooked = soup_of([one, other], toy, least=0.5)
    assert sorted(cooked.members) == [0, 1]
    parts = [*zip(one.judges, other.judges, cooked.scores, strict=True)]
    for a, b, told in parts:
        mean = (a.tail.weight + b.tail.weight).detach().numpy() / 2
        np.testing.assert_allclose(told, toy.X[a.rows] @ mean.T, atol=1e-6)
    mean = (one.whole.tail.weight + other.whole.tail.weight) / 2
    torch.testing.assert_close(cooked.whole["weight"], mean.detach())


def test_the_soup_is_what_the_judges_want_and_the_tails_are_given_back(toy):
    one, other = (series(toy, [sided(side)] * (FOLDS + 1)) for side in (0, 1))
    before = [judge.tail.weight.detach().clone() for judge in (*one.judges, *other.judges)]
    assert soup_of([one, other], toy, least=1.01) is None
    assert soup_of([one, other], toy, least=1.0) is not None
    for judge, kept in zip((*one.judges, *other.judges), before, strict=True):
        assert torch.equal(judge.tail.weight, kept)


def test_what_spoils_the_average_stays_out(toy):
    good, wrong = series(toy, [[1.0, 1.0, 0.0, 0.0]] * (FOLDS + 1)), series(toy, [[-3.0, -3.0, 0.0, 0.0]] * (FOLDS + 1))
    for order, kept in (([good, wrong], 0), ([wrong, good], 1)):
        cooked = soup_of(order, toy, least=0.0)
        assert cooked.members == (kept,)
        torch.testing.assert_close(cooked.whole["weight"][1], torch.tensor([1.0, 1.0, 0.0, 0.0]))
