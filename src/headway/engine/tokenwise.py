"""Text networks that give a state for every token: converted once, compiled, believed after they agreed with eager.

A folder holds ``model.xml`` and ``model.bin`` (``input_ids`` and ``attention_mask`` int64 ``[n, L]`` in, one
``[n, L, d_s]`` output a stage), ``tokenizer.json``, ``tokenwise.json``, and ``probe.safetensors``: sequences with the
eager states for them, so that any machine checks its own compiled network without torch.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.errors import ModelError, StorageError
from headway.seeds import seed_of
from headway.types import Finding, IntArray

if TYPE_CHECKING:
    from torch import nn

FORMAT = "1"  # raised when the graph that is written changes
FILES = ("model.xml", "model.bin", "tokenizer.json", "tokenwise.json", "probe.safetensors")
LENGTHS = (3, 7, 16, 24)  # of the probe's sequences
# The least cosine between a compiled and an eager state, over the probe's tokens and all stages. bf16 keeps 8 bits.
TOLERANCE = {"bf16": 0.98, "f32": 0.9999}

States: TypeAlias = tuple[NDArray[np.float32], ...]
Batch: TypeAlias = tuple[IntArray, IntArray]
"""``input_ids`` and ``attention_mask``, both ``[n, L]``."""
Forward = Callable[[Iterable[Batch]], Iterator[States]]
"""One tuple of ``[n, L, d_s]`` states a batch, in order; what stands where the mask is 0 means nothing."""


class TokenNetwork(Protocol):
    """A text network that can be built without its head."""

    @property
    def name(self) -> str: ...

    @property
    def weights_key(self) -> str:
        """Hex digest of the weights and of how deep the stages lie."""
        ...

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the depths, input side first."""
        ...

    @property
    def tokens(self) -> int:
        """The most positions of a sequence, special tokens included."""
        ...

    def tokenizer(self) -> Path:
        """``tokenizer.json`` of the ``tokenizers`` library, a file on this machine."""
        ...

    def module(self) -> nn.Module:
        """In eval mode: ``(input_ids, attention_mask)``, int64 ``[n, L]``, to one ``[n, L, d_s]`` a stage, a tuple."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIR:
    """A converted network on disk. ``key`` names weights, stages and graph."""

    folder: Path
    key: str
    name: str
    stages: tuple[str, ...]
    dims: tuple[int, ...]
    tokens: int


@dataclass(slots=True, kw_only=True)
class Tokenwise:
    """A network that runs. ``key`` is what stored features depend on: weights, graph, engine and precision."""

    ir: TokenIR
    key: str
    engine: str
    forward: Forward
    findings: tuple[Finding, ...] = ()


def prepare(network: TokenNetwork, *, cache: Path) -> TokenIR:
    """The converted network, from ``cache`` where it is there; otherwise converted (which needs torch) and kept.

    Raises:
        ModelError: the network's operations cannot be converted.
        StorageError: the cache cannot be written.
    """
    facts = (FORMAT, network.weights_key, network.stages, network.tokens)
    key = blake2b(repr(facts).encode(), digest_size=16).hexdigest()
    folder = cache / f"tokens-{key}"
    if not (folder / "tokenwise.json").exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            scratch = Path(mkdtemp(dir=cache, prefix=".new-"))
            try:
                _write(network, key, scratch)
                with suppress(OSError):  # another process was faster: its folder is as good as ours
                    scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            raise StorageError(
                "a converted network cannot be written",
                given=f"{cache} ({error.strerror or error})",
                todo="Free some space, or set HEADWAY_CACHE to a folder that can be written",
            ) from error
    return read(folder)


def read(folder: Path) -> TokenIR:
    """Open a folder that :func:`prepare` or a run wrote; raises :class:`ModelError` where it cannot be read."""
    try:
        facts = json.loads((folder / "tokenwise.json").read_text("utf-8"))
        lists = {name: tuple(facts[name]) for name in ("stages", "dims")}
        return TokenIR(folder=folder, key=facts["key"], name=facts["name"], tokens=int(facts["tokens"]), **lists)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error


def compile_tokens(ir: TokenIR) -> Tokenwise:
    """Compile and check against eager: bf16 where the processor multiplies it natively, else f32.

    Where f32 does not agree either it runs none the less, and a finding says so. Raises :class:`ModelError` where the
    folder is damaged.
    """
    findings: list[Finding] = []
    native = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ("bf16", "f32") if native else ("f32",):
        compiled = _compile(ir, precision)
        cosine = agreement(compiled)
        if cosine >= TOLERANCE[precision]:
            break
        findings.append(
            Finding(
                check="engine-parity",
                severity="warn",
                message=f"{ir.name} compiled in {precision} does not agree with eager",
                evidence=(f"least cosine {cosine:.5f}, wanted {TOLERANCE[precision]}",),
            )
        )
    compiled.findings = tuple(findings)
    return compiled


def agreement(network: Tokenwise) -> float:
    """The least cosine between compiled and eager states of the probe, over tokens and stages."""
    from safetensors.numpy import load_file

    probe = load_file(network.ir.folder / "probe.safetensors")
    (found,) = network.forward([(probe["ids"], probe["mask"])])
    there, least = probe["mask"] > 0, 1.0
    for stage, states in enumerate(found):
        own, eager = states[there].astype(np.float64), probe[f"states.{stage}"][there].astype(np.float64)
        size = np.linalg.norm(own, axis=1) * np.linalg.norm(eager, axis=1)
        least = min(least, float(((own * eager).sum(axis=1) / np.maximum(size, 1e-12)).min()))
    return least


def eager(network: TokenNetwork) -> Forward:
    """The network as torch runs it: what a compiled one is compared with."""
    import torch

    module = network.module().eval()

    def forward(batches: Iterable[Batch]) -> Iterator[States]:
        for ids, mask in batches:
            with torch.inference_mode():
                yield tuple(out.float().numpy() for out in module(torch.from_numpy(ids), torch.from_numpy(mask)))

    return forward


def _write(network: TokenNetwork, key: str, folder: Path) -> None:
    import openvino as ov
    from safetensors.numpy import save_file

    ids, mask = _probe(network)
    (expected,) = eager(network)([(ids, mask)])
    try:
        ov.save_model(_converted(network), folder / "model.xml", compress_to_fp16=True)
    except RuntimeError as error:  # how OpenVINO reports a full disk
        raise OSError(str(error)) from error
    states = {f"states.{i}": np.ascontiguousarray(out) for i, out in enumerate(expected)}
    save_file({"ids": ids, "mask": mask, **states}, folder / "probe.safetensors")
    shutil.copyfile(network.tokenizer(), folder / "tokenizer.json")
    facts = {
        "key": key,
        "name": network.name,
        "stages": network.stages,
        "dims": [out.shape[2] for out in expected],
        "tokens": network.tokens,
    }
    (folder / "tokenwise.json").write_text(json.dumps(facts, indent=1), "utf-8")


def _converted(network: TokenNetwork) -> Any:
    """By OpenVINO's PyTorch front end; its ``convert_model`` would report usage to its makers."""
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.ones(2, 5, dtype=torch.int64)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            decoder = TorchScriptPythonDecoder(
                network.module().eval(),
                example_input=(example, example),
                trace_kwargs={"check_trace": False},  # eager is compared with anyway
            )
            front_end = FrontEndManager().load_by_framework("pytorch")
            return front_end.convert(front_end.load(decoder))
    except Exception as error:  # whatever the tracer meets: it is this one network that cannot be had
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ModelError(f"{network.name} cannot be converted for the compiled engine", given=reason) from error


def _probe(network: TokenNetwork) -> Batch:
    """Sequences of ids that the tokenizer knows, the same on every machine."""
    from tokenizers import Tokenizer

    size = Tokenizer.from_file(str(network.tokenizer())).get_vocab_size()
    rng = np.random.default_rng(seed_of("token-probe", size))
    lengths = np.minimum(LENGTHS, network.tokens)
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    return rng.integers(size, size=mask.shape) * mask, mask


def _compile(ir: TokenIR, precision: str) -> Tokenwise:
    import openvino as ov

    try:
        model = _core().read_model(ir.folder / "model.xml")
    except RuntimeError as error:  # how OpenVINO reports a damaged file
        raise _unreadable(ir.folder, error) from error
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT", "ENABLE_CPU_PINNING": False}
    network = _core().compile_model(model, "CPU", options)
    requests = [network.create_infer_request() for _ in range(network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))]
    outputs = len(ir.dims)

    def forward(batches: Iterable[Batch]) -> Iterator[States]:
        idle, flying = deque(requests), deque[tuple[Any, Batch]]()
        try:
            for batch in batches:
                if not idle:
                    yield _land(flying, idle, outputs)
                request = idle.popleft()
                request.start_async(list(batch), share_inputs=True)
                flying.append((request, batch))  # holds the input's memory for as long as it is shared
            while flying:
                yield _land(flying, idle, outputs)
        finally:  # a caller that stops early must not leave requests running on memory it frees
            for request, _ in flying:
                request.wait()

    engine = f"openvino-{ov.get_version().split('-')[0]}-{precision}"
    key = blake2b(f"{ir.key}|{engine}".encode(), digest_size=16).hexdigest()
    return Tokenwise(ir=ir, key=key, engine=engine, forward=forward)


def _land(flying: deque[tuple[Any, Batch]], idle: deque[Any], outputs: int) -> States:
    request, _ = flying.popleft()
    request.wait()
    idle.append(request)
    return tuple(np.array(request.get_output_tensor(i).data, np.float32) for i in range(outputs))


@cache
def _core() -> Any:
    import openvino as ov

    return ov.Core()


def _unreadable(folder: Path, error: Exception) -> ModelError:
    return ModelError(
        "a converted network cannot be read",
        given=f"{folder} ({str(error).strip().splitlines()[-1]})",
        todo="In the cache, delete that folder and try again; in a run, fit again",
    )
