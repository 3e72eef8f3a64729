"""Beyond the probes: tune networks while it pays; validation chooses between the probe, the tuned, and a blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.choose import Ranked
from headway.engine.pool import Member, open_network
from headway.evaluate import contenders
from headway.evaluate.contenders import Arena, Contender
from headway.evaluate.loop import Result, measured
from headway.evaluate.metrics import primary
from headway.linear.coding import task_of
from headway.linear.head import answers, blend
from headway.recipe.competition import used_by
from headway.recipe.depth import Depth, by_depth, peak
from headway.recipe.embedding import entrant
from headway.recipe.ground import Ground, item_losses
from headway.recipe.ladder import SETTING_UP, Climb, climb
from headway.recipe.pin import Pin
from headway.recipe.rungs import candidates_of, frozen_rungs, text_candidates
from headway.recipe.session import CLOSING, Session
from headway.recipe.text_views import TextViews
from headway.recipe.tuning import Tuned
from headway.recipe.views import Views, open_views
from headway.types import Adapted, Dataset, TextInput, TuningMethod

SHARE = 0.5  # of the time that is left goes into tuning; the arm from scratch is given as much as tuning took
LEAST = 6.0  # seconds, less than which no network is tuned
CLOSE = 0.02  # of the ranking's score
BLENDS = (0.25, 0.5, 0.75)  # how much of a blend is the tuned network
TOLERATED = 0.01  # of the primary metric that the lesser log loss of a tuned model may cost on the judging rows


@dataclass(slots=True, kw_only=True)
class Beyond:
    """What came of it: ``best`` is the probe where nothing was better, ``ground`` None where nothing was tuned."""

    best: Result
    climbed: Climb
    shown: list[Result] = field(default_factory=list)  # tuned models, for the table
    rivals: list[Result] = field(default_factory=list)  # the tuned model and its blends with the probe
    members: list[Member] = field(default_factory=list)  # tuned networks
    depths: list[Depth] = field(default_factory=list)
    ground: Ground | None = None
    seconds: float = 0.0

    @property
    def network(self) -> str:
        """Whose architecture the arms without transfer have: the network that was tuned, else the probe's first."""
        tuned = self.climbed.tuned
        return tuned.candidate.member.spec.name if tuned else self.best.contender.entrants[0].name

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        where = self.climbed.where
        return {
            "depth": [depth.as_json(where) for depth in self.depths],
            "ladder": [rung.as_json() for rung in self.climbed.rungs],
            "curves": self.climbed.curves,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbing:
    """What every rung above the probes needs: the training rows, the clock, and what the user pinned."""

    training: Dataset  # the arena's rows, in its order
    arena: Arena
    session: Session
    work: Path
    pin: Pin


def beyond_probes(
    on: Climbing,
    results: Sequence[Result],
    probe: Result,
    ranking: Sequence[Ranked],
    members: Sequence[Member],
    *,
    test: int,
) -> Beyond:
    """Climb the ladder as far as it pays; the ``probe`` remains what is fallen back on.

    ``results`` are the frozen rungs' and ``test`` how many test items are still to be embedded.
    """
    session, pin = on.session, on.pin
    rungs = frozen_rungs(ranking, results)
    found = Beyond(best=probe, climbed=Climb(rungs=rungs))
    if not pin.tunes:
        return found
    if find_spec("torch") is None or find_spec("peft") is None:
        session.cut["tuning"] = 'networks are tuned with torch and peft: pip install "headway[tune]"'
        return found
    from headway.engine.cut import points

    by_name = {member.spec.name: member for member in members if _has_layers(member)}
    ranking = [line for line in ranking if line.backbone in by_name]
    if not ranking:
        session.cut["tuning"] = "none of these networks is built of layers that could be tuned"
        return found
    # Of networks that are nearly as good as the best the smallest is tuned: it trains for longer in the same time
    order = sorted(ranking, key=lambda line: -line.score)
    close = [line for line in order if line.score >= order[0].score - CLOSE]
    close.sort(key=lambda line: by_name[line.backbone].spec.params)
    ordered = [by_name[line.backbone] for line in [*close, *order[len(close) :]]]
    found.depths = by_depth(ordered[0], on.arena, session)
    seconds = SHARE * (session.deadline.remaining - _needed(probe, ordered, on, test))
    if seconds < LEAST:
        session.cut["tuning"] = "tuning a network did not fit the budget"
        return found
    started = perf_counter()
    with session.timed("tune"):
        views = _views(on, ordered[0])
        found.ground = Ground(arena=on.arena, views=views, session=session, work=on.work)
        best = peak(found.depths)
        if isinstance(views, TextViews) and not pin.is_set:
            candidates = text_candidates(ordered, peak=best, y=on.arena.y)
        else:
            candidates = candidates_of(ordered, peak=best, method=pin.method, cut=pin.cut)
        climbed = climb(candidates, found.ground, probe, seconds=seconds)
        climbed.rungs = [*rungs, *climbed.rungs]
        climbed.where = points(ordered[0].backbone)
        found.climbed = climbed
        if climbed.tuned is not None:
            _take(climbed.tuned, found, on.arena, session, pinned=pin.is_set)
    found.seconds = perf_counter() - started
    return found


def _has_layers(member: Member) -> bool:
    """Whether it can be cut; averages of word vectors, among networks of texts, cannot."""
    from headway.engine.cut import points

    return not isinstance(member.spec.input, TextInput) or bool(points(member.backbone))


def _views(on: Climbing, best: Member) -> Views | TextViews:
    if isinstance(best.spec.input, TextInput):
        return TextViews(dataset=on.training, session=on.session)
    return open_views(on.training, best, on.arena, on.session)


def _take(tuned: Tuned, found: Beyond, arena: Arena, session: Session, *, pinned: bool) -> None:
    """Open the tuned network as an ordinary one, and let it and its blends with the probe compete with the probe."""
    assert found.ground is not None
    member = open_network(tuned.network, device=session.device, cache=found.ground.work / "networks")
    found.members.append(member)
    alone = result_of(tuned, member, arena, arm="transfer", seed=session.seed)
    found.shown.append(alone)
    blended = [_blended(found.best, alone, share, seed=session.seed) for share in BLENDS]
    found.rivals = [alone, *blended]
    found.best = alone if pinned else _choose(found.best, [alone, *blended], tuned.judged)


def result_of(tuned: Tuned, member: Member, arena: Arena, *, arm: str, seed: int) -> Result:
    """A tuned network as any other contender, judged on the folds that it was judged on."""
    started = perf_counter() - tuned.seconds
    plain = contenders.of_networks(arm, [entrant(member)], "ridge", arena=arena)
    contender = replace(
        plain,
        method=tuned.candidate.method,
        arena=replace(arena, folds=np.where(tuned.judged, arena.folds, -1)),
    )
    adapted = Adapted(head=tuned.head, out_of_fold=tuned.out_of_fold, params=tuned.params)
    task = task_of(contender.arena.y)
    return measured(contender, adapted, metrics=task.METRICS, primary=task.PRIMARY, seed=seed, started=started)


def _blended(probe: Result, tuned: Result, share: float, *, seed: int) -> Result:
    """The probe's scores and the tuned network's, added up: one linear head on the features of all their networks."""
    started = perf_counter() - probe.seconds - tuned.seconds
    a, b = probe.contender, tuned.contender
    assert isinstance(b.method, TuningMethod)
    contender = Contender(
        arm=b.arm,
        entrants=(*a.entrants, *b.entrants),
        stages=(*a.stages, *b.stages),
        method=replace(b.method, name=f"{a.method.name} + {b.method.name}"),
        blocks=(*a.blocks, *b.blocks),
        widths=(*a.widths, *b.widths),
        arena=b.arena,
    )
    scores = [result.adapted.out_of_fold / result.adapted.head.temperature for result in (probe, tuned)]
    adapted = Adapted(
        head=blend(probe.adapted.head, tuned.adapted.head, share),
        out_of_fold=((1 - share) * scores[0] + share * scores[1]).astype(np.float32),
        params={**tuned.adapted.params, "blend": share},
    )
    task = task_of(contender.arena.y)
    return measured(contender, adapted, metrics=task.METRICS, primary=task.PRIMARY, seed=seed, started=started)


def _choose(probe: Result, others: Sequence[Result], judged: NDArray[np.bool_]) -> Result:
    """The least loss on the rows that judged the tuned network; the probe unless another's lead is clear.

    The loss, because on a few dozen rows an accuracy moves in steps of points. The lead must be above its own standard
    error over the rows, and the primary metric must not be lower by more than :data:`TOLERATED`.
    """
    y = probe.contender.arena.y[judged]

    def losses(result: Result) -> NDArray[np.float64]:
        return item_losses(answers(result.adapted.head, result.adapted.out_of_fold[judged]), y)

    def score(result: Result) -> float:
        return primary(y, result.adapted.out_of_fold[judged])

    best = min(others, key=lambda result: float(losses(result).mean()))
    lead = losses(probe) - losses(best)
    clear = lead.mean() > lead.std() / np.sqrt(max(len(lead), 1))
    return best if clear and score(best) >= score(probe) - TOLERATED else probe


def _needed(probe: Result, ordered: Sequence[Member], on: Climbing, test: int) -> float:
    """Seconds that must be left once a network is tuned: for the test items, the random arm, proving and saving."""
    passes = sum(_a_pass(member, test, on.session) for member in used_by([probe], ordered))
    tuned = SETTING_UP + _a_pass(ordered[0], test, on.session)
    chance = SETTING_UP + _a_pass(ordered[0], test + len(on.arena.y), on.session)
    return CLOSING + passes + tuned + chance


def _a_pass(member: Member, items: int, session: Session) -> float:
    """Seconds that so many items take through a network of this architecture, by the pace of the training rows."""
    return items * session.pace.get(member.spec.arch, 0.0)
