"""What all tunings of one command stand on: the training rows, their views, and the unit of what is learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.engine.losses import TargetScale, folded, scaled, target_scale, unfolded, unscaled
from headway.evaluate.contenders import Arena
from headway.linear.coding import link_of
from headway.linear.head import TINY, probabilities, sigmoid
from headway.recipe.session import Session
from headway.recipe.text_views import TextViews
from headway.recipe.views import Views
from headway.types import FloatArray, LinearHead, Link, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The same for every candidate. Numbers are learnt on a scale of their own, near 1, and told in the user's unit."""

    arena: Arena
    views: Views | TextViews
    session: Session
    work: Path  # for checkpoints and tuned networks

    @property
    def folds(self) -> list[int]:
        found = self.arena.folds
        return [int(fold) for fold in np.unique(found[found >= 0])]

    @property
    def link(self) -> Link:
        return link_of(self.arena.y)

    @property
    def scale(self) -> TargetScale | None:
        """The unit in which numbers are learnt, by all training rows; None for classes and labels."""
        return target_scale(self.arena.y.astype(np.float64)) if self.link == "identity" else None

    @property
    def learnt(self) -> Targets:
        """The targets as networks learn them."""
        if self.scale is None:
            return self.arena.y
        return scaled(self.arena.y.astype(np.float64), self.scale)[:, 0].astype(np.float64)

    def told(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """A network's scores in the user's unit."""
        return scores if self.scale is None else unscaled(scores, self.scale).astype(np.float32)

    def as_learnt(self, head: LinearHead) -> LinearHead:
        """A probe's head as a network's training starts from it."""
        return head if self.scale is None else unfolded(head, self.scale)

    def as_told(self, head: LinearHead) -> LinearHead:
        """A trained head with the task's link, its scores in the user's unit."""
        head = replace(head, link=self.link)
        return head if self.scale is None else folded(head, self.scale)


def loss_of(scores: NDArray[np.float32], learnt: Targets) -> float:
    """What a network learns to make small: cross entropy of classes or labels, squared error of numbers.

    >>> round(loss_of(np.zeros((1, 2), np.float32), np.array([1])), 4)
    0.6931
    """
    link, said = link_of(learnt), scores.astype(np.float64)
    if link != "identity":
        said = probabilities(scores) if link == "softmax" else sigmoid(scores)
    return float(item_losses(said, learnt).mean())


def item_losses(said: FloatArray, y: Targets) -> NDArray[np.float64]:
    """The loss ``[n]`` of each item from a head's answers ``[n, C]``; over labels it is their mean.

    >>> item_losses(np.array([[0.5, 0.5]]), np.array([1])).round(4).tolist()
    [0.6931]
    """
    link = link_of(y)
    if link == "identity":
        return (np.asarray(said, np.float64)[:, 0] - y) ** 2
    P = np.clip(np.asarray(said, np.float64), TINY, 1 - TINY)
    if link == "sigmoid":
        losses: NDArray[np.float64] = -(y * np.log(P) + (1 - y) * np.log1p(-P)).mean(axis=1)
        return losses
    found: NDArray[np.float64] = -np.log(P[np.arange(len(y)), y.astype(np.int64)])
    return found
