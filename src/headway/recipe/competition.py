"""Everybody on the same folds: the transferred models, and the arms that do without transfer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from headway import backbones
from headway.choose import Candidate, Ranked, rank
from headway.engine.ir import key_of
from headway.engine.pool import FIRST_CONVERSION, Member, open_network
from headway.errors import DataError, ModelError, OptionError, UserError
from headway.evaluate import contenders
from headway.evaluate.contenders import Arena, Contender, Entrant
from headway.evaluate.loop import Result, validate
from headway.features.embed import classical_fact, modality_of
from headway.linear.coding import task_of
from headway.linear.fusion import forward_selection
from headway.recipe.embedding import embed_whole, entrant
from headway.recipe.learnt import learnt_features
from headway.recipe.session import Session, compiled_cache
from headway.types import Backbone, Dataset, Split

WORTH = 0.002  # of the primary metric: a dearer contender must beat a simpler one by more than this
SAVING = 1.0  # seconds that proving and saving take at least


def rank_members(members: Sequence[Member], arena: Arena, session: Session) -> tuple[Ranked, ...]:
    """The ranking of the networks by their embeddings of the training rows.

    Raises:
        ModelError: no network's features are finite numbers.
    """
    with session.timed("rank"):
        candidates = []
        for m in members:
            features = contenders.of_networks("transfer", [entrant(m)], "ridge", arena=arena).features()
            if not np.isfinite(features.X).all():  # an overflow in the network: nothing can be learnt on it
                session.cut[m.spec.name] = "its features are not finite numbers"
                continue
            seconds = session.timings.get(f"embed {m.spec.name}", 0.0)
            candidates.append(Candidate(spec=m.spec, features=features, seconds=seconds))
        if not candidates:
            raise ModelError("no model's features are finite numbers", given=", ".join(m.spec.name for m in members))
        return rank(candidates, seed=session.seed)


def compete(members: Sequence[Member], ranking: Sequence[Ranked], arena: Arena, session: Session) -> list[Result]:
    """Fit every transferred contender that the budget allows, the likeliest first."""
    by_name = {m.spec.name: entrant(m) for m in members}
    ordered = [by_name[line.backbone] for line in ranking]
    with session.timed("adapt"):
        results = _enter(contenders.singles(ordered, arena=arena), session, must=1, keep=session.aside)
        ordered = [_by_its_best_pooling(one, results) for one in ordered]
        best = best_of(results).contender.entrants[0]
        fused = _fused(ordered, arena, session)
        return _enter(
            contenders.refinements(best, fused, ordered, arena=arena), session, before=results, keep=session.aside
        )


def baselines(dataset: Dataset, arena: Arena, session: Session, *, tested: int) -> list[Result]:
    """The arms that need no network: classical features, and none at all; ``tested`` items will be asked of them."""
    fact = classical_fact(modality_of(dataset))
    with session.timed("arms"):
        prior = contenders.prior(arena=arena)
        if fact is not None:
            width = session.store.get(fact.key, arena.digests[:1], ["0"]).shape[1]
            return _enter([contenders.classical(fact.key, width, arena=arena), prior], session, must=2)
        try:
            words = learnt_features(dataset, arena.digests, tested, session)
        except DataError as error:  # texts of no words, as of emoji only
            session.cut["classical"] = f"there is no arm of classical features: {error}"
            words = None
        without = [] if words is None else [contenders.learnt(words, arena=arena)]
        return _enter([*without, prior], session, must=2)


def random_arm(
    name: str,
    members: Sequence[Member],
    dataset: Dataset,
    parts: Split,
    arena: Arena,
    session: Session,
    *,
    keep: float = 0.0,
) -> tuple[list[Result], list[Member]]:
    """The architecture of the network ``name`` with random weights, under the same probe; empty where time is short.

    ``keep`` are seconds that it must leave for what follows, beside saving.
    """
    own = next(m for m in members if m.spec.name == name)
    rows = np.concatenate([parts.train, parts.test])
    # One fixed draw for every run, so that its network is converted once and its features are computed once an item.
    cost = session.timings.get(f"embed {name}", 0.0) * len(rows) / max(len(parts.train), 1) + SAVING
    try:
        twin = backbones.sibling(own.backbone, seed=0)
        cost += 0.0 if is_converted(twin, session) else FIRST_CONVERSION
        if not session.deadline.allows(cost, keep=SAVING + keep):
            session.cut["random"] = "the arm of random weights did not fit the budget"
            return [], []
        with session.timed("random arm"):
            member = open_network(twin, device=session.device, cache=compiled_cache(session))
            if not embed_whole(dataset, rows, member, session, keep=keep):
                session.cut["random"] = "the arm of random weights was not finished within the budget"
                return [], []
            contender = contenders.of_networks("random", [entrant(member)], "ridge", arena=arena)
            return _enter([contender], session, must=1), [member]
    except UserError as error:
        session.cut["random"] = f"there is no arm of random weights: {error}"
        return [], []


def used_by(results: Sequence[Result], members: Sequence[Member]) -> list[Member]:
    """The networks whose features the results are made of."""
    keys = {entrant.key for result in results for entrant in result.contender.entrants}
    return [member for member in members if member.frozen.key in keys]


def is_converted(backbone: Backbone, session: Session) -> bool:
    return (compiled_cache(session) / key_of(backbone) / "ir.json").exists()


def best_of(results: Sequence[Result], *, only: str | None = None) -> Result:
    """The best validation score; within :data:`WORTH` of it, who came first, as the simplest do.

    ``only`` names the one method that may win.
    """
    allowed = [result for result in results if only is None or result.contender.method.name == only]
    if not allowed:
        raise OptionError(f"{only} was not fitted", todo="Give a larger --budget")
    top = max(result.score for result in allowed)
    return next(result for result in allowed if result.score >= top - WORTH)


def _by_its_best_pooling(one: Entrant, results: Sequence[Result]) -> Entrant:
    """A network by the pooling that validates best; that it was made for unless another leads clearly."""
    own = [result for result in results if result.contender.entrants[0].key == one.key]
    return best_of(own).contender.entrants[0] if own else one


def _fused(ordered: Sequence[Entrant], arena: Arena, session: Session) -> list[Entrant]:
    if len(ordered) < 2:
        return []
    features = [contenders.of_networks("transfer", [e], "ridge", arena=arena).features() for e in ordered]
    return [ordered[i] for i in forward_selection(features, seed=session.seed)]


def _enter(
    entered: Iterable[Contender], session: Session, *, must: int = 0, before: Sequence[Result] = (), keep: float = 0.0
) -> list[Result]:
    """``before`` and the contenders validated in turn; past ``must`` results, only those whose predicted cost fits.

    That leaves ``keep`` seconds.
    """
    results = list(before)
    for contender in entered:
        cost = contender.cost() * _slowness(results)
        if len(results) >= must and not session.deadline.allows(cost, keep=SAVING + keep):
            session.cut[f"{contender.backbone}, {contender.method.name}"] = "fitting it did not fit the budget"
            continue
        task = task_of(contender.arena.y)
        results.append(validate(contender, metrics=task.METRICS, primary=task.PRIMARY, seed=session.seed))
        session.report("adapt", len(results), 0)
    return results


def _slowness(results: Sequence[Result]) -> float:
    """How much longer than predicted the fits took so far: a busy machine shows here."""
    predicted = sum(result.contender.cost() for result in results)
    return max(1.0, sum(result.seconds for result in results) / predicted) if predicted else 1.0
