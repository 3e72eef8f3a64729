"""A pretrained network as a record: what is known before torch is imported, and how to build the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from headway.errors import ModelError
from headway.types import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a network whose output becomes features: the mean over all its positions."""

    module: str  # the framework's name of the module whose output is taken
    width: int  # channels
    layout: Literal["nchw", "nhwc", "nlc"] = "nchw"  # map, map with channels last, tokens
    skip: int = 0  # leading tokens that stand for no position: class and register tokens


Pooling = Literal["mean", "cls", "last", "max", "sqrt", "weighted"]
"""Over the positions of a text: their mean, the first, the last, the maximum, the sum over the square root of their
number, or the mean in which position ``i`` of ``1..L`` weighs ``i``."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A layer on the pooled features: ``activation(x @ weight.T + bias)``."""

    inputs: int
    outputs: int
    bias: bool
    activation: str  # of torch.nn: "Tanh", "Identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFrame:
    """What else there is to know of a text network's architecture."""

    config: str  # JSON: transformers' own configuration, or the sizes of one of our own modules
    width: int  # columns of the hidden states that are pooled
    pooling: Pooling  # the one the network was made for: its embedding
    poolings: tuple[Pooling, ...] = ()  # further ones that make sense, a stage each
    dense: tuple[Dense, ...] = ()
    normalise: bool = False  # whether the embedding has length 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An architecture without weights."""

    library: Literal["timm", "torchvision", "transformers", "headway"]
    arch: str
    options: tuple[tuple[str, int], ...] = ()
    trunk: bool = False  # the part called ``features`` only, its mean the embedding
    text: TextFrame | None = field(default=None, repr=False)  # not part of an image network's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A :class:`headway.types.Backbone`. ``load`` gives the framework's network, headless, with its weights."""

    spec: BackboneSpec
    weights_key: str
    cuts: tuple[Cut, ...]
    frame: Frame
    load: Callable[[], nn.Module]
    kept: Path | None = None  # where its weights lie as safetensors, once they were converted
    bring: Callable[[], object] | None = None  # fetches what ``load`` reads
    words: Callable[[], Path] | None = None  # its ``tokenizer.json``, made where it is not there

    @property
    def stages(self) -> tuple[str, ...]:
        return (*(cut.module for cut in self.cuts), *self._poolings, EMBEDDING)

    @property
    def dims(self) -> tuple[int, ...]:
        """Columns of each stage's features, in the order of ``stages``."""
        text = self.frame.text
        pooled = () if text is None else (text.width,) * len(text.poolings)
        return (*(cut.width for cut in self.cuts), *pooled, self.spec.dim)

    @property
    def _poolings(self) -> tuple[str, ...]:
        return () if self.frame.text is None else self.frame.text.poolings

    def obtain(self) -> None:
        if self.bring is not None and self.weights_file() is None:
            self.bring()

    def tokenizer(self) -> Path:
        """``tokenizer.json`` of the ``tokenizers`` library, which neither cuts nor pads.

        A text is cut to ``spec.input.tokens`` positions and padded on the right, with any id, masked.
        """
        if self.words is None:
            raise ModelError(f"{self.spec.name} reads no text", todo="Only text networks have a tokenizer")
        return self.words()

    def module(self) -> nn.Module:
        if self.frame.text is not None:
            from headway.backbones._text import StagedText

            return StagedText(self.load(), self.cuts, self.frame.text.poolings).eval()
        from headway.backbones._staged import Staged

        return Staged(self.load(), self.cuts, trunk=self.frame.trunk).eval()

    def weights_file(self) -> Path | None:
        return self.kept if self.kept is not None and self.kept.is_file() else None

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.load().state_dict().items()}
