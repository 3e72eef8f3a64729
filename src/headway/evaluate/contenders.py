"""Who takes part: the transferred models that compete for the job, and the arms that do without transfer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headway import plugins
from headway.errors import OptionError
from headway.features.embed import Block, matrix
from headway.features.fitted import Fitted
from headway.features.store import Store
from headway.linear.coding import link_of
from headway.types import ByteArray, Features, IntArray, Method, Targets, TuningMethod

LAST_STAGES = 3  # a multi-stage probe sees the embedding and the two stages before it
MIN_FLOPS_A_SECOND = 2e10  # what linear algebra on one laptop core does at least, to predict a contender's cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The training rows on which everything is fitted and chosen, the same for every contender."""

    store: Store
    digests: ByteArray  # [n, 16]
    y: Targets  # as in Features
    classes: int  # columns of scores
    folds: IntArray  # [n] validation fold of each row, -1 for none
    groups: IntArray  # [n] rows that are left out together


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A network by name, with the store's key and the names of its stages.

    ``poolings`` are stages that pool the same last layer, of which ``top`` is the one that is taken: alternatives, not
    one above the other. Of a network that has but one way to pool there are none.
    """

    name: str
    key: str
    stages: tuple[str, ...]
    dims: tuple[int, ...]
    poolings: tuple[int, ...] = ()
    top: int = -1

    @property
    def nested(self) -> tuple[int, ...]:
        """The stages one above the other, input side first: the last of them is ``top``."""
        top = self.top % len(self.stages)
        return (*(stage for stage in range(len(self.stages) - 1) if stage not in (*self.poolings, top)), top)

    def alternatives(self) -> Iterator[Entrant]:
        """The same network by each of its other poolings."""
        for stage in self.poolings:
            if stage != self.top % len(self.stages):
                yield replace(self, top=stage)

    def block(self, stage: int) -> Block:
        return self.key, str(stage % len(self.stages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A method on some blocks of features: one row of the table that the user sees."""

    arm: str  # "transfer", "classical", "random", "prior"
    entrants: tuple[Entrant, ...]
    stages: tuple[int, ...]  # the last so many stages of each entrant are taken: counts
    method: Method | TuningMethod
    blocks: tuple[Block, ...]
    widths: tuple[int, ...]
    arena: Arena
    fitted: Fitted | None = None  # where features come from that are no blocks of the store

    @property
    def backbone(self) -> str:
        """What its features are, for records and tables."""
        names = [
            _called(e) if count == 1 else f"{_called(e)} (last {count} stages)"
            for e, count in zip(self.entrants, self.stages, strict=True)
        ]
        return " + ".join(names) or self.arm

    @property
    def taken(self) -> tuple[tuple[int, ...], ...]:
        """Of each entrant the numbers of the stages whose features these are."""
        ends = np.cumsum((0, *self.stages)).tolist()
        return tuple(tuple(int(column) for _, column in self.blocks[start:stop]) for start, stop in pairwise(ends))

    def matrix(self, digests: ByteArray) -> NDArray[np.float32]:
        """Its features ``[n, d]`` of any items whose features are there."""
        if self.fitted is not None:
            return self.fitted.matrix(digests)
        return matrix(self.arena.store, self.blocks, digests)

    def features(self) -> Features:
        arena = self.arena
        return Features(
            X=self.matrix(arena.digests),
            y=arena.y,
            classes=arena.classes,
            blocks=self.widths,
            folds=arena.folds,
            groups=arena.groups,
        )

    def cost(self) -> float:
        """Seconds that fitting takes at most, from the shape of the linear algebra."""
        n, d = len(self.arena.y), sum(self.widths)
        small = min(n, d)
        flops = 4.0 * n * d * small + 12.0 * small**3 + 2.0 * n**3 / max(len(np.unique(self.arena.folds)), 1) ** 2
        if self.method.name == "logistic":
            flops += 6 * 8 * 20 * 4.0 * n * small * self.arena.classes
        return flops / MIN_FLOPS_A_SECOND


def method(name: str) -> Method:
    """The method of that name that works on features; :class:`OptionError` for another."""
    found = any_method(name)
    if not isinstance(found, Method):
        raise OptionError(f"{name} tunes a network: it does not work on features", todo="Name a probe, such as ridge")
    return found


def any_method(name: str) -> Method | TuningMethod:
    found: Method | TuningMethod = plugins.load("adapt", name).METHOD
    return found


def suits(how: str, y: Targets) -> bool:
    """Whether a method learns such targets; one that says nothing of it learns classes."""
    return link_of(y) in getattr(plugins.load("adapt", how), "LINKS", ("softmax",))


def of_networks(arm: str, entrants: Sequence[Entrant], how: str, *, arena: Arena, stages: int = 1) -> Contender:
    """The last ``stages`` stages of each network side by side, and a method on them."""
    counts = tuple(min(stages, len(e.nested)) for e in entrants)
    places = [(e, stage) for e, count in zip(entrants, counts, strict=True) for stage in e.nested[-count:]]
    return Contender(
        arm=arm,
        entrants=tuple(entrants),
        stages=counts,
        method=method(how),
        blocks=tuple(e.block(stage) for e, stage in places),
        widths=tuple(e.dims[stage] for e, stage in places),
        arena=arena,
    )


def of_stage(arm: str, entrant: Entrant, stage: int, how: str, *, arena: Arena) -> Contender:
    """One stage of one network alone, and a method on it."""
    return Contender(
        arm=arm,
        entrants=(entrant,),
        stages=(1,),
        method=method(how),
        blocks=(entrant.block(stage),),
        widths=(entrant.dims[stage],),
        arena=arena,
    )


def singles(entrants: Sequence[Entrant], *, arena: Arena) -> Iterator[Contender]:
    """A ridge probe on each network alone, by the pooling it was made for and by every other."""
    for entrant in entrants:
        yield of_networks("transfer", [entrant], "ridge", arena=arena)
    for entrant in entrants:
        for other in entrant.alternatives():
            yield of_networks("transfer", [other], "ridge", arena=arena)


def refinements(
    best: Entrant, fused: Sequence[Entrant], everyone: Sequence[Entrant], *, arena: Arena
) -> Iterator[Contender]:
    """What may beat the best single ridge probe, cheapest first, as far as the method suits the task."""
    if len(fused) > 1:
        yield of_networks("transfer", fused, "ridge", arena=arena)
    if len(everyone) > max(len(fused), 1):  # forward selection stops early on few items; validation says if too early
        yield of_networks("transfer", everyone, "ridge", arena=arena)
    if suits("prototype", arena.y):
        yield of_networks("transfer", [best], "prototype", arena=arena)
    yield of_networks("transfer", [best], "ridge", arena=arena, stages=LAST_STAGES)
    if suits("logistic", arena.y):
        yield of_networks("transfer", [best], "logistic", arena=arena)
    if len(fused) > 1 and suits("logistic", arena.y):
        yield of_networks("transfer", fused, "logistic", arena=arena)


def _called(entrant: Entrant) -> str:
    top = entrant.top % len(entrant.stages)
    return entrant.name if top == len(entrant.stages) - 1 else f"{entrant.name} ({entrant.stages[top]})"


def learnt(fitted: Fitted, *, arena: Arena) -> Contender:
    """No pretrained network: classical features that were learnt from the training rows, and the same ridge probe."""
    return Contender(
        arm="classical",
        entrants=(),
        stages=(),
        method=method("ridge"),
        blocks=(),
        widths=(fitted.width,),
        arena=arena,
        fitted=fitted,
    )


def classical(key: str, width: int, *, arena: Arena) -> Contender:
    """No pretrained network: the modality's classical features and the same ridge probe."""
    return Contender(
        arm="classical",
        entrants=(),
        stages=(),
        method=method("ridge"),
        blocks=((key, "0"),),
        widths=(width,),
        arena=arena,
    )


def prior(*, arena: Arena) -> Contender:
    """No features at all."""
    return Contender(arm="prior", entrants=(), stages=(), method=method("prior"), blocks=(), widths=(), arena=arena)
