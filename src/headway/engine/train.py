"""The one training loop: whatever a method asks for, in the time there is, resumable, and never worse than its start.

Seeds come from names (``seed_of(seed, "train", epoch, batch)``), so a checkpoint holds no random state, and what was
killed and resumed ends with the same weights as what ran through.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from torch import nn

from headway.budget import Deadline
from headway.engine._opening import checked, epochs_in_time, opened
from headway.engine._running import Batches, Check, Job, Running, Stopped, save, save_when_due
from headway.engine.curves import Checked, Epoch, is_stale, overfitting
from headway.engine.optimise import (
    Schedule,
    advanced,
    average,
    freeze,
    optimiser_for,
    rate_share,
    restore,
    set_rate,
    validate,
)
from headway.engine.step import Batch, Loss, Precision, mixed, placed
from headway.errors import DataError
from headway.seeds import seed_of
from headway.types import Finding, ParamGroup, Progress, Tuning

__all__ = ["Batches", "Checked", "Epoch", "Schedule", "Trained", "train"]

JUDGED_BATCHES = 20  # or an epoch, where it is shorter
RETRIES, RETRY_SHARE = 2, 0.1
SURE_BATCHES = 3  # from which an epoch's pace is believed
RESERVE = 0.03  # of the remaining time, against a pace that slackens


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What happened; the model itself holds the weights of the epoch ``best``, merged, in eval mode."""

    epochs: tuple[Epoch, ...]  # the first is number 0, the model as it was given
    best: int
    stopped: Stopped
    findings: tuple[Finding, ...]
    seconds: float
    trainable: int  # parameters (numbers) that were ever in a group
    precision: Precision
    parts: int  # in which each batch went through memory
    lr: float  # the peak learning rate of the attempt that counted


def train(
    tuning: Tuning,
    /,
    *,
    batches: Batches,
    loss: Loss,
    schedule: Schedule,
    seed: int,
    check: Check | None = None,
    deadline: Deadline | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train ``tuning.model`` in place; afterwards it holds the best epoch's weights, merged, in eval mode.

    The model as it was given is epoch 0 and takes part: by ``check`` nothing ends worse than it began. Without
    ``check`` the last epoch is kept. A ``deadline`` shortens the schedule to what the measured pace allows, so that
    the learning rate still ends at zero. With a ``checkpoint`` (a file) a killed training is taken up where it was;
    one of other settings, weights or first batch is ignored, with a finding. ``regroup(epoch, epochs)`` is asked with
    epochs counted from 0, everything else counts them from 1.

    ``stopped`` says how it ended: ``"finished"``; ``"patience"``; ``"budget"``; ``"nan"``, a loss or gradient that was
    not finite, the finding names epoch and batch; ``"diverged"``. A training diverges when, over an epoch or its first
    20 batches, the mean loss is above 3 times the larger of the starting loss and the loss of all-zero scores. It is
    then begun again at a tenth of the rate, twice at most, with a finding.

    Raises:
        OptionError: the schedule or a group is off.
        DataError: there is no batch, or an epoch has another number of them than ``len(batches)``.
        ModelError: not even one item fits into memory; before that a batch goes in halves, their gradients summed.
    """
    validate(schedule)
    job = Job(
        tuning=tuning,
        batches=batches,
        loss=loss,
        schedule=schedule,
        seed=seed,
        check=check,
        deadline=deadline,
        checkpoint=checkpoint,
        progress=progress,
        on_epoch=on_epoch,
    )
    asked = {parameter: parameter.requires_grad for parameter in job.model.parameters()}
    sizes = {name: parameter.numel() for name, parameter in job.model.named_parameters()}
    with torch.random.fork_rng(devices=[] if job.device.type == "cpu" else [job.device]):
        run, settings = opened(job)
        while run.stopped is None:
            _epoch(job, run, settings)
            save(job, run, settings)
    restore(run.tensors, run.kept)
    _leave(job, asked)
    return Trained(
        epochs=tuple(run.epochs),
        best=run.best,
        stopped=run.stopped,
        findings=tuple(run.findings),
        seconds=run.seconds(),
        trainable=sum(sizes[name] for name in run.trained),
        precision=run.precision,
        parts=run.parts,
        lr=run.lr,
    )


def _leave(job: Job, asked: dict[nn.Parameter, bool]) -> None:
    """The model as others expect one: no gradients, plain layout, eval mode, adapters merged."""
    job.model.zero_grad(set_to_none=True)
    job.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    job.model.eval()
    for parameter, learns in asked.items():
        parameter.requires_grad_(learns)
    if job.tuning.merge is not None:
        job.tuning.merge()


# --- epochs -------------------------------------------------------------------------------------


def _epoch(job: Job, run: Running, settings: str) -> None:
    """The next epoch, or the rest of the one that was interrupted; sets ``run.stopped`` where it was the last."""
    number = len(run.epochs)
    run.stopped = _over(job, run, number)
    if run.stopped is not None:
        return
    if job.tuning.regroup is not None:
        _regroup(job, run, job.tuning.regroup(number - 1, run.planned))
    freeze(job.model, run.groups, norm_statistics=job.tuning.norm_statistics)
    trouble = _batches(job, run, number, settings)
    if trouble == "diverged":
        _retry(job, run, number)
    elif trouble == "nan":
        run.stopped = "nan"
    elif run.batch == 0 or _too_late(job, run):
        run.stopped = "budget"
    else:
        _take(job, run, number)


def _over(job: Job, run: Running, number: int) -> Stopped | None:
    """Why there is no epoch of this number, or None; plans how many there will be."""
    if number > job.schedule.epochs:
        return "finished"
    if run.share >= 1:
        return "budget"
    if job.deadline is None or run.batch:
        return None
    more = epochs_in_time(job, run)
    run.planned = number - 1 + more
    if more == 0 and number == 1:
        seconds = len(job.batches) * run.batch_seconds + run.check_seconds
        message = f"an epoch takes about {seconds:.1f} s, and {job.deadline.remaining:.1f} s were left: nothing trained"
        run.findings.append(Finding(check="no_epoch_fits", severity="note", message=message))
    return None if more else "budget"


def _regroup(job: Job, run: Running, groups: tuple[ParamGroup, ...]) -> None:
    if groups != run.groups:
        run.groups = groups
        run.optimiser = optimiser_for(job.model, groups, job.schedule, before=run.optimiser)
        run.trained = sorted({*run.trained, *(name for group in groups for name in group.names)})


def _too_late(job: Job, run: Running) -> bool:
    return job.check is not None and job.deadline is not None and not job.deadline.allows(run.check_seconds)


def _take(job: Job, run: Running, number: int) -> None:
    """Validate, keep the epoch, and see whether there should be another."""
    run.take(checked(job, run, number=number, train_loss=run.total / run.batch))
    if all(finding.check != "overfitting" for finding in run.findings):
        found = overfitting(run.epochs, best=run.best)
        run.findings += [] if found is None else [found]
    if is_stale(run.epochs, best=run.best, patience=job.schedule.patience):
        run.stopped = "patience"
    if job.on_epoch is not None:
        job.on_epoch(run.epochs[-1])


def _retry(job: Job, run: Running, number: int) -> None:
    """Once more from the start at a tenth of the rate, or the end."""
    lr = run.lr * RETRY_SHARE
    last = run.retries == RETRIES
    message = (
        f"at learning rate {run.lr:.3g} the mean loss of epoch {number} was {run.total / run.batch:.4g} after "
        f"{run.batch} batches, above {run.limit:.4g}: "
        + ("gave up" if last else f"began again from the starting weights at {lr:.3g}")
    )
    run.findings.append(Finding(check="diverged", severity="warn", message=message))
    if last:
        run.stopped = "diverged"
        return
    groups = job.tuning.groups if job.tuning.regroup is None else job.tuning.regroup(0, job.schedule.epochs)
    run.groups = groups
    run.again(optimiser_for(job.model, groups, job.schedule), lr=lr)


# --- batches ------------------------------------------------------------------------------------


def _batches(job: Job, run: Running, number: int, settings: str) -> Literal["nan", "diverged"] | None:
    """Steps up to the epoch's end, or the budget's, or trouble."""
    began, before = perf_counter(), run.batch
    for x, y in islice(job.batches.epoch(number), run.batch, None):
        left = _steps_left(job, run, number)
        if left < 1 or run.share >= 1:
            return None
        value = _step(job, run, placed(x, y, device=job.device), number=number, left=left)
        if not math.isfinite(value):
            return _not_finite(job, run, number, holds=bool(torch.isfinite(x).all()))
        run.batch, run.total = run.batch + 1, run.total + value
        run.batch_seconds = (perf_counter() - began) / (run.batch - before)
        if job.deadline is not None and run.batch - before >= SURE_BATCHES:  # faster than it seemed: more epochs fit
            run.planned = max(run.planned, number - 1 + epochs_in_time(job, run))
        if _diverges(run, at_least=min(JUDGED_BATCHES, len(job.batches))):
            return "diverged"
        if job.progress is not None:
            done = (number - 1) * len(job.batches) + run.batch
            job.progress("train", done, run.planned * len(job.batches))
        save_when_due(job, run, settings)
    if run.batch != len(job.batches):
        raise DataError(
            "an epoch has another number of batches than was said",
            given=f"{run.batch} in epoch {number}",
            allowed=len(job.batches),
        )
    return None


def _steps_left(job: Job, run: Running, number: int) -> int:
    """Up to the schedule's end: as planned, or as many as the time still allows."""
    planned = (run.planned - number + 1) * len(job.batches) - run.batch
    if job.deadline is None or run.batch_seconds <= 0:
        return planned
    checks = (run.planned - number + 1) * run.check_seconds
    return min(planned, math.floor(((1 - RESERVE) * job.deadline.remaining - checks) / run.batch_seconds))


def _step(job: Job, run: Running, batch: Batch, *, number: int, left: int) -> float:
    """One step of the optimiser; the batch's loss, NaN where it or its gradient was not finite and no step was made."""
    schedule = job.schedule
    torch.manual_seed(seed_of(job.seed, "train", number, run.batch))
    seed = seed_of(job.seed, "mix", number, run.batch)
    batch = mixed(batch, mixup=schedule.mixup, cutmix=schedule.cutmix, seed=seed)
    value, run.parts = job.backward(batch, precision=run.precision, parts=run.parts)
    parameters = [parameter for group in run.optimiser.param_groups for parameter in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, math.inf if schedule.clip is None else schedule.clip)
    if not math.isfinite(value) or not math.isfinite(norm):
        return math.nan
    after = advanced(run.share, left)
    set_rate(run.optimiser, run.lr * rate_share(run.share, after, warmup=schedule.warmup))
    run.optimiser.step()
    run.share = after
    if run.average is not None:
        average(run.average, run.tensors, decay=schedule.ema, updates=run.updates)
        run.updates += 1
    return value


def _diverges(run: Running, *, at_least: int) -> bool:
    return run.batch >= max(at_least, 1) and run.total / run.batch > run.limit


def _not_finite(job: Job, run: Running, number: int, *, holds: bool) -> Literal["nan", "diverged"]:
    """What a loss or gradient that is not finite means: the end of a divergence, or something wrong with the batch."""
    if holds and _diverges(run, at_least=1):
        return "diverged"
    where = f"epoch {number}, batch {run.batch + 1} of {len(job.batches)}"
    why = ": its inputs hold values that are not finite" if not holds else " (with sound data: a rate far too high)"
    message = f"the loss or its gradient is not finite in {where}{why}; the weights of epoch {run.best} are kept"
    run.findings.append(Finding(check="not_finite", severity="warn", message=message, evidence=(where,)))
    return "nan"
