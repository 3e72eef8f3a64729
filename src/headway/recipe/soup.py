"""Model soups without a leak: each fold is judged by an average of weights none of which have seen it.

A candidate was trained twice, at two rates, on all rows and without each of some folds. What was trained without a fold
is averaged with what was trained without the same fold, and with nothing else; the average over all rows is what ships.
Who is in the soup is one decision for all of them, by the pooled scores of the folds left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headway.adapt._average import greedy_soup
from headway.evaluate.metrics import primary
from headway.recipe.ground import Ground
from headway.recipe.judging import scores
from headway.recipe.training import Trial

if TYPE_CHECKING:
    from torch import Tensor

_WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The same training on all rows, and without each of some folds: a judge never saw the fold that it judges."""

    whole: Trial
    judges: tuple[Trial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooked:
    """What is shipped, ``members`` (positions of the series in it) and what each judge's average says of its rows."""

    whole: dict[str, Tensor]
    members: tuple[int, ...]
    scores: list[NDArray[np.float32]]  # a judge [m, C]


def soup_of(series: Sequence[Series], ground: Ground, *, least: float) -> Cooked | None:
    """The greedy soup (arXiv 2203.05482) of whole series; None where it scores less than ``least``.

    ``least`` is the primary metric of what would be shipped without it, on the same rows. Every series has the same
    judges, in the same order. The first's tails are borrowed, and given back as they were.
    """
    judges = series[0].judges
    truth = ground.arena.y[np.concatenate([trial.rows for trial in judges])]
    before = [_copy(trial.tail.state_dict()) for trial in judges]

    def told(joint: Mapping[str, Tensor]) -> list[NDArray[np.float32]]:
        return [_told(trial, _part(joint, str(i)), ground) for i, trial in enumerate(judges)]

    soup = greedy_soup([_joint(one) for one in series], lambda joint: primary(truth, np.concatenate(told(joint))))
    found = told(soup.state)
    for trial, state in zip(judges, before, strict=True):
        trial.tail.load_state_dict(state)
    if soup.score < least:
        return None
    return Cooked(whole=_part(soup.state, _WHOLE), members=soup.members, scores=found)


def _told(trial: Trial, state: Mapping[str, Tensor], ground: Ground) -> NDArray[np.float32]:
    assert trial.seen is not None
    trial.tail.load_state_dict(dict(state))
    return ground.told(scores(trial.tail, trial.seen))


def _joint(series: Series) -> dict[str, Tensor]:
    """One state for all trainings of a series, so that an average is taken within each of them."""
    named = {_WHOLE: series.whole, **{str(i): trial for i, trial in enumerate(series.judges)}}
    return {f"{part}/{name}": x for part, trial in named.items() for name, x in _copy(trial.tail.state_dict()).items()}


def _part(joint: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}/"): x for name, x in joint.items() if name.startswith(f"{part}/")}


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}
