"""Batches of texts for the training loop: of similar lengths, or of pairs of one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headway.errors import OptionError
from headway.features.states import States
from headway.seeds import seed_of
from headway.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 8  # batches within which texts are put in order of length: random enough, and little padding

How = Literal["in order", "by length", "pairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBatches:
    """What a training loop goes through: the same batches whenever the same epoch is asked for."""

    states: States
    rows: IntArray  # [n]
    targets: Any  # [n] or [n, C], aligned with rows
    size: int
    seed: int
    how: How

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.rows) // self.size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """``(x, y)`` batches of one epoch, 0 and up; ``x`` as :mod:`headway.engine.packed` packs texts."""
        import torch

        targets = torch.as_tensor(self.targets)
        for places in self.places(number):
            yield self.states.read(self.rows[places]), targets[torch.from_numpy(places)]

    def places(self, number: int) -> list[IntArray]:
        """Positions in ``rows`` of each batch of an epoch."""
        rng = np.random.default_rng(seed_of("text epoch", self.seed, number))
        if self.how == "in order":
            return [np.asarray(part) for part in np.array_split(np.arange(len(self.rows)), len(self))]
        if self.how == "pairs":
            return paired(np.asarray(self.targets), batches=len(self), size=self.size, rng=rng)
        return by_length(self.states.lengths(self.rows), batches=len(self), rng=rng)


def text_batches(states: States, rows: IntArray, targets: Any, *, batch_size: int, seed: int, how: How) -> TextBatches:
    """Batches of ``rows`` with their ``targets`` (``[len(rows), ...]``).

    ``"in order"`` is for looking at; ``"by length"`` mixes the rows anew in every epoch, with texts of similar lengths
    together; ``"pairs"`` is :func:`paired`, for class numbers ``[n]``.

    Raises :class:`OptionError` for no rows, targets that are not theirs, or pairs without classes.
    """
    if batch_size < 1 or not len(rows) or len(targets) != len(rows):
        raise OptionError(
            "there are no such batches",
            given=f"{len(rows)} rows, {len(targets)} targets, batch_size={batch_size}",
            allowed="at least one row, a target each, a batch size from 1",
        )
    given = np.asarray(targets)
    if how == "pairs" and (given.ndim != 1 or given.dtype.kind not in "iu"):
        raise OptionError("pairs are of one class or of two", given=str(given.dtype), allowed="class numbers [n]")
    return TextBatches(
        states=states, rows=np.asarray(rows, np.int64), targets=targets, size=batch_size, seed=seed, how=how
    )


def by_length(lengths: IntArray, *, batches: int, rng: np.random.Generator) -> list[IntArray]:
    """Every position ``0..n-1`` once, in batches equal in size to within one.

    >>> [part.tolist() for part in by_length(np.array([9, 1, 8, 2]), batches=2, rng=np.random.default_rng(0))]
    [[2, 0], [1, 3]]
    """
    order = rng.permutation(len(lengths))
    sizes = [len(part) for part in np.array_split(order, batches)]
    width = max(sizes) * WINDOW
    windows = [order[start : start + width] for start in range(0, len(order), width)]
    order = np.concatenate([window[np.argsort(lengths[window], kind="stable")] for window in windows])
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [parts[i] for i in rng.permutation(len(parts))]


def paired(y: IntArray, *, batches: int, size: int, rng: np.random.Generator) -> list[IntArray]:
    """Batches of about ``size`` positions in which classes have two items or more, for losses over a batch's pairs.

    Every batch holds several classes, each class comes up equally often, and so does each item of a class. Pairs are
    drawn as they are needed: what is kept is a few positions an item, however many pairs there are. A class of one
    item has nothing to be paired with, and is there to differ from the others.

    >>> y = np.array([0, 0, 0, 1, 1, 1])
    >>> [y[part].tolist() for part in paired(y, batches=1, size=4, rng=np.random.default_rng(0))]
    [[1, 1, 0, 0]]
    """
    members = {label: np.flatnonzero(y == label) for label in np.unique(y).tolist()}
    decks = {label: _Deck(own, rng) for label, own in members.items()}
    classes = _Deck(np.array(list(members)), rng)
    found = []
    for _ in range(batches):
        shares = Counter(classes.take(max(size // 2, 1)))
        places = [p for label, n in shares.items() for p in decks[label].take(min(2 * n, len(members[label])))]
        found.append(np.array(places, np.int64))
    return found


class _Deck:
    """Values drawn without putting back, all over again once there are none; a hand has one twice only if it must."""

    def __init__(self, values: IntArray, rng: np.random.Generator) -> None:
        self.values, self.rng, self.left = values, rng, list[int]()

    def take(self, count: int) -> list[int]:
        hand: list[int] = []
        while len(hand) < count:
            if not self.left:
                mixed = self.rng.permutation(self.values).tolist()
                self.left = [value for value in mixed if value in hand] + [
                    value for value in mixed if value not in hand
                ]
            hand.append(self.left.pop())
        return hand
