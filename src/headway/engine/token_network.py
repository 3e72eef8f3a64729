"""A text backbone seen word by word: its cuts and its last hidden states, nothing pooled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headway.backbones._network import Network
from headway.errors import ModelError
from headway.types import Backbone, TextInput

if TYPE_CHECKING:
    from torch import nn

LAST = "last"


@dataclass(frozen=True, slots=True)
class OfBackbone:
    """A :class:`headway.engine.tokenwise.TokenNetwork`."""

    backbone: Network
    tokens: int

    @property
    def name(self) -> str:
        return self.backbone.spec.id

    @property
    def weights_key(self) -> str:
        return self.backbone.weights_key

    @property
    def stages(self) -> tuple[str, ...]:
        return (*(cut.module for cut in self.backbone.cuts), LAST)

    def tokenizer(self) -> Path:
        return self.backbone.tokenizer()

    def module(self) -> nn.Module:
        from headway.backbones._tokens import TokenStates

        return TokenStates(self.backbone.load(), [cut.module for cut in self.backbone.cuts]).eval()


def of_backbone(backbone: Backbone) -> OfBackbone:
    """Raises :class:`ModelError` for a network that has no states of single tokens."""
    text = backbone.spec.input
    frame = backbone.frame.text if isinstance(backbone, Network) else None
    if not isinstance(backbone, Network) or frame is None or not isinstance(text, TextInput) or not backbone.cuts:
        raise ModelError(
            f"{backbone.spec.name} has no states of single tokens",
            allowed="encoders and decoders built of layers",
            todo="Name another network with --models; see `headway models list`",
        )
    return OfBackbone(backbone, text.tokens)
