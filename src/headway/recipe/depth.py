"""How accurate a probe is at each depth of a network: every stage's features came out of one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.engine.pool import Member
from headway.evaluate import contenders
from headway.evaluate.contenders import Arena
from headway.evaluate.loop import validate
from headway.linear.coding import task_of
from headway.recipe.embedding import entrant
from headway.recipe.session import Session

if TYPE_CHECKING:
    from headway.engine.cut import CutPoint

LEAD = 0.02  # of the metric by which an earlier stage must beat the last for the stages above it to be too special


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A ridge probe on one stage of a network."""

    backbone: str
    stage: str
    validation: float
    seconds: float

    def as_json(self, where: Sequence[CutPoint]) -> dict[str, Any]:
        """With what a cut there would leave to train, where it is known."""
        at = next((point for point in where if self.stage in (point.stage, point.name)), None)
        return {
            "backbone": self.backbone,
            "stage": self.stage,
            "validation": self.validation,
            "seconds": round(self.seconds, 4),
            "frozen_share": None if at is None else round(at.below, 4),
            "trainable": None if at is None else at.params_above,
        }


def by_depth(member: Member, arena: Arena, session: Session) -> list[Depth]:
    """A probe on every stage alone, input side first; the last is the embedding."""
    one, task = entrant(member), task_of(arena.y)
    found = []
    with session.timed("depth"):
        for number, stage in enumerate(one.stages):
            contender = contenders.of_stage("transfer", one, number, "ridge", arena=arena)
            result = validate(contender, metrics=task.METRICS, primary=task.PRIMARY, seed=session.seed)
            found.append(
                Depth(backbone=one.name, stage=stage, validation=result.score, seconds=result.seconds),
            )
    return found


def peak(depths: Sequence[Depth]) -> str | None:
    """The stage that clearly beats the last one, the best of them; None where the last is as good as any."""
    best = max(depths, key=lambda depth: depth.validation)
    return best.stage if best.validation > depths[-1].validation + LEAD else None
