"""The nouns of Headway: frozen records and protocols, no logic.

Shapes are written ``[n, d]``; ``n`` items, ``d`` feature columns, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.int64]
ByteArray: TypeAlias = NDArray[np.uint8]
Targets: TypeAlias = NDArray[np.int64] | NDArray[np.float64]
"""What is to be predicted: class numbers ``[n]``, labels on or off ``[n, C]`` (0/1), or numbers ``[n]`` (float64)."""
Link: TypeAlias = Literal["softmax", "sigmoid", "identity", "text"]
"""From scores to answers: one of C classes, each of C labels on its own, or a number; a "text" is written."""

TextTargets: TypeAlias = tuple[str, ...] | tuple[tuple[str, ...], ...]
"""What is to be written ``[n]``: a text an item (seq2seq), or a tag for every token of an item (tagging)."""

ImageSource: TypeAlias = Path | bytes | ByteArray
"""Where an image's content lies: a file, encoded bytes, or a decoded ``[h, w, 3]`` array."""
Source: TypeAlias = ImageSource | str | tuple[str, ...]
"""Where an item's content lies; of text also the text itself, a pair of texts, or a sentence's tokens (tagging)."""

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
    targets: Targets | TextTargets | None  # class numbers [n]; labels on or off [n, C]; numbers [n]; texts, tags
    classes: tuple[str, ...]  # names of classes, labels or tags; none for numbers and texts
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
class TextInput:
    """What a text network expects: at most ``tokens`` positions of ``input_ids`` and ``attention_mask``, ``[n, L]``."""

    tokens: int  # positions beyond are cut off, and counted
    pooling: Literal["mean", "cls", "last", "max", "sqrt", "weighted"]  # made for: of its stage "embedding"
    prefix: str = ""  # put before every text, as "query: " of some models
    lower: bool = False  # whether texts are lower-cased before the tokenizer sees them


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An item as an image network takes it: uint8 ``[height, width, 3]``. Equal views are computed once an item."""

    height: int
    width: int
    interpolation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextView:
    """An item as a text network takes it: the ids that a tokenizer makes of it, at most ``tokens`` of them."""

    digest: str  # of the tokenizer's file
    tokens: int
    prefix: str = ""
    lower: bool = False
    tokenizer: Path = field(compare=False)  # the file itself


View: TypeAlias = ImageView | TextView
TextBatch: TypeAlias = tuple[IntArray, IntArray]
"""Ids and attention mask ``[b, L]``, padded on the right."""
Batch: TypeAlias = ByteArray | TextBatch
"""What a frozen network takes at a time: uint8 ``[b, h, w, 3]`` or texts."""


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
    input: ImageInput | TextInput
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
        """The network in eval mode, no head: ``[n, 3, h, w]`` to one pooled ``[n, d_s]`` tensor a stage, as a tuple.

        A text network takes ``(input_ids, attention_mask)``, both int64 ``[n, L]``.
        """
        ...

    def state(self) -> Mapping[str, NDArray[Any]]:
        """The weights by their framework names, as arrays."""
        ...

    def weights_file(self) -> Path | None:
        """A safetensors file of the same weights where one lies on this machine: it spares building the network."""
        ...


class TextBackbone(Backbone, Protocol):
    """A pretrained text network: the tokenizer comes with it."""

    def tokenizer(self) -> Path:
        """``tokenizer.json`` of the ``tokenizers`` library, a file on this machine."""
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
    y: Targets  # class numbers [n] in 0..C-1; labels on or off [n, C]; numbers [n]
    classes: int  # C columns of scores, 1 for numbers; a fold may lack some classes
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
    """``scores = (unit(X) - mean) / scale @ weight + bias``; the answers are ``link(scores / temperature)``.

    ``unit`` scales each block of each row to length 1 where ``unit_blocks`` is set (for all blocks, or one by one);
    otherwise it is the identity. The link is the softmax over classes, the sigmoid of every label, or nothing at all
    where the score is the number. A label is on where its probability is at least its threshold.
    """

    blocks: tuple[int, ...]
    unit_blocks: bool | tuple[bool, ...]
    mean: NDArray[np.float32]  # [d]
    scale: NDArray[np.float32]  # [d]
    weight: NDArray[np.float32]  # [d, C]
    bias: NDArray[np.float32]  # [C]
    temperature: float = 1.0
    link: Link = "softmax"
    thresholds: NDArray[np.float32] | None = None  # [C], sigmoid only; none: 0.5 each


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What a method hands back: the head, out-of-fold scores of its own training rows, what it settled on."""

    head: LinearHead
    out_of_fold: NDArray[np.float32]  # [n, C] scores of each training row by a fit that saw neither it nor its fold
    params: Mapping[str, float | int | str | bool] = field(default_factory=dict)


class ScoreFn(Protocol):
    """``(X [n, d], y) -> float``, larger is better; ``y`` as in :class:`Features`."""

    def __call__(self, X: FloatArray, y: Targets, /) -> float: ...


class FitFn(Protocol):
    """Learn a head from labelled features."""

    def __call__(self, features: Features, /, *, seed: int) -> Adapted: ...


class Tunable(Protocol):
    """A network and its head as one trainable module: ``model(x) == model.head(model.body(x))``, scores ``[n, C]``."""

    body: nn.Module
    """From the activations at a cut (or normalised pixels, where nothing is frozen) to the embedding ``[n, d]``."""
    head: nn.Module
    """From the embedding to scores; at first the probe, so that training starts from its answers."""
    blocks: tuple[str, ...]
    """Names of the body's submodules (as ``model.get_submodule`` takes them), input side first: what layer-wise
    methods count by. Together they hold every parameter of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamGroup:
    """Parameters that are trained alike. What is in no group is frozen: no gradient, no optimiser state."""

    names: tuple[str, ...]  # as in ``named_parameters()`` of the module that is trained
    lr_scale: float = 1.0  # of the schedule's learning rate
    decay: bool = True  # whether weight decay applies


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What a fine-tuning method asks of the training loop; the loop does the rest."""

    model: nn.Module  # the module to train: the one given, or that with adapters put in
    groups: tuple[ParamGroup, ...]
    penalty: Callable[[], Tensor] | None = None  # added to every batch's loss: a scalar
    regroup: Callable[[int, int], tuple[ParamGroup, ...]] | None = None  # (epoch, epochs) -> groups from then on
    merge: Callable[[], None] | None = None  # folds adapters into the given model's own weights, in place, at the end
    norm_statistics: Literal["frozen", "trained"] = "frozen"  # of batch norms in trained blocks
    loss: Callable[[Tensor, Tensor], Tensor] | None = None  # of what ``model`` gives, in place of the task's
    params: Mapping[str, float | int | str | bool] = field(default_factory=dict)  # what the method settled on


class TuneFn(Protocol):
    """Say how a model is tuned. ``sample()`` yields ``(inputs, targets)``, ``loss(scores, targets)`` is a scalar."""

    def __call__(
        self,
        model: Any,  # a Tunable that is a torch.nn.Module; Any, so that this module needs no torch
        /,
        *,
        sample: Callable[[], Iterable[tuple[Tensor, Tensor]]],
        loss: Callable[[Tensor, Tensor], Tensor],
        seed: int,
    ) -> Tuning: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One file under ``adapt/`` holds one of these, as ``METHOD``: it learns on frozen features, or tunes a network."""

    name: str
    reference: str
    fit: FitFn
    works_on: Literal["features"] = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningMethod:
    """A :class:`Method`'s sibling that tunes the network itself; also a file's ``METHOD`` under ``adapt/``."""

    name: str
    reference: str
    tune: TuneFn
    head: Literal["probe", "fresh", "refit"] = "probe"  # what the model it is given has for a head, or the probe anew
    batches: Literal["rows", "pairs"] = "rows"  # every item once an epoch, or pairs of one class
    works_on: Literal["model"] = "model"


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
    """Did the transfer help? ``effect = transfer - against``, in the metric's own units (R² may fall below 0)."""

    outcome: Outcome
    effect: float
    low: float
    high: float
    p: float
    against: str
    metric: str
    advice: str
    arms: Mapping[str, Interval]
