"""Before the first step: what the model is worth as it is, how fast a batch is, and in which precision."""

from __future__ import annotations

import math
from time import perf_counter

import torch

from headway.engine._running import Job, Running, averaged, resume, running, settings_of
from headway.engine.curves import Epoch
from headway.engine.optimise import freeze, moving, plan_epochs, rate_share, restore
from headway.engine.step import Batch, Precision, in_memory, may_use_bf16, placed, scores_of
from headway.errors import DataError

DIVERGED = 3.0  # times the loss of the start, or of knowing nothing, whichever is larger
MEASURED_STEPS = 40  # fewer are not worth finding out whether bf16 is faster
FASTER = 0.9  # of the seconds in f32


def opened(job: Job) -> tuple[Running, str]:
    """The training at its start, or where its checkpoint left off, and the digest of its settings."""
    first = next(iter(job.batches.epoch(1)), None)
    if first is None or not len(first[0]):
        raise DataError("there is nothing to train on", given="no batch", todo="Give at least one item a class")
    settings = "" if job.checkpoint is None else settings_of(job, first)
    batch = placed(*first, device=job.device)
    if batch.inputs.ndim == 4:
        job.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tuning = job.tuning
    groups = tuning.groups if tuning.regroup is None else tuning.regroup(0, job.schedule.epochs)
    freeze(job.model, groups, norm_statistics=tuning.norm_statistics)
    run = running(job.model, groups, moving(job.model, everything=tuning.regroup is not None), job.schedule)
    if not resume(job, run, settings):
        _begin(job, run, batch)
        _choose_pace(job, run, batch)
    return run, settings


def checked(job: Job, run: Running, *, number: int, train_loss: float) -> Epoch:
    """Validate the model, in eval mode and with averaged weights where there are some."""
    began = perf_counter()
    found = None
    if job.check is not None:
        job.model.eval()
        with averaged(run), torch.no_grad():
            found = job.check(job.model)
    run.check_seconds = perf_counter() - began
    return Epoch(
        number=number,
        train_loss=train_loss,
        val_loss=None if found is None else float(found.loss),
        val_score=None if found is None else float(found.score),
        lr=run.lr * rate_share(run.share, run.share, warmup=job.schedule.warmup) if number else 0.0,
        seconds=run.seconds() - sum(epoch.seconds for epoch in run.epochs),
    )


def epochs_in_time(job: Job, run: Running) -> int:
    """How many more epochs there is time for, the one that is under way included."""
    wanted = job.schedule.epochs - len(run.epochs) + 1
    if job.deadline is None:
        return wanted
    done = run.batch * run.batch_seconds
    return plan_epochs(
        wanted,
        batches=len(job.batches),
        batch_seconds=run.batch_seconds,
        check_seconds=run.check_seconds,
        remaining=job.deadline.remaining + done,
    )


def _begin(job: Job, run: Running, batch: Batch) -> None:
    """Epoch 0: the validation of the model as it is, the loss of its first batch, and what counts as diverged."""
    job.model.eval()

    def losses(parts: int) -> tuple[float, float]:
        own = none = 0.0
        with torch.no_grad():
            for part in batch.parts(parts):
                scores = scores_of(job.model, part.inputs, precision="f32")
                own += part.loss(job.loss, scores).item() * len(part) / len(batch)
                none += part.loss(job.loss, torch.zeros_like(scores)).item() * len(part) / len(batch)
        return own, none

    (own, none), run.parts = in_memory(losses, rows=len(batch), parts=run.parts)
    with torch.no_grad():
        penalty = 0.0 if job.tuning.penalty is None else job.tuning.penalty().item()
    known = [value for value in (own, none) if math.isfinite(value)]
    run.limit = DIVERGED * max(known) + penalty if known else math.inf
    run.take(checked(job, run, number=0, train_loss=own))
    if job.on_epoch is not None:
        job.on_epoch(run.epochs[-1])


def _choose_pace(job: Job, run: Running, batch: Batch) -> None:
    """Seconds a batch, where something hangs on them: the number of epochs, or the choice of the precision."""
    wanted = job.schedule.precision
    run.precision = "bf16" if wanted == "bf16" else "f32"
    if job.deadline is None and wanted != "auto":
        return
    freeze(job.model, run.groups, norm_statistics=job.tuning.norm_statistics)
    run.batch_seconds = _seconds(job, run, batch, run.precision)
    if not epochs_in_time(job, run):  # before it is left at that, once more: the machine may have been busy just then
        run.batch_seconds = min(run.batch_seconds, _seconds(job, run, batch, run.precision))
    steps = epochs_in_time(job, run) * len(job.batches)
    if wanted == "auto" and steps >= MEASURED_STEPS and may_use_bf16(job.device):
        seconds = _seconds(job, run, batch, "bf16")
        if seconds < FASTER * run.batch_seconds:
            run.precision, run.batch_seconds = "bf16", seconds
    restore(run.tensors, run.start)  # batch norms have seen batches
    job.model.zero_grad(set_to_none=True)


def _seconds(job: Job, run: Running, batch: Batch, precision: Precision) -> float:
    """Of the second of two batches: the first also pays for choosing kernels and filling caches."""
    _, run.parts = job.backward(batch, precision=precision, parts=run.parts)
    began = perf_counter()
    _, run.parts = job.backward(batch, precision=precision, parts=run.parts)
    return perf_counter() - began
