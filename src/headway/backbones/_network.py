"""A pretrained network as a record: what is known before torch is imported, and how to build the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An architecture without weights."""

    library: Literal["timm", "torchvision"]
    arch: str
    options: tuple[tuple[str, int], ...] = ()
    trunk: bool = False  # the part called ``features`` only, its mean the embedding


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

    @property
    def stages(self) -> tuple[str, ...]:
        return (*(cut.module for cut in self.cuts), EMBEDDING)

    @property
    def dims(self) -> tuple[int, ...]:
        """Columns of each stage's features, in the order of ``stages``."""
        return (*(cut.width for cut in self.cuts), self.spec.dim)

    def obtain(self) -> None:
        if self.bring is not None and self.weights_file() is None:
            self.bring()

    def module(self) -> nn.Module:
        from headway.backbones._staged import Staged

        return Staged(self.load(), self.cuts, trunk=self.frame.trunk).eval()

    def weights_file(self) -> Path | None:
        return self.kept if self.kept is not None and self.kept.is_file() else None

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.load().state_dict().items()}
