"""Tuning one network on the training rows: without a fold or several, which judge it, and then once on all rows.

The number of epochs follows from the time there is, before anything is trained, and the weights at their end are kept:
no epoch is chosen by the fold that judges, so its scores do not lean towards what was chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headway.adapt._average import GRID, interpolate
from headway.budget import Deadline
from headway.engine.pool import Member
from headway.errors import OptionError
from headway.evaluate.contenders import any_method, method
from headway.evaluate.loop import calibrated
from headway.evaluate.metrics import primary
from headway.features.activations import Batches
from headway.features.embed import matrix
from headway.recipe.ground import Ground, loss_of
from headway.seeds import seed_of
from headway.types import Features, Finding, IntArray, LinearHead, Targets, TuningMethod

if TYPE_CHECKING:
    from headway.backbones import Network
    from headway.engine.cut import Tail
    from headway.engine.train import Epoch, Trained

BATCH = 16  # small, because what a few hundred items need is steps
EPOCHS = 8
LEAST_EPOCHS = 4  # fewer leave a new head unfinished
RATE = 1e-3  # AdamW's; methods scale it for their parts
SMOOTHING = 0.1
DECAY = 0.01
PACING = 4  # batches from which the pace is told
OVERHEAD = 1.15  # the optimiser, batches and looking at what was left out, beside forward and backward
PRECISION: Literal["f32"] = "f32"  # above a cut it is faster than bf16 on the processors measured, and the same on all


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way of tuning one network."""

    rung: str
    member: Member
    method: TuningMethod
    cut: str | None

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


@dataclass(slots=True, kw_only=True)
class Tuned:
    """A network that was tuned on all training rows. ``out_of_fold [n, C]`` holds scores where ``judged``."""

    candidate: Candidate
    network: Network
    head: LinearHead
    out_of_fold: NDArray[np.float32]
    judged: NDArray[np.bool_]
    seconds: float
    params: dict[str, Any] = field(default_factory=dict)


def tuning_method(name: str) -> TuningMethod:
    """The tuning method of that name; :class:`OptionError` for one that works on features, or none."""
    found = any_method(name)
    if not isinstance(found, TuningMethod):
        raise OptionError(f"{name} does not tune a network", todo="It is a probe on frozen features")
    return found


def score_on(scores: NDArray[np.float32], ground: Ground, rows: NDArray[np.bool_]) -> float:
    """The primary metric of out-of-fold scores ``[n, C]`` on ``rows [n]``."""
    return primary(ground.arena.y[rows], scores[rows])


def pace(candidate: Candidate, ground: Ground) -> float:
    """Seconds that training takes an item, the least of a few batches: the first also pays for choosing kernels."""
    import torch

    from headway.engine.step import backward, placed

    rows = np.arange(min(PACING * BATCH, len(ground.arena.y)))
    _, data, tuning, loss = _set_up(candidate, ground, rows, seed=0, epochs=1)
    model = tuning.model.to(memory_format=torch.channels_last).train()
    seconds = []
    for x, y in data.epoch(1):
        batch, started = placed(x, y, device=_cpu()), perf_counter()
        backward(model, batch, loss=loss, penalty=tuning.penalty, precision=PRECISION)
        seconds.append((perf_counter() - started) / len(batch))
    return OVERHEAD * min(seconds)


def explore(candidate: Candidate, ground: Ground, *, epochs: int, deadline: Deadline) -> Trial:
    """Train without the first fold, which is watched epoch by epoch and judges."""
    out = ground.arena.folds == ground.folds[0]
    return _train(candidate, ground, out=out, epochs=epochs, deadline=deadline, watch=True)


def finish(
    candidate: Candidate, ground: Ground, first: Trial, *, judges: Sequence[int], deadline: Deadline
) -> Tuned | None:
    """Train on all rows for as many epochs as ``first``, and without each fold of ``judges``. None: out of time.

    ``first`` judges too. The tuned weights are drawn back towards the start (WiSE-FT, arXiv 2109.01903) where the
    judging folds score better so.
    """
    started, epochs = perf_counter(), len(first.epochs) - 1
    nothing = np.zeros(len(ground.arena.y), bool)
    whole = _train(candidate, ground, out=nothing, epochs=epochs, deadline=deadline, watch=False)
    if len(whole.epochs) < 2:
        return None
    trials = [first]
    for fold in judges:
        out = ground.arena.folds == fold
        trial = _train(candidate, ground, out=out, epochs=epochs, deadline=deadline, watch=False)
        if trial.stopped != "finished":
            break
        trials.append(trial)
    return _tuned(candidate, ground, whole, trials, perf_counter() - started + first.seconds, epochs)


def _tuned(
    candidate: Candidate, ground: Ground, whole: Trial, judges: Sequence[Trial], seconds: float, epochs: int
) -> Tuned:
    from headway.engine.cut import linear_head, merged

    share, tail = _best_share(judges, ground.arena.y), whole.tail
    if share < 1:
        tail.load_state_dict(interpolate(whole.start, tail.state_dict(), share))
    scores = np.zeros((len(ground.arena.y), ground.arena.classes), np.float32)
    judged = np.zeros(len(ground.arena.y), bool)
    for trial in judges:
        scores[trial.rows], judged[trial.rows] = trial.scores[share], True
    settled = {"cut": candidate.cut or "", "epochs": epochs, "judging_folds": len(judges), "interpolation": share}
    return Tuned(
        candidate=candidate,
        network=merged(candidate.member.backbone, tail, label=candidate.method.name),
        head=ground.as_told(linear_head(tail)),
        out_of_fold=scores,
        judged=judged,
        seconds=seconds,
        params={**whole.params, **settled, "trainable": whole.trainable},
    )


def _best_share(judges: Sequence[Trial], y: Targets) -> float:
    """How far to go from the start to the tuned weights; all the way unless less is better."""
    truth = y[np.concatenate([trial.rows for trial in judges])]
    scores = {
        share: primary(truth, np.concatenate([trial.scores[share] for trial in judges])) for share in judges[0].scores
    }
    return max(scores, key=lambda share: (scores[share], share))


def _train(
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
    name = f"{candidate.label}|{ground.arena.folds[left_out[:1]].tolist()}|{epochs}|{watch}"
    seed = seed_of(ground.session.seed, "tune", name)
    tail, data, tuning, loss = _set_up(candidate, ground, rows, seed=seed, epochs=epochs)
    start = {key: value.clone() for key, value in tail.state_dict().items()}
    seen = None
    if len(left_out):
        views, y = ground.views, ground.learnt[left_out]
        seen = views.batches(candidate.member, candidate.cut, left_out, y, batch_size=2 * BATCH, seed=0, epochs=0)
    watching = _Watch(tuning.model, seen, ground, left_out) if watch and seen else None
    trained = train(
        tuning,
        batches=data,
        loss=loss,
        schedule=Schedule(epochs=epochs, lr=RATE, weight_decay=DECAY, precision=PRECISION),
        seed=seed,
        deadline=deadline,
        checkpoint=ground.work / f"{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}.safetensors",
        progress=ground.session.progress,
        on_epoch=watching,
    )
    if watching is not None and watching.epochs:
        trained = watching.told(trained)
    between = _scores_between(tail, start, seen, fresh=candidate.method.head == "fresh") if seen else {}
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
    )


def _set_up(
    candidate: Candidate, ground: Ground, rows: IntArray, *, seed: int, epochs: int
) -> tuple[Tail, Batches, Any, Any]:
    """The part to train, its batches, what the method asks for, and the loss."""
    import torch

    from headway.engine.cut import tunable
    from headway.engine.losses import loss_for

    arena, member = ground.arena, candidate.member
    head = _probe(member, ground, rows) if candidate.method.head == "probe" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tail = tunable(member.backbone, candidate.cut, head, classes=arena.classes)
        data = ground.views.batches(
            member, candidate.cut, rows, ground.learnt[rows], batch_size=BATCH, seed=seed, epochs=epochs
        )
        loss = loss_for(ground.link, label_smoothing=SMOOTHING if ground.link == "softmax" else 0.0)
        tuning = candidate.method.tune(tail, sample=lambda: data.epoch(0), loss=loss, seed=seed)
    return tail, data, tuning, loss


def _probe(member: Member, ground: Ground, rows: IntArray) -> LinearHead:
    """The ridge probe of these rows alone: what is left out must not have been seen by the head either."""
    arena, frozen = ground.arena, member.frozen
    features = Features(
        X=matrix(arena.store, [(frozen.key, str(len(frozen.stages) - 1))], arena.digests[rows]),
        y=arena.y[rows],
        classes=arena.classes,
        blocks=(frozen.dims[-1],),
        groups=arena.groups[rows],
    )
    fitted = method("ridge").fit(features, seed=ground.session.seed)
    return ground.as_learnt(calibrated(fitted, features.y, np.arange(len(rows))).head)


class _Watch:
    """Measures the rows that were left out after every epoch, for the curve and for a warning; it chooses nothing."""

    def __init__(self, model: Any, seen: Batches, ground: Ground, rows: IntArray) -> None:
        self.model, self.seen, self.ground, self.epochs = model, seen, ground, list[Any]()
        self.truth, self.learnt = ground.arena.y[rows], ground.learnt[rows]

    def __call__(self, epoch: Epoch) -> None:
        scores = _scores(self.model, self.seen)
        score = primary(self.truth, self.ground.told(scores))
        self.epochs.append(replace(epoch, val_loss=loss_of(scores, self.learnt), val_score=score))

    def told(self, trained: Trained) -> Trained:
        """With the curve as it was seen here, and a finding where it turned."""
        from headway.engine.curves import overfitting

        known = {epoch.number: epoch for epoch in self.epochs}  # a training begun again begins its curve again
        epochs = tuple(known.get(epoch.number, epoch) for epoch in trained.epochs)
        best = max(epochs, key=lambda epoch: epoch.val_score or 0.0).number
        turned = overfitting(epochs, best=best)
        return replace(trained, epochs=epochs, findings=(*trained.findings, *([turned] if turned else [])))


def _scores(model: Any, seen: Batches) -> NDArray[np.float32]:
    """Scores ``[m, C]`` of the clean views."""
    import torch

    from headway.engine.step import placed, scores_of

    model.eval()
    with torch.inference_mode():
        batches = [placed(x, y, device=_cpu()) for x, y in seen.epoch(0)]
        found = [scores_of(model, batch.inputs, precision=PRECISION) for batch in batches]
    return torch.cat(found).numpy()


def _scores_between(
    tail: Tail, start: dict[str, Any], seen: Batches, *, fresh: bool
) -> dict[float, NDArray[np.float32]]:
    """Scores at the end, and on the way back to the start where that is a model of its own."""
    end = {key: value.clone() for key, value in tail.state_dict().items()}
    found = {1.0: _scores(tail, seen)}
    for share in () if fresh else GRID:
        tail.load_state_dict(interpolate(start, end, share))
        found[share] = _scores(tail, seen)
    tail.load_state_dict(end)
    return found


def _cpu() -> Any:
    import torch

    return torch.device("cpu")
