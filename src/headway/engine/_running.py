"""A training that is running: what it was asked, where it stands, and how that goes to a checkpoint and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from headway.budget import Deadline
from headway.engine import checkpoint
from headway.engine.curves import Checked, Epoch, better
from headway.engine.optimise import (
    Schedule,
    Tensors,
    copied,
    load_optimiser_state,
    optimiser_for,
    optimiser_state,
    restore,
)
from headway.engine.step import Batch, Loss, Precision, backward, in_memory
from headway.types import Finding, ParamGroup, Progress, Tuning

Stopped: TypeAlias = Literal["finished", "patience", "budget", "nan", "diverged"]
Check: TypeAlias = Callable[[nn.Module], Checked]

SAVE_SECONDS = 30.0  # of work that may be lost
_FACTS = (
    *("lr", "planned", "precision", "parts", "limit", "share", "batch", "total", "updates", "retries"),
    *("best", "stopped", "batch_seconds", "check_seconds", "trained"),
)


class Batches(Protocol):
    """Training data: the same batches whenever the same epoch is asked for."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def epoch(self, number: int, /) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``[n, ...]`` and targets ``[n]`` or ``[n, C]``; ``number`` counts from 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What :func:`headway.engine.train.train` was asked."""

    tuning: Tuning
    batches: Batches
    loss: Loss
    schedule: Schedule
    seed: int
    check: Check | None
    deadline: Deadline | None
    checkpoint: Path | None
    progress: Progress | None
    on_epoch: Callable[[Epoch], None] | None

    @property
    def model(self) -> nn.Module:
        return self.tuning.model

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def backward(self, batch: Batch, *, precision: Precision, parts: int) -> tuple[float, int]:
        """The batch's loss, its gradients in the parameters, and the parts in which it fitted into memory."""

        def work(count: int) -> float:
            return backward(
                self.model, batch, loss=self.loss, penalty=self.tuning.penalty, precision=precision, parts=count
            )

        return in_memory(work, rows=len(batch), parts=parts)


@dataclass(slots=True, kw_only=True)
class Running:
    """Where a training stands."""

    groups: tuple[ParamGroup, ...]
    optimiser: Optimizer
    tensors: Tensors  # the model's own, all that a step can change
    start: Tensors  # their values at the start, on the CPU
    kept: Tensors  # those of the best epoch, on the CPU
    average: Tensors | None  # the moving average, where there is one
    lr: float
    planned: int  # epochs
    precision: Precision = "f32"
    parts: int = 1  # in which a batch goes through memory
    limit: float = math.inf  # a mean loss above it is a divergence
    share: float = 0.0  # of the schedule that is done
    batch: int = 0  # batches done in the epoch that is under way
    total: float = 0.0  # sum of their losses
    updates: int = 0  # of the moving average
    retries: int = 0
    best: int = 0
    stopped: Stopped | None = None
    batch_seconds: float = 0.0
    check_seconds: float = 0.0
    trained: list[str] = field(default_factory=list)  # parameters that were ever in a group
    epochs: list[Epoch] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    began: float = field(default_factory=perf_counter)
    saved: float = field(default_factory=perf_counter)

    def seconds(self) -> float:
        return perf_counter() - self.began

    def take(self, epoch: Epoch) -> None:
        """An epoch is over; keep its weights where it is the best so far."""
        self.epochs.append(epoch)
        self.batch, self.total = 0, 0.0
        if epoch.number == 0 or better(epoch, self.epochs[self.best]):
            self.best = epoch.number
            self.kept = copied(self.tensors if self.average is None else self.average, device="cpu")

    def again(self, optimiser: Optimizer, *, lr: float) -> None:
        """Back to the start, with a lower rate."""
        restore(self.tensors, self.start)
        self.optimiser, self.lr, self.retries = optimiser, lr, self.retries + 1
        self.share, self.batch, self.total, self.updates = 0.0, 0, 0.0, 0
        self.epochs, self.best, self.kept = self.epochs[:1], 0, self.start
        self.average = None if self.average is None else copied(self.tensors)


def running(model: nn.Module, groups: tuple[ParamGroup, ...], tensors: Tensors, schedule: Schedule) -> Running:
    """A training before its first step."""
    start = copied(tensors, device="cpu")
    return Running(
        groups=groups,
        optimiser=optimiser_for(model, groups, schedule),
        tensors=tensors,
        start=start,
        kept=start,
        average=copied(tensors) if schedule.ema else None,
        lr=schedule.lr,
        planned=schedule.epochs,
        trained=sorted(name for group in groups for name in group.names),
    )


@contextmanager
def averaged(run: Running) -> Iterator[None]:
    """Inside, the model holds the moving average where there is one."""
    if run.average is None:
        yield
        return
    own = copied(run.tensors)
    restore(run.tensors, run.average)
    try:
        yield
    finally:
        restore(run.tensors, own)


# --- to a checkpoint and back -------------------------------------------------------------------


def settings_of(job: Job, first: tuple[Tensor, Tensor]) -> str:
    """Hex digest of what a training was asked: schedule, method, weights, and the first batch."""
    tuning = job.tuning
    words = (
        asdict(job.schedule),
        job.seed,
        len(job.batches),
        tuning.groups,
        sorted(tuning.params.items()),
        tuning.norm_statistics,
        [part is None for part in (tuning.penalty, tuning.regroup, job.check)],
    )
    weights = (*job.model.named_parameters(), *job.model.named_buffers())
    return checkpoint.fingerprint(words, (*weights, *zip(("x", "y"), first, strict=True)))


def save(job: Job, run: Running, settings: str) -> None:
    """Write the checkpoint, where one is wanted. A disk that refuses ends nothing: one finding says so."""
    if job.checkpoint is None or any(finding.check == "checkpoint_refused" for finding in run.findings):
        return
    facts = {name: getattr(run, name) for name in _FACTS}
    for name in ("epochs", "findings", "groups"):
        facts[name] = [asdict(record) for record in getattr(run, name)]
    parts = {
        "model": run.tensors,
        "kept": run.kept if run.best else {},
        "average": run.average or {},
        "optimiser": optimiser_state(job.model, run.optimiser),
    }
    tensors = {f"{part}/{name}": tensor for part, held in parts.items() for name, tensor in held.items()}
    try:
        checkpoint.save(job.checkpoint, tensors=tensors, facts={**facts, "settings": settings, "spent": run.seconds()})
    except OSError as error:
        message = f"training cannot be resumed: {job.checkpoint} cannot be written ({error.strerror or error})"
        run.findings.append(Finding(check="checkpoint_refused", severity="warn", message=message))
    run.saved = perf_counter()


def save_when_due(job: Job, run: Running, settings: str) -> None:
    """Within an epoch: only where more than ``SAVE_SECONDS`` of work would be lost."""
    if job.checkpoint is not None and perf_counter() - run.saved > SAVE_SECONDS:
        save(job, run, settings)


def resume(job: Job, run: Running, settings: str) -> bool:
    """Take up where the checkpoint left off; False where there is none of these settings."""
    if job.checkpoint is None or not job.checkpoint.exists():
        return False
    found = checkpoint.load(job.checkpoint)
    if found is None or found.facts["settings"] != settings:
        why = "cannot be read" if found is None else "is of other settings, weights or data"
        message = f"{job.checkpoint} {why}: training began anew"
        run.findings.append(Finding(check="checkpoint_ignored", severity="note", message=message))
        return False
    facts = found.facts
    for name in _FACTS:
        setattr(run, name, facts[name])
    run.epochs = [Epoch(**epoch) for epoch in facts["epochs"]]
    run.findings = [Finding(**{**finding, "evidence": tuple(finding["evidence"])}) for finding in facts["findings"]]
    run.groups = tuple(ParamGroup(**{**group, "names": tuple(group["names"])}) for group in facts["groups"])
    run.began -= facts["spent"]
    restore(run.tensors, found.part("model"))
    run.kept = found.part("kept") if run.best else run.start
    if run.average is not None:
        restore(run.average, found.part("average"))
    run.optimiser = optimiser_for(job.model, run.groups, job.schedule)
    load_optimiser_state(job.model, run.optimiser, found.part("optimiser"))
    return True
