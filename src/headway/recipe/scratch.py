"""The arm from scratch: the architecture that was transferred, from random weights, in as much time and on such views.

It is trained on all training rows, and once without the first fold, for as many epochs, which judges it. Where the time
allows it learns from parts of those rows too, so that there is a learning curve of training from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway import backbones
from headway.backbones._network import Network
from headway.budget import Deadline
from headway.engine.ir import pixels_of
from headway.engine.pool import Member, open_network
from headway.errors import UserError
from headway.evaluate.curve import Curve, held_out_curve
from headway.evaluate.loop import Result
from headway.evaluate.subsamples import nested
from headway.features.activations import Activations, activations, batches
from headway.features.embed import modality_of
from headway.linear.coding import class_numbers
from headway.recipe.embedding import embed_whole
from headway.recipe.ground import Ground
from headway.recipe.ladder import SETTING_UP
from headway.recipe.pin import Pin
from headway.recipe.resolution import at_side, largest, pace, side_of_pictures, sides_of
from headway.recipe.session import CLOSING, Session
from headway.recipe.training import SMOOTHING, Candidate, tuning_method
from headway.recipe.transfer import SHARE, Beyond, Climbing, result_of
from headway.recipe.tuning import Tuned
from headway.recipe.views import RANDOM_VIEWS, Views, open_views
from headway.seeds import seed_of
from headway.types import Dataset, ImageInput, IntArray

if TYPE_CHECKING:
    from headway.engine.cut import Tail

LEAST = 4.0  # seconds, less than which nothing is trained from scratch
FAIR = 12.0  # seconds that it may take even where tuning took less
WORTH = 1.0  # seconds that are left for the learning curve of the probe
EPOCHS = 100  # at most
ENOUGH = 15  # epochs: while there are fewer, pictures are made smaller, and parts of the rows are not learnt from
BATCH, RATE, DECAY = 16, 3e-3, 0.05  # AdamW's; tuning has a third of the rate, and a fifth of the decay
VIEWS = 2 * RANDOM_VIEWS  # an item: it is seen for more epochs than in tuning
FILLING = 0.15  # of the time, at most, for computing views
SURE = 0.8  # of the time is planned for: an epoch more is worth less than a training cut short
PARTS = (1 / 8, 1 / 4, 1 / 2)  # of the rows that judging learns from, beside all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """``results`` holds one result or, where there is no such arm, none; ``why`` says what is missing, and why."""

    results: list[Result] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    curve: Curve | None = None  # of classes only
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What every training shares; ``start`` are the tail's random weights."""

    network: Network  # with the input of its resolution
    tail: Tail
    start: dict[str, Any]
    pixels: Activations
    epochs: int
    parts: tuple[float, ...]


def reserved(pin: Pin, session: Session) -> float:
    """Seconds that whatever comes before must leave, so that there is an arm from scratch; half the budget at most."""
    return min(LEAST + SETTING_UP, session.deadline.seconds / 2) if pin.tunes else 0.0


def scratch_arm(on: Climbing, members: Sequence[Member], found: Beyond, *, testing: Dataset) -> Scratch:
    """Train ``found.network``'s architecture from random weights for as long as tuning took, or as long as is left.

    Where nothing was tuned it has half of the time that is left. There is none where the user pinned a probe, and where
    less than :data:`LEAST` seconds are left. What is missing is said in ``session.cut``, and by the result.
    """
    session = on.session
    own = next(member for member in members if member.spec.name == found.network)
    if not on.pin.tunes:
        return Scratch(why="networks were to stay frozen, so none was trained from scratch")
    if find_spec("torch") is None or not isinstance(own.spec.input, ImageInput):
        return _without("networks are trained from scratch with torch, on images", session)
    left = session.deadline.remaining - CLOSING - SETTING_UP - WORTH - _passing(own, testing, session)
    tuned = found.climbed.tuned is not None
    seconds = min(left, max(found.seconds, FAIR, 0.0 if tuned else SHARE * left))
    if seconds < LEAST:
        return _without("training from scratch did not fit the budget", session)
    try:
        with session.timed("from scratch"):
            arm = _arm(on, own, found, seconds=seconds, testing=testing)
    except UserError as error:
        return _without(f"no network was trained from scratch: {error}", session)
    if tuned and arm.results and seconds < 0.9 * found.seconds:
        session.cut["scratch"] = f"it was given {seconds:.0f} s where tuning took {found.seconds:.0f} s"
    return arm


def _without(why: str, session: Session) -> Scratch:
    session.cut["scratch"] = why
    return Scratch(why=why)


def _passing(member: Member, testing: Dataset, session: Session) -> float:
    """Seconds that the test items take through the network at its own resolution, and so at most."""
    return len(testing.names) * session.pace.get(member.spec.arch, 0.0)


def _arm(on: Climbing, own: Member, found: Beyond, *, seconds: float, testing: Dataset) -> Scratch:
    session, arena, whole = on.session, on.arena, Deadline(seconds)
    started = perf_counter()
    views = found.ground.views if found.ground else open_views(on.training, own, arena, session)
    ground = found.ground or Ground(arena=arena, views=views, session=session, work=on.work)
    plan = _planned(own, ground, whole)
    if plan.epochs < 1:
        return _without("not even an epoch from scratch fitted the budget", session)
    n = len(arena.y)
    out = arena.folds == ground.folds[0]
    learnt, judged = np.flatnonzero(~out), np.flatnonzero(out)
    pair, parts = n + len(learnt), sum(plan.parts) * len(learnt)
    scores = np.zeros((n, arena.classes), np.float32)
    until = Deadline(whole.remaining * len(learnt) / (pair + parts))
    if not _train(plan, ground, learnt, deadline=until):
        return _without("training from scratch was not finished within the budget", session)
    scores[judged] = _scores(plan, ground, judged)
    curve, why = _curve_of(
        plan, ground, learnt, judged, scores[judged], Deadline(whole.remaining * parts / (parts + n))
    )
    epochs = _train(plan, ground, np.arange(n), deadline=Deadline(whole.remaining))
    if not epochs:
        return _without("training from scratch was not finished within the budget", session)
    tuned = _tuned(plan, own, ground, scores, out, epochs=epochs, seconds=perf_counter() - started)
    member = open_network(tuned.network, device=session.device, cache=on.work / "networks")
    if not embed_whole(testing, np.arange(len(testing.names)), member, session):
        return _without("the test items of the arm from scratch did not fit the budget", session)
    result = result_of(tuned, member, arena, arm="scratch", seed=session.seed)
    return Scratch(results=[result], members=[member], curve=curve, why=why)


def _planned(own: Member, ground: Ground, whole: Deadline) -> _Plan:
    """The resolution, how many epochs there are, and the views to train on."""
    twin = backbones.sibling(own.backbone, seed=0)
    assert isinstance(twin, Network), "random weights are drawn for networks that the framework builds"
    sides, tail = _opened(twin, ground)
    start = {name: tensor.clone() for name, tensor in tail.state_dict().items()}
    known: dict[int, float] = {}

    def paced(side: int) -> float:
        known[side] = known.get(side) or pace(tail, side, _loss(ground), ground.learnt[:BATCH])
        return known[side]

    n, judging = len(ground.arena.y), np.count_nonzero(ground.arena.folds != ground.folds[0])
    parts = PARTS if ground.link == "softmax" else ()
    items = n + judging * (1 + sum(parts))
    side = largest(sides, paced, seconds=SURE * (1 - FILLING) * whole.remaining, items=items, epochs=ENOUGH)
    network = at_side(twin, side)
    pixels = _pixels(ground, network, seconds=whole.remaining)
    epochs = SURE * whole.remaining / (items * paced(side))
    if epochs < ENOUGH:
        parts, epochs = (), epochs * items / (n + judging)
    return _Plan(network=network, tail=tail, start=start, pixels=pixels, epochs=min(int(epochs), EPOCHS), parts=parts)


def _opened(twin: Network, ground: Ground) -> tuple[tuple[int, ...], Tail]:
    """Sides that suit the network and the pictures, and all of it, as random as it was drawn, with a head."""
    import torch

    from headway.engine.cut import tunable

    session, dataset = ground.session, ground.views.dataset
    decoder = session.decoder or modality_of(dataset)
    pictures = side_of_pictures(dataset.sources, decoder, cover=pixels_of(twin.spec).height)
    sides = sides_of(twin, pictures=pictures)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(session.seed, "scratch"))
        return sides, tunable(at_side(twin, sides[0]), None, classes=ground.arena.classes)


def _pixels(ground: Ground, network: Network, *, seconds: float) -> Activations:
    """The training rows at that resolution, in the views that tuning sees and more of their kind."""
    dataset, session = ground.views.dataset, ground.session
    assert isinstance(ground.views, Views), "only networks of images are trained from scratch"
    found = activations(
        dataset.sources,
        dataset.digests,
        network=None,
        expects=pixels_of(network.spec),
        modality=modality_of(dataset),
        decoder=session.decoder,
        root=session.cache / "activations",
        views=VIEWS,
        policy=ground.views.policy,
        seed=session.seed,
    )
    rows = np.arange(len(dataset.names))
    for views, share in ((RANDOM_VIEWS, 0.5), (VIEWS, FILLING)):  # tuning's own first, whatever they take
        until = Deadline(share * seconds)
        found.fill(rows, views=range(views + 1), deadline=until, progress=session.progress)
    session.findings += [finding for finding in found.findings if finding not in session.findings]
    return found


def _train(plan: _Plan, ground: Ground, rows: IntArray, *, deadline: Deadline) -> int:
    """Train ``plan.tail`` on ``rows``, from its random weights; how many epochs it came to."""
    from headway.engine.train import Schedule, train

    tail = plan.tail
    tail.load_state_dict(plan.start)
    seed = seed_of(ground.session.seed, "scratch", len(rows))
    data = batches(plan.pixels, rows, ground.learnt[rows], batch_size=BATCH, seed=seed, train=True)
    loss = _loss(ground)
    tuning = tuning_method("scratch").tune(tail, sample=lambda: data.epoch(0), loss=loss, seed=seed)
    schedule = Schedule(epochs=plan.epochs, lr=RATE, weight_decay=DECAY, precision="f32")
    progress = ground.session.progress
    trained = train(tuning, batches=data, loss=loss, schedule=schedule, seed=seed, deadline=deadline, progress=progress)
    return len(trained.epochs) - 1


def _loss(ground: Ground) -> Any:
    from headway.engine.losses import loss_for

    return loss_for(ground.link, label_smoothing=SMOOTHING if ground.link == "softmax" else 0.0)


def _scores(plan: _Plan, ground: Ground, rows: IntArray) -> NDArray[np.float32]:
    """Scores ``[m, C]`` of the clean views, in the user's unit."""
    import torch

    from headway.engine.step import placed, scores_of

    seen = batches(plan.pixels, rows, ground.learnt[rows], batch_size=4 * BATCH, seed=0, train=False)
    plan.tail.eval()
    with torch.inference_mode():
        inputs = (placed(x, y, device=torch.device("cpu")).inputs for x, y in seen.epoch(0))
        found = [scores_of(plan.tail, x, precision="f32") for x in inputs]
    return ground.told(torch.cat(found).numpy())


def _tuned(
    plan: _Plan,
    own: Member,
    ground: Ground,
    scores: NDArray[np.float32],
    judged: NDArray[np.bool_],
    *,
    epochs: int,
    seconds: float,
) -> Tuned:
    from headway.engine.cut import linear_head, merged

    method = tuning_method("scratch")
    params = {
        "cut": "",
        "epochs": epochs,
        "judging_folds": 1,
        "side": pixels_of(plan.network.spec).height,
        "views": plan.pixels.complete(np.arange(len(judged))),
        "trainable": sum(parameter.numel() for parameter in plan.tail.parameters()),
    }
    return Tuned(
        candidate=Candidate(rung="scratch", member=own, method=method, cut=None),
        network=merged(plan.network, plan.tail, label=method.name),
        head=ground.as_told(linear_head(plan.tail)),
        out_of_fold=scores,
        judged=judged,
        seconds=seconds,
        params=params,
    )


def _curve_of(
    plan: _Plan, ground: Ground, learnt: IntArray, judged: IntArray, of_all: NDArray[np.float32], deadline: Deadline
) -> tuple[Curve | None, str]:
    """Balanced accuracy on the judging fold with parts of the other rows, each trained for as many epochs."""
    if not plan.parts:
        return None, "a learning curve from scratch did not fit the budget"
    y, arena = class_numbers(ground.arena.y), ground.arena
    sizes = sorted({max(round(share * len(learnt)), len(np.unique(y[learnt])), 2) for share in plan.parts})
    sizes = [size for size in sizes if size < len(learnt)]
    seed = seed_of(ground.session.seed, "scratch curve")
    chosen = nested(y[learnt], sizes=sizes, seed=seed, groups=arena.groups[learnt], digests=arena.digests[learnt])
    said, used = [], []
    for rows in chosen:
        if _train(plan, ground, learnt[rows], deadline=Deadline(deadline.remaining)) < plan.epochs:
            return None, "a learning curve from scratch was not finished within the budget"
        said.append(_scores(plan, ground, judged).argmax(1))
        used.append(len(rows))
    said.append(of_all.argmax(1))
    return held_out_curve([*used, len(learnt)], np.stack(said), y[judged]), ""
