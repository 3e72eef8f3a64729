"""Averages of weights, kept only when validation says so: WiSE interpolation and the greedy soup.

A state is what ``state_dict()`` gives. ``score(state)`` is measured on validation rows; larger is better, and NaN is
worse than everything. Nothing given is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from headway.errors import ModelError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

State: TypeAlias = "Mapping[str, Tensor]"
Score: TypeAlias = "Callable[[State], float]"
GRID = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soup:
    """What :func:`greedy_soup` kept: the average of ``members`` (positions in the states given, best first)."""

    state: State
    members: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What :func:`best_interpolation` kept: ``a`` is 1 where nothing beat the tuned weights."""

    state: State
    a: float
    score: float


def interpolate(start: State, end: State, a: float) -> dict[str, Tensor]:
    """``(1 - a) start + a end``: 0 gives ``start`` and 1 gives ``end`` bit for bit (WiSE-FT, arXiv 2109.01903, eq. 1).

    What is equal in both stays equal bit for bit, so frozen weights stay frozen. Integers (counters, indices) come
    from the nearer end. Raises :class:`OptionError` for ``a`` outside 0..1 and :class:`ModelError` where the states
    are not of one network.

    >>> import torch
    >>> interpolate({"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([2.0, 4.0])}, 0.25)
    {'w': tensor([0.5000, 4.0000])}
    """
    if not 0 <= a <= 1:
        raise OptionError("weights are interpolated, not extrapolated", given=a, allowed="0 to 1")
    _same_network([start, end])
    return {name: _between(start[name], end[name], a) for name in start}


def best_interpolation(start: State, end: State, score: Score, *, grid: Sequence[float] = GRID) -> Between:
    """The best of ``end`` and the interpolations at ``grid``; ``end``, the tuned weights, unless one is truly better.

    Among equals the one nearest to ``end`` is kept. ``start`` itself competes where 0 is in the grid.
    """
    best = Between(state=end, a=1.0, score=_scored(score, end))
    for a in sorted({a for a in grid if a != 1}, reverse=True):
        state = interpolate(start, end, a)
        found = _scored(score, state)
        if found > best.score:
            best = Between(state=state, a=float(a), score=found)
    return best


def greedy_soup(states: Sequence[State], score: Score) -> Soup:
    """Model soups, recipe 1 (arXiv 2203.05482): from the best down, a state joins when the average scores no less.

    Integers come from the best. Raises :class:`OptionError` where there is no state, and :class:`ModelError` where
    the states are not of one network.
    """
    if not states:
        raise OptionError("a soup needs at least one state", given="none")
    _same_network(states)
    alone = [_scored(score, state) for state in states]
    first, *others = sorted(range(len(states)), key=lambda i: -alone[i])
    soup = Soup(state=states[first], members=(first,), score=alone[first])
    for i in others:
        members = (*soup.members, i)
        state = _mean([states[member] for member in members])
        found = _scored(score, state)
        if found >= soup.score > -float("inf"):
            soup = Soup(state=state, members=members, score=found)
    return soup


def _between(start: Tensor, end: Tensor, a: float) -> Tensor:
    if a in (0, 1) or not start.is_floating_point():
        return (start if a < 0.5 else end).clone()
    # lerp goes from the nearer end, which is what leaves equal weights equal
    return start.double().lerp(end.double(), a).to(start.dtype)


def _mean(states: Sequence[State]) -> dict[str, Tensor]:
    mean = {}
    for name, first in states[0].items():
        if not first.is_floating_point():
            mean[name] = first.clone()
            continue
        total = first.double()
        for state in states[1:]:
            total = total + state[name]
        mean[name] = (total / len(states)).to(first.dtype)
    return mean


def _same_network(states: Sequence[State]) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in states]
    for other in shapes[1:]:
        odd = sorted(name for name in shapes[0].keys() | other.keys() if shapes[0].get(name) != other.get(name))
        if odd:
            raise ModelError("weights of different networks cannot be averaged", given=", ".join(odd[:5]))


def _scored(score: Score, state: State) -> float:
    found = float(score(state))
    return found if found == found else -float("inf")
