"""The frozen forward pass: compiled, many requests in flight, and believed only after it agreed with eager.

Precision is bf16 where the processor multiplies it natively, else f32; where neither agrees with eager on the probe
batch, eager itself runs and a finding says so.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.engine import _text
from headway.engine._blobs import remember, sound
from headway.engine.ir import IR, unreadable
from headway.types import Batch, ByteArray, Finding, ImageView, TextView, View

if TYPE_CHECKING:
    import openvino

BATCH = 4  # images: a batch whose activations stay in the cache: 15 % faster than 16 on two cores
TOKENS = 512  # about so many in a batch of texts: more fill up more rows in vain and are no faster
# The least cosine between a compiled and an eager output, over the probe batch and all stages. bf16 keeps 8 bits of
# mantissa: rounding each of tens of layers leaves 0.999 on sound networks; a miscompiled one is far below.
TOLERANCE = {"bf16": 0.98, "f32": 0.9999}

Outputs = tuple[NDArray[np.float32], ...]


Forward = Callable[[Iterable[Any]], Iterator[Outputs]]
"""Gives one tuple of ``[b, d_s]`` arrays for each batch, in order. Batches are uint8 ``[b, h, w, 3]``, ``b <= batch``;
or ids and mask ``[b, L]`` of texts, of about ``batch`` tokens. Of a prefix it is one array ``[b, ...]``."""


@dataclass(slots=True, kw_only=True)
class Frozen:
    """A frozen network that runs. ``key`` is what cached features depend on: weights, graph, engine, batch."""

    name: str
    key: str
    engine: str
    stages: tuple[str, ...]
    dims: tuple[int, ...]
    view: View
    batch: int  # images, or tokens, in one request
    forward: Forward
    findings: tuple[Finding, ...] = ()


def frozen(ir: IR, *, engine: str, batch: int, forward: Forward) -> Frozen:
    """A converted network as ``engine`` runs it."""
    return Frozen(
        name=ir.name,
        key=_key(ir, engine, batch),
        engine=engine,
        stages=ir.stages,
        dims=ir.dims,
        view=ir.view,
        batch=batch,
        forward=forward,
    )


def _key(ir: IR, engine: str, batch: int) -> str:
    return blake2b(f"{ir.key}|{engine}|{batch}".encode(), digest_size=16).hexdigest()


def _in_flight(
    requests: Sequence[openvino.InferRequest], batches: Iterable[Batch], *, batch: int, outputs: int
) -> Iterator[Outputs]:
    """Keep every request busy and hand results on in order."""
    idle = deque(requests)
    flying: deque[tuple[openvino.InferRequest, int, tuple[NDArray[Any], ...]]] = deque()
    try:
        for some in batches:
            if not idle:
                yield _land(flying, idle, outputs)
            request = idle.popleft()
            full, n = inputs_of(some, batch)
            request.start_async(dict(enumerate(full)), share_inputs=True)
            flying.append((request, n, full))  # holds the input's memory for as long as it is shared
        while flying:
            yield _land(flying, idle, outputs)
    finally:  # a caller that stops early must not leave requests running on memory it frees
        for request, _, _ in flying:
            request.wait()


def _land(flying: deque[Any], idle: deque[Any], outputs: int) -> Outputs:
    request, n, _ = flying.popleft()
    request.wait()
    idle.append(request)
    return tuple(np.array(request.get_output_tensor(i).data[:n], np.float32) for i in range(outputs))


def inputs_of(some: Batch, batch: int) -> tuple[tuple[NDArray[Any], ...], int]:
    """The arrays of a whole request, and how many of their rows are the batch's own."""
    if isinstance(some, tuple):
        return _text.filled(some, batch), len(some[0])
    return (padded(some, batch),), len(some)


def padded(images: ByteArray, batch: int) -> ByteArray:
    """One compiled shape serves all: short batches are filled up, so an item's numbers never depend on its batch."""
    if len(images) == batch:
        return images
    full = np.zeros((batch, *images.shape[1:]), np.uint8)
    full[: len(images)] = images
    return full


def compile_frozen(
    ir: IR,
    *,
    cache: Path | None = None,
    batch: int | None = None,
    eager: Callable[[], Frozen] | None = None,
) -> Frozen:
    """Compile a converted network and check it against eager.

    Args:
        ir: the converted network.
        cache: folder for OpenVINO's compiled blobs and for the record of what has been checked.
        batch: images or tokens in one request; 1 (one item) for the least latency, none for throughput.
        eager: builds the fallback; without it a network that fails the check runs in f32, and a finding says so.

    Raises:
        ModelError: the converted network is damaged.
    """
    findings: list[Finding] = []
    cache = _folders(cache)
    batch = throughput(ir.view) if batch is None else batch
    for precision in _precisions():
        compiled = _compile(ir, precision, cache=cache, batch=batch)
        agreement = _agreement(compiled, ir, cache)
        if agreement >= TOLERANCE[precision]:
            compiled.findings = tuple(findings)
            return compiled
        findings.append(disagrees(ir.name, precision, agreement))
    fallback = compiled if eager is None else eager()
    fallback.findings = (*findings, *fallback.findings)
    return fallback


def throughput(view: View) -> int:
    """Images, or tokens, in one request where many items are waiting."""
    return TOKENS if isinstance(view, TextView) else BATCH


def _folders(cache: Path | None) -> Path | None:
    """The cache, where its folders are there or can be made: without one it is slower, and no reason to fail."""
    if cache is not None:
        try:
            for name in ("compiled", "agreement"):
                (cache / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
    return cache


def disagrees(name: str, precision: str, agreement: float) -> Finding:
    return Finding(
        check="engine-parity",
        severity="warn",
        message=f"{name} compiled in {precision} does not agree with eager, so a slower engine runs it",
        evidence=(f"least cosine {agreement:.5f}, wanted {TOLERANCE[precision]}",),
    )


def _precisions() -> tuple[str, ...]:
    return ("bf16", "f32") if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ("f32",)


@cache
def _core() -> Any:
    import openvino as ov

    return ov.Core()


def _compile(ir: IR, precision: str, *, cache: Path | None, batch: int) -> Frozen:
    import openvino as ov

    try:
        model = _core().read_model(ir.folder / "model.xml")
    except RuntimeError as error:  # how OpenVINO reports a damaged file
        raise unreadable(ir.folder, error) from error
    if isinstance(ir.view, ImageView):  # texts come in several shapes, compiled when first seen
        model.reshape([batch, ir.view.height, ir.view.width, 3])
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY" if batch == 1 else "THROUGHPUT",
        "ENABLE_CPU_PINNING": False,  # decoding threads want the same cores
    }
    engine = f"openvino-{ov.get_version().split('-')[0]}-{precision}"
    blobs = None if cache is None else sound(cache / "compiled" / _key(ir, engine, batch))
    if blobs is not None:
        options["CACHE_DIR"] = str(blobs)
    network = _core().compile_model(model, "CPU", options)
    if blobs is not None:
        remember(blobs)
    flying = int(network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + (batch > 1)
    requests = [network.create_infer_request() for _ in range(flying)]
    return frozen(
        ir,
        engine=engine,
        batch=batch,
        forward=partial(_in_flight, requests, batch=batch, outputs=len(ir.dims)),
    )


def _agreement(compiled: Frozen, ir: IR, cache: Path | None) -> float:
    """The least cosine to eager over probe items and stages; read back where this processor has shown it before."""
    processor = blake2b(f"{_core().get_property('CPU', 'FULL_DEVICE_NAME')}".encode(), digest_size=6).hexdigest()
    known = cache / "agreement" / f"{compiled.key}-{processor}.json" if cache else None
    if known is not None:
        with suppress(OSError, ValueError):  # not there, or damaged
            return float(json.loads(known.read_text("utf-8"))["cosine"])
    value = agreement(compiled, ir)
    if known is not None:
        with suppress(OSError):  # a full disk costs the check next time, no more
            scratch = known.with_suffix(f".{os.getpid()}")
            scratch.write_text(json.dumps({"cosine": value, "name": ir.name, "engine": compiled.engine}), "utf-8")
            scratch.replace(known)
    return value


def agreement(network: Frozen, ir: IR) -> float:
    """The least cosine between a network's outputs and eager's on the IR's probe batch, over items and stages."""
    from safetensors.numpy import load_file

    probe = load_file(ir.folder / "probe.safetensors")
    if isinstance(ir.view, TextView):
        batches: list[Any] = _text.probe_batches(probe, ir.view)
    else:
        images = probe["images"]
        batches = [images[i : i + network.batch] for i in range(0, len(images), network.batch)]
    found = [np.concatenate(stage) for stage in zip(*network.forward(batches), strict=True)]
    cosines = [_cosine(found[i], probe[f"output.{i}"]) for i in range(len(found))]
    return float(np.min(cosines))  # NaN where any is, as Python's own min is not


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    a64, b64 = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))  # an output may be a map
    norms = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    both_zero = norms == 0
    cosines = (a64 * b64).sum(1) / np.where(both_zero, 1.0, norms)
    same = np.all(a64 == b64, axis=1)
    return float(np.where(both_zero, same, cosines).min())
