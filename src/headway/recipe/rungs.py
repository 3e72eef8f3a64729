"""The rungs of the ladder: the line that each has in its table, the frozen ones, and what may be tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.choose import Ranked
from headway.engine.pool import Member
from headway.errors import OptionError
from headway.evaluate.loop import Result
from headway.linear.coding import link_of
from headway.recipe.training import RATE, Candidate, tuning_method
from headway.types import Targets, TextInput, TuningMethod

if TYPE_CHECKING:
    from headway.engine.cut import CutPoint

FEW = 64  # labels a class on average, below which pairs tell more than rows
TEXT_RATE = 2e-4  # of AdamW
TEXT_RATES = {"lora": 1e-3, "dora": 1e-3, "ia3": 1e-3, "bitfit": 1e-3}  # what starts from nothing has further to go
LATE, LAST, MIDDLE = 0.6, 0.85, 0.4
"""Shares of the forward pass below a cut: a third is trained; the last stage, where that is too dear; over half."""


@dataclass(slots=True, kw_only=True)
class Rung:
    """One line of the ladder's table; seconds and scores are None where nothing was measured."""

    rung: str
    backbone: str
    method: str
    cut: str | None = None
    predicted_seconds: float | None = None
    predicted_gain: float | None = None
    seconds: float | None = None
    validation: float | None = None
    gain: float | None = None
    state: str = "climbed"
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "rung": self.rung,
            "backbone": self.backbone,
            "method": self.method,
            "cut": self.cut,
            "predicted": {"seconds": self.predicted_seconds, "gain": self.predicted_gain},
            "seconds": self.seconds,
            "validation": self.validation,
            "gain": self.gain,
            "state": self.state,
            "why": self.why,
        }


def frozen_rungs(ranking: Sequence[Ranked], results: Sequence[Result]) -> list[Rung]:
    """The rungs that train no network, in the order in which they were climbed; gains are over the best so far."""
    top = ranking[0]
    best = top.scores.get("loo_knn", 0.0)
    rungs = [Rung(rung="kNN", backbone=top.backbone, method="kNN", validation=best, seconds=top.seconds)]
    for result in results:
        contender = result.contender
        fused, deep = len(contender.entrants) > 1, max(contender.stages) > 1
        rungs.append(
            Rung(
                rung="fused probe" if fused else "multi-stage probe" if deep else "probe",
                backbone=contender.backbone,
                method=contender.method.name,
                seconds=round(result.seconds, 3),
                validation=result.score,
                gain=result.score - best,
            )
        )
        best = max(best, result.score)
    return rungs


def candidates_of(
    ordered: Sequence[Member], *, peak: str | None, method: str | None, cut: str | None
) -> list[Candidate]:
    """What may be tuned, most promising first; one only where the user pinned the method or the cut.

    ``ordered`` are the networks, best first. ``peak`` is the stage whose probe is the most accurate, where that is not
    the last: what stands above it is too special to its old task, so all of that is trained.

    Raises:
        OptionError: the pinned cut is none of the best network's.
    """
    from headway.engine.cut import points

    best = ordered[0]
    where = points(best.backbone)
    names = [point.name for point in where]
    if cut is not None and cut not in names:
        raise OptionError(f"{best.spec.name} cannot be cut there", given=cut, allowed=", ".join(names))
    if method is not None or cut is not None:
        pinned = tuning_method(method or "partial")
        at = None if method in ("full", "scratch") and cut is None else cut or _at(where, LATE)
        return [_candidate("pinned", best, pinned, at)]
    late, last, middle = _at(where, LATE), _at(where, LAST), _at(where, MIDDLE)
    partial, lora, full = tuning_method("partial"), tuning_method("lora"), tuning_method("full")
    cuts = [late, last, *([peak] if peak in names else []), middle]
    found = [Candidate(rung="partial", member=best, method=partial, cut=at) for at in cuts]
    for other in ordered[1:2]:
        found.insert(2, Candidate(rung="partial", member=other, method=partial, cut=_at(points(other.backbone), LATE)))
    found.append(Candidate(rung="low-rank", member=best, method=lora, cut=middle))
    found.append(Candidate(rung="full", member=best, method=full, cut=None))
    return list({candidate.label: candidate for candidate in found}.values())


def text_candidates(ordered: Sequence[Member], *, peak: str | None, y: Targets) -> list[Candidate]:
    """What may be tuned of text networks, most promising first: by pairs first where each class has few labels."""
    best, where = ordered[0], points_of(ordered[0])
    names = [point.name for point in where]
    late, last, middle = _at(where, LATE), _at(where, LAST), _at(where, MIDDLE)
    partial, lora, full = tuning_method("partial"), tuning_method("lora"), tuning_method("full")
    cuts = [last, late, *([peak] if peak in names else []), middle]  # on short budgets the cheapest is all there is
    found = [_candidate("partial", best, partial, at) for at in cuts]
    if link_of(y) == "softmax" and len(y) < FEW * len(np.unique(y)):
        found = [_candidate("contrastive", best, tuning_method("contrastive"), at) for at in cuts] + found[:1]
    found.append(_candidate("low-rank", best, lora, middle))
    found.append(_candidate("full", best, full, None))
    return list({candidate.label: candidate for candidate in found}.values())


def points_of(member: Member) -> Sequence[CutPoint]:
    from headway.engine.cut import points

    return points(member.backbone)


def _candidate(rung: str, member: Member, method: TuningMethod, cut: str | None) -> Candidate:
    """At the rate that suits the network: encoders of texts take a tenth of what networks of images take."""
    rate = TEXT_RATES.get(method.name, TEXT_RATE) if isinstance(member.spec.input, TextInput) else RATE
    return Candidate(rung=rung, member=member, method=method, cut=cut, rate=rate)


def _at(where: Sequence[CutPoint], share: float) -> str:
    """The first point with that share of the forward pass below it; the last one where there is none."""
    return next((point.name for point in where if point.below >= share), where[-1].name)
