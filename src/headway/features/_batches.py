"""Batches for the training loop, out of cached activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.errors import OptionError
from headway.seeds import seed_of
from headway.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from headway.features.activations import Activations


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What a training loop goes through; made by :func:`batches`."""

    activations: Activations
    rows: IntArray  # [n]
    targets: Any  # [n] or [n, C], aligned with rows
    count: int
    seed: int
    train: bool
    views: int

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.count

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """``(x, y)`` batches of one epoch, 0 and up: the same for the same number, whatever came before."""
        import torch

        n = len(self.rows)
        order, view = np.arange(n), 0
        if self.train:
            order = np.random.default_rng(seed_of("epoch", self.seed, number)).permutation(n)
            view = 1 + number % self.views if self.views else 0
        targets = torch.as_tensor(self.targets)
        for part in np.array_split(order, self.count):
            yield self._inputs(self.rows[part], view), targets[part]

    def _inputs(self, rows: IntArray, view: int) -> Tensor:
        import torch

        cache = self.activations
        x = torch.from_numpy(cache.read(rows, view)).float()
        if cache.network is None:
            expects = cache.pixels.expects
            if expects.channels == "bgr":
                x = x.flip(-1)
            x = (x - torch.tensor(expects.mean)) / torch.tensor(expects.std)
        return x.permute(0, 3, 1, 2) if x.ndim == 4 else x  # a map so has its channels last in memory


def batches(
    activations: Activations, rows: IntArray, targets: Any, *, batch_size: int, seed: int, train: bool
) -> Batches:
    """Batches of ``rows`` with their ``targets`` (``[len(rows), ...]``) for the training loop.

    With ``train`` the order is random and an epoch sees one random view of every item, the next epoch the next one;
    otherwise rows come in order, in the clean view. ``x`` is float32: ``[b, c, h, w]`` with channels last in memory, or
    ``[b, tokens, d]``. Batches of an epoch are equal in size to within one, so that none is too small for a norm.

    Raises :class:`OptionError` for no rows, or targets that are not theirs.
    """
    if batch_size < 1 or not len(rows) or len(targets) != len(rows):
        raise OptionError(
            "there are no such batches",
            given=f"{len(rows)} rows, {len(targets)} targets, batch_size={batch_size}",
            allowed="at least one row, a target each, a batch size from 1",
        )
    return Batches(
        activations=activations,
        rows=np.asarray(rows, np.int64),
        targets=targets,
        count=-(-len(rows) // batch_size),
        seed=seed,
        train=train,
        views=activations.complete(np.asarray(rows, np.int64)) if train else 0,
    )
