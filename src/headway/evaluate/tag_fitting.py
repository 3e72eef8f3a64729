"""A tagger's probe within a time: how many words it learns from, its penalty, and a share of the time for every fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.linear.multinomial import Rows, Solution, log_loss, path, scores
from headway.types import IntArray

if TYPE_CHECKING:
    from headway.evaluate.taggers import Lines

STEPS = 15  # to compare penalties; twice as many for out-of-fold scores, four times for what ships
ROUGHLY, EXACTLY = 1e-3, 1e-4  # the share of the loss by which the last step lessened it
PIECE = 2048  # words that are timed, and a quarter of them, to tell what all would cost
PIECE_STEPS = 3
NEEDED = 40  # passes over all words that penalties, folds and the last fit must have the time for
LEAST_WORDS = 256
FIRST, LAST = (
    1.5,
    1.5,
)  # shares of the time for the first fold and the last fit; another fold has 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """The fit on all words, out-of-fold scores ``[N, C]``, and the penalty of the least log loss out of fold."""

    solution: Solution
    left: NDArray[np.float32]
    penalty: float
    words: int  # that were learnt from: the first so many
    stopped: bool  # whether the time ended a fit

    @property
    def told(self) -> dict[str, float | int | str | bool]:
        """As a record's parameters: what the time took away is named."""
        known: dict[str, float | int | str | bool] = {"penalty": self.penalty}
        known |= {"stopped": "budget"} if self.stopped else {}
        return known | ({"words": self.words} if self.words < len(self.left) else {})


def crossed(X: Rows, lines: Lines, penalties: Sequence[float], *, time: Deadline) -> Crossed:
    """Settle the penalty in the first fold, predict every fold by the others, and fit on all words ``X [N, d]``.

    The walk over penalties goes down the path no further than its loss falls. Where ``time`` cannot hold
    :data:`NEEDED` passes over all words, the first so many are learnt from, of sentences in random order; all words are
    predicted. A fit whose share of the time is over ends with what it has reached.
    """
    from threadpoolctl import threadpool_limits

    y, classes, folds = lines.y, len(lines.classes), lines.word_folds
    left = np.empty((len(y), classes), np.float32)
    stopped: list[bool] = []

    def walk(rows: IntArray, tried: Sequence[float], steps: int, until: Deadline) -> Iterator[Solution]:
        near = EXACTLY if steps > 2 * STEPS else ROUGHLY
        return path(X[rows], y[rows], classes, tried, tolerance=near, steps=steps, go_on=_while(until, stopped))

    with threadpool_limits(1, user_api="blas"):  # thousands of small products: threads cost more than they bring
        words = affordable(X, y, classes, penalties[0], time=time)
        parts = [(np.flatnonzero(folds == f), np.flatnonzero(folds[:words] != f)) for f in np.unique(folds)]
        ahead = len(parts) - 1 + LAST
        (out, seen), until = parts[0], Deadline(time.remaining * FIRST / (FIRST + ahead))
        least, penalty = np.inf, penalties[0]
        for tried, found in zip(penalties, walk(seen, penalties, STEPS, until), strict=False):
            said = scores(X[out], found)
            loss = log_loss(said, y[out])
            if loss < least:
                left[out], least, penalty = said, loss, tried
            if loss > least or until.remaining <= 0:
                break
        for out, seen in parts[1:]:
            until, ahead = Deadline(time.remaining / ahead), ahead - 1
            left[out] = scores(X[out], next(walk(seen, [penalty], 2 * STEPS, until)))
        solution = next(walk(np.arange(words), [penalty], 4 * STEPS, time))
    return Crossed(solution=solution, left=left, penalty=penalty, words=words, stopped=bool(stopped))


def affordable(X: Rows, y: IntArray, classes: int, penalty: float, *, time: Deadline) -> int:
    """How many of the words ``[N]`` can be learnt from in :data:`NEEDED` passes, by the pace on two small pieces."""
    if len(y) <= LEAST_WORDS:
        return len(y)
    big, small = min(PIECE, len(y)), min(PIECE, len(y)) // 4

    def took(rows: int) -> float:
        started = perf_counter()
        next(path(X[:rows], y[:rows], classes, [penalty], tolerance=0.0, steps=PIECE_STEPS))
        return (perf_counter() - started) / PIECE_STEPS

    first, second = took(small), took(big)
    pace = max(second - first, 1e-9) / (big - small)
    fixed = max(first - pace * small, 0.0)  # what a step costs however few the words are
    fitting = (max(time.remaining, 0.0) / NEEDED - fixed) / pace
    fewest = max(LEAST_WORDS, fixed / pace)  # fewer would hardly make a step shorter
    return int(min(max(fitting, fewest), len(y)))


def eigenbasis(Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """The penalty does not change when columns are turned, and in their eigenbasis the Hessian is nearly diagonal."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        vectors = np.linalg.eigh((Z.T @ Z).astype(np.float64))[1]
    return np.ascontiguousarray(vectors[:, ::-1], np.float32)


def _while(until: Deadline, stopped: list[bool]) -> Callable[[], bool]:
    """Whether there is time; that there was none is noted."""

    def go_on() -> bool:
        if until.remaining > 0:
            return True
        stopped.append(True)
        return False

    return go_on
