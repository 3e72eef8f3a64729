"""Opening many networks under a budget: those that are converted already first, then as many as there is time for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from time import perf_counter
from typing import Literal

from headway.budget import Deadline
from headway.engine.frozen import Frozen, compile_frozen
from headway.engine.ir import IR, key_of, prepare
from headway.errors import ModelError, OptionError, UserError, WeightsMissing
from headway.types import Backbone, BackboneSpec, Progress, TextInput

Device = Literal["auto", "cpu", "cuda"]
FIRST_CONVERSION = 8.0  # seconds that importing torch and converting one network take at first sight
A_MILLION = 0.1  # seconds more for a million parameters of a network of texts, of which most are tables of words
DOWNLOADS = 4  # at a time
CONVERTING_SHARE = 0.4  # of the budget may go into converting networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A network that is ready to run."""

    spec: BackboneSpec
    backbone: Backbone
    ir: IR
    frozen: Frozen
    seconds: float  # what opening it took


@dataclass(slots=True, kw_only=True)
class Pool:
    """The networks that could be opened, and why the others were not."""

    members: list[Member] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def open_pool(
    specs: Sequence[BackboneSpec],
    *,
    load: Callable[[BackboneSpec], Backbone],
    device: Device,
    cache: Path,
    deadline: Deadline,
    progress: Progress | None = None,
) -> Pool:
    """Open what can be opened in time; a network that fails is left out with its reason, as long as one remains.

    Raises:
        WeightsMissing: no network could be opened, and files are missing: all of them are listed.
        UserError: no network could be opened for another reason; the first one's.
    """
    pool = Pool()
    failures: list[UserError] = []
    waiting: list[tuple[BackboneSpec, Backbone]] = []
    for spec in specs:
        try:
            waiting.append((spec, load(spec)))
        except UserError as error:
            failures.append(error)
            pool.left_out[spec.name] = str(error)
    _obtain([backbone for spec, backbone in waiting if isinstance(spec.input, TextInput)])  # keys name the tokenizer
    waiting.sort(key=lambda pair: _order(pair[0], pair[1], cache))  # stable: the given order within
    _obtain([backbone for _, backbone in waiting if not _is_converted(backbone, cache)])
    slowness, cost = 0.0, FIRST_CONVERSION
    for number, (spec, backbone) in enumerate(waiting):
        ready = _is_converted(backbone, cache)
        late = deadline.elapsed + max(cost, slowness * _growth(spec)) > CONVERTING_SHARE * deadline.seconds
        if pool.members and not ready and late:
            pool.left_out[spec.name] = "converting it for the first time did not fit the budget"
            continue
        try:
            member = open_network(backbone, device=device, cache=cache)
        except UserError as error:
            failures.append(error)
            pool.left_out[spec.name] = str(error)
            continue
        if not ready and isinstance(spec.input, TextInput):  # later ones find torch imported
            slowness, cost = max(slowness, member.seconds / (FIRST_CONVERSION + _growth(spec))), 0.0
        elif not ready:
            cost = member.seconds
        pool.members.append(member)
        if progress is not None:
            progress("open models", number + 1, len(waiting))
    if not pool.members:
        raise _none_opened(failures)
    order = [spec.id for spec in specs]
    pool.members.sort(key=lambda m: order.index(m.spec.id))
    return pool


def _order(spec: BackboneSpec, backbone: Backbone, cache: Path) -> tuple[bool, int]:
    """What is converted first, then networks of texts from the smallest."""
    ready = _is_converted(backbone, cache)
    return not ready, 0 if ready or not isinstance(spec.input, TextInput) else spec.params


def _growth(spec: BackboneSpec) -> float:
    """Seconds that converting takes beyond the imports, on a machine that is free."""
    return A_MILLION * spec.params / 1e6


def _is_converted(backbone: Backbone, cache: Path) -> bool:
    try:
        return (cache / key_of(backbone) / "ir.json").exists()
    except UserError:  # its tokenizer cannot be had: opening it says why
        return False


def _obtain(backbones: Sequence[Backbone]) -> None:
    """Fetch what is missing, several networks at once; what fails fails again, with its reason, when it is opened."""

    def one(backbone: Backbone) -> None:
        with suppress(UserError):
            backbone.obtain()

    with ThreadPoolExecutor(DOWNLOADS) as threads:
        list(threads.map(one, backbones))


def open_network(backbone: Backbone, *, device: Device, cache: Path) -> Member:
    """Convert (once) and compile one network for a device.

    Raises:
        OptionError: CUDA was asked for and is not there.
        ModelError: the network cannot be converted.
    """
    started = perf_counter()
    ir = prepare(backbone, cache=cache)
    if _on_cuda(device):
        from headway.engine.torch_engine import compiled_cuda

        frozen: Frozen = compiled_cuda(backbone, ir)
    else:
        frozen = compile_frozen(ir, cache=cache, eager=lambda: _eager(backbone, ir))
    return Member(spec=backbone.spec, backbone=backbone, ir=ir, frozen=frozen, seconds=perf_counter() - started)


def _eager(backbone: Backbone, ir: IR) -> Frozen:
    from headway.engine.torch_engine import eager

    return eager(backbone, ir)


def _on_cuda(device: Device) -> bool:
    if device not in ("auto", "cpu", "cuda"):
        raise OptionError("there is no such device", given=device, allowed="auto, cpu, cuda")
    if device == "cpu" or (device == "auto" and which("nvidia-smi") is None):  # spares the CPU path the import of torch
        return False
    import torch

    if torch.cuda.is_available():
        return True
    if device == "cuda":
        raise OptionError(
            "torch sees no CUDA device", given="cuda", todo="Use --device auto or cpu, or mend the driver"
        )
    return False


def _none_opened(failures: Sequence[UserError]) -> UserError:
    missing = [error for error in failures if isinstance(error, WeightsMissing)]
    if missing and len(missing) == len(failures):
        lines = "\n".join(f"  - {error}" for error in missing)
        return WeightsMissing(f"none of the models is on this machine\n{lines}")
    return failures[0] if failures else ModelError("there is no model to open", todo="See headway models list")
