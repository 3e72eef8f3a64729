"""The nouns of Headway: frozen records and protocols, no logic.

Shapes are written ``[n, d]``; ``n`` items, ``d`` feature columns, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.int64]
ByteArray: TypeAlias = NDArray[np.uint8]

Source: TypeAlias = Path | bytes | ByteArray
"""Where an item's content lies: a file, encoded bytes, or a decoded ``[h, w, 3]`` array."""

Outcome: TypeAlias = Literal["helps", "equivalent", "harms", "undecided"]
Part: TypeAlias = Literal["train", "val", "test"]
Progress: TypeAlias = Callable[[str, int, int], None]
"""``progress(stage, done, total)``: called often, from one thread, must be quick."""


# --- data ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something the user should know about the data or the run; ``stop`` findings end it."""

    check: str
    severity: Literal["note", "warn", "stop"]
    message: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Items in columns: row ``i`` of every column is item ``i``."""

    name: str
    modality: str
    task: str
    names: tuple[str, ...]  # what the user sees: a path relative to the data's root, or "row 17"
    sources: tuple[Source, ...]
    digests: ByteArray  # [n, 16] content hashes: equal digests are equal items
    targets: IntArray | None  # [n] index into classes
    classes: tuple[str, ...]
    groups: IntArray | None = None  # [n] items of one group stay on one side of every split
    parts: tuple[Part | None, ...] | None = None  # [n] the split the user gave, where there is one
    findings: tuple[Finding, ...] = ()
    fingerprint: str = ""  # hex, over content, targets, classes, groups and parts, in row order


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Row numbers: a test set touched once, and the folds in which everything is chosen."""

    train: IntArray
    test: IntArray
    folds: tuple[tuple[IntArray, IntArray], ...]  # (fit rows, validation rows), all within train


# --- pretrained models --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """What an image network expects: ``(pixel - mean) / std`` on 0..255 pixels, ``[n, 3, height, width]``."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: Literal["rgb", "bgr"] = "rgb"
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """A pretrained network by name: everything that can be known without loading it."""

    source: str  # "packaged", "timm", "random", ...: the plug-in that loads it
    arch: str
    weights: str  # which weights of that architecture: "in1k", "a1_in1k", "random"
    revision: str  # version or checksum: what makes the name exact
    modality: str
    dim: int  # columns of the last stage's features
    params: int
    licence: str
    input: ImageInput
    accuracy: float | None = None  # published ImageNet top-1 in 0..1, the static prior's second half

    @property
    def name(self) -> str:
        """``packaged:efficientnet_lite0.in1k``: what a user types and globs match."""
        return f"{self.source}:{self.arch}.{self.weights}"

    @property
    def id(self) -> str:
        """``packaged:efficientnet_lite0.in1k@0.1.0``: the name and its exact revision."""
        return f"{self.name}@{self.revision}"


class Backbone(Protocol):
    """A pretrained network that can be built."""

    @property
    def spec(self) -> BackboneSpec: ...

    @property
    def weights_key(self) -> str:
        """Hex digest of the weights: part of every cache key. Known without importing torch."""
        ...

    @property
    def stages(self) -> tuple[str, ...]:
        """Cut points, input side first; the last is the embedding. Known without importing torch where possible."""
        ...

    def obtain(self) -> None:
        """Bring the weights to this machine where they are not; safe to call for several networks at once."""
        ...

    def module(self) -> nn.Module:
        """The network in eval mode, no head: ``[n, 3, h, w]`` to one pooled ``[n, d_s]`` tensor a stage, as a tuple."""
        ...

    def state(self) -> Mapping[str, NDArray[Any]]:
        """The weights by their framework names, as arrays."""
        ...

    def weights_file(self) -> Path | None:
        """A safetensors file of the same weights where one lies on this machine: it spares building the network."""
        ...


class BackboneSource(Protocol):
    """A module under ``backbones/``."""

    def candidates(self, modality: str, *, offline: bool) -> Sequence[BackboneSpec]: ...

    def load(self, name: str, *, offline: bool) -> Backbone: ...


# --- features and what is learnt on them --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What scores and probes see."""

    X: NDArray[np.float32]  # [n, d]
    y: IntArray  # [n] in 0..C-1
    classes: int  # C; a fold may lack some of them
    blocks: tuple[int, ...]  # widths that sum to d: one a backbone stage
    folds: IntArray | None = None  # [n] out-of-fold scores leave out a row's whole fold; -1: learnt from, never scored
    groups: IntArray | None = None  # [n] rows of one group are left out together
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """Features without labels: it has no ``y``, on purpose, so target labels cannot leak."""

    X: NDArray[np.float32]  # [n, d]
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """``scores = (unit(X) - mean) / scale @ weight + bias``; ``probabilities = softmax(scores / temperature)``.

    ``unit`` scales each block of each row to length 1 when ``unit_blocks`` is set; otherwise it is the identity.
    """

    blocks: tuple[int, ...]
    unit_blocks: bool
    mean: NDArray[np.float32]  # [d]
    scale: NDArray[np.float32]  # [d]
    weight: NDArray[np.float32]  # [d, C]
    bias: NDArray[np.float32]  # [C]
    temperature: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What a method hands back: the head, out-of-fold scores of its own training rows, what it settled on."""

    head: LinearHead
    out_of_fold: NDArray[np.float32]  # [n, C] scores of each training row by a fit that saw neither it nor its fold
    params: Mapping[str, float | int | str | bool] = field(default_factory=dict)


class ScoreFn(Protocol):
    """``(X [n, d], y [n]) -> float``, larger is better."""

    def __call__(self, X: FloatArray, y: IntArray, /) -> float: ...


class FitFn(Protocol):
    """Learn a head from labelled features."""

    def __call__(self, features: Features, /, *, seed: int) -> Adapted: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One file under ``adapt/`` holds one of these, as ``METHOD``; ``works_on`` says what it is given."""

    name: str
    reference: str
    fit: FitFn
    works_on: Literal["features"] = "features"


# --- what happened ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measured number; a run's ``records.jsonl`` holds one a line."""

    arm: str  # "transfer", "classical", "random", "prior"
    backbone: str
    method: str
    params: Mapping[str, float | int | str | bool]
    split: Literal["val", "test"]
    fold: int
    seed: int
    metric: str
    value: float
    n_train: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Did the transfer help? ``effect = transfer - against``, in the metric's own units (0..1)."""

    outcome: Outcome
    effect: float
    low: float
    high: float
    p: float
    against: str
    metric: str
    advice: str
    arms: Mapping[str, Interval]
