"""One training of one network on the training rows, without a fold that it is then measured on, or on all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.engine.pool import Member
from headway.errors import OptionError
from headway.evaluate.contenders import any_method, method
from headway.evaluate.loop import calibrated
from headway.features.activations import Batches
from headway.features.embed import matrix
from headway.features.text_batches import TextBatches
from headway.recipe.ground import Ground
from headway.recipe.judging import PRECISION, Watch, scores, scores_between
from headway.seeds import seed_of
from headway.types import Features, Finding, IntArray, LinearHead, TuningMethod

if TYPE_CHECKING:
    from headway.engine.cut import Tail
    from headway.engine.train import Epoch

BATCH = 16  # small, because what a few hundred items need is steps
EPOCHS = 8
LEAST_EPOCHS = 4  # fewer leave a new head unfinished
RATE = 1e-3  # AdamW's; methods scale it for their parts
SMOOTHING = 0.1
DECAY = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way of tuning one network."""

    rung: str
    member: Member
    method: TuningMethod
    cut: str | None
    rate: float = RATE

    @property
    def label(self) -> str:
        return f"{self.member.spec.name}, {self.method.name}" + (f" from {self.cut}" if self.cut else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training. ``scores[a] [m, C]`` are those of the rows left out, ``a`` of the way from the start to its end."""

    rows: IntArray  # [m]
    scores: dict[float, NDArray[np.float32]]
    epochs: tuple[Epoch, ...]
    stopped: str
    seconds: float
    trainable: int
    findings: tuple[Finding, ...]
    params: dict[str, Any]
    tail: Tail
    start: dict[str, Any]  # the tail's state before
    seen: Batches | TextBatches | None  # the rows left out, to look at


def tuning_method(name: str) -> TuningMethod:
    """The tuning method of that name; :class:`OptionError` for one that works on features, or none."""
    found = any_method(name)
    if not isinstance(found, TuningMethod):
        raise OptionError(f"{name} does not tune a network", todo="It is a probe on frozen features")
    return found


def train_without(
    candidate: Candidate,
    ground: Ground,
    *,
    out: NDArray[np.bool_],
    epochs: int,
    deadline: Deadline,
    watch: bool,
) -> Trial:
    """Train on the rows that are not ``out``."""
    from headway.engine.train import Schedule, train

    rows, left_out = np.flatnonzero(~out), np.flatnonzero(out)
    name = f"{candidate.label}|{ground.arena.folds[left_out[:1]].tolist()}|{epochs}"
    seed = seed_of(ground.session.seed, "tune", name)  # the rate is not in it: weights of one start can be averaged
    name, order = f"{name}|{watch}|{candidate.rate}", seed_of(seed, "order", str(candidate.rate))
    tail, start, data, tuning, loss = set_up(candidate, ground, rows, seed=seed, order=order, epochs=epochs)
    seen = None
    if len(left_out):
        views, y = ground.views, ground.learnt[left_out]
        seen = views.batches(candidate.member, candidate.cut, left_out, y, batch_size=2 * BATCH, seed=0, epochs=0)
    refit = partial(fit_head, tail, candidate, ground, rows) if candidate.method.head == "refit" else None
    watched = tuning.model if refit is None else tail
    watching = Watch(watched, seen, ground, left_out, before=refit) if watch and seen else None
    trained = train(
        tuning,
        batches=data,
        loss=loss,
        schedule=Schedule(epochs=epochs, lr=candidate.rate, weight_decay=DECAY, precision=PRECISION),
        seed=seed,
        deadline=deadline,
        checkpoint=ground.work / f"{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}.safetensors",
        progress=ground.session.progress,
        on_epoch=watching,
    )
    if watching is not None and watching.epochs:
        trained = watching.told(trained)
    if refit is not None:
        refit()
    between = scores_between(tail, start, seen, fresh=candidate.method.head != "probe") if seen else {}
    return Trial(
        rows=left_out,
        scores={share: ground.told(found) for share, found in between.items()},
        epochs=trained.epochs,
        stopped=trained.stopped,
        seconds=trained.seconds,
        trainable=trained.trainable,
        findings=trained.findings,
        params=dict(tuning.params),
        tail=tail,
        start=start,
        seen=seen,
    )


def set_up(
    candidate: Candidate, ground: Ground, rows: IntArray, *, seed: int, order: int, epochs: int
) -> tuple[Tail, dict[str, Any], Batches | TextBatches, Any, Any]:
    """The part to train, its state before the method, its batches, what the method asks for, and the loss.

    ``seed`` is the start's, ``order`` that of the batches.
    """
    import torch

    from headway.engine.cut import tunable
    from headway.engine.losses import loss_for

    arena, member = ground.arena, candidate.member
    head = None if candidate.method.head == "fresh" else _probe(member, ground, rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tail = tunable(member.backbone, candidate.cut, head, classes=arena.classes)
        start = {key: value.clone() for key, value in tail.state_dict().items()}  # adapters are no part of it
        data = ground.views.batches(
            member,
            candidate.cut,
            rows,
            ground.learnt[rows],
            batch_size=BATCH,
            seed=order,
            epochs=epochs,
            kind=candidate.method.batches,
        )
        loss = loss_for(ground.link, label_smoothing=SMOOTHING if ground.link == "softmax" else 0.0)
        tuning = candidate.method.tune(tail, sample=lambda: data.epoch(0), loss=loss, seed=seed)
    return tail, start, data, tuning, tuning.loss or loss


def _probe(member: Member, ground: Ground, rows: IntArray) -> LinearHead:
    """The ridge probe of these rows alone: what is left out must not have been seen by the head either."""
    arena, frozen = ground.arena, member.frozen
    X = matrix(arena.store, [(frozen.key, str(len(frozen.stages) - 1))], arena.digests[rows])
    return _ridge(X, ground, rows)


def fit_head(tail: Tail, candidate: Candidate, ground: Ground, rows: IntArray) -> None:
    """Put the ridge probe on the tail's embeddings of these rows in place of its head."""
    from headway.engine.cut import put_head

    y = ground.learnt[rows]
    seen = ground.views.batches(candidate.member, candidate.cut, rows, y, batch_size=2 * BATCH, seed=0, epochs=0)
    put_head(tail, _ridge(scores(tail.body, seen), ground, rows))


def _ridge(X: NDArray[np.float32], ground: Ground, rows: IntArray) -> LinearHead:
    arena = ground.arena
    features = Features(X=X, y=arena.y[rows], classes=arena.classes, blocks=(X.shape[1],), groups=arena.groups[rows])
    fitted = method("ridge").fit(features, seed=ground.session.seed)
    return ground.as_learnt(calibrated(fitted, features.y, np.arange(len(rows))).head)
