"""``random:`` the architecture of another network with random weights: what a transfer is compared against.

``random:efficientnet_lite0.in1k`` is ``packaged:efficientnet_lite0.in1k`` with random weights, ``random:resnet50``
timm's resnet50, ``random:transformers:google/bert-mini`` that of another source; ``@3`` draws them from seed 3. The
numbers come from the architecture's own initialisation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from headway import plugins
from headway.backbones import packaged
from headway.backbones import timm as timm_source
from headway.backbones._network import Frame, Network
from headway.backbones.packaged.records import RECORDS
from headway.errors import ModelError
from headway.seeds import seed_of
from headway.types import Backbone, BackboneSpec

if TYPE_CHECKING:
    from torch import nn


_NAMED_BY_SOURCE = ("transformers", "sentence_transformers", "vectors")  # by folders and names of the hub


def candidates(modality: str, *, offline: bool) -> Sequence[BackboneSpec]:
    """The packaged networks with random weights. Any architecture of timm can be named besides."""
    return tuple(_spec(spec, seed=0) for spec in packaged.candidates(modality, offline=offline))


def load(name: str, *, offline: bool) -> Network:
    """``ARCH`` or ``ARCH.WEIGHTS`` (whose input size and stages are taken), optionally ``@SEED``."""
    plain, _, seed = name.partition("@") if ":" not in name else _parted(name)
    if seed and not seed.isdecimal():
        raise ModelError("a random network's revision is its seed", given=f"random:{name}", allowed="a whole number")
    if plain in {record.name for record in RECORDS}:
        return sibling(packaged.load(plain, offline=False), seed=int(seed or 0))
    if ":" in plain:
        source, _, rest = plain.partition(":")
        other: Network = plugins.load("backbones", source).load(rest, offline=offline)
        return sibling(other, seed=int(seed or 0))
    return sibling(timm_source.architecture(plain), seed=int(seed or 0))


def _parted(name: str) -> tuple[str, str, str]:
    """Of a path the last ``@`` counts, where a number stands behind it."""
    plain, at, seed = name.rpartition("@")
    return (plain, at, seed) if seed.isdecimal() else (name, "", "")


def sibling(backbone: Backbone, *, seed: int) -> Network:
    """The same architecture, input and stages as ``backbone``, with weights drawn from ``seed`` and the name alone.

    Raises :class:`ModelError` for a backbone whose source does not say how to build it without weights.
    """
    if not isinstance(backbone, Network):
        raise ModelError(
            f"{backbone.spec.name} cannot be built with random weights",
            todo="Its source would have to return a headway.backbones.Network",
        )
    drawn = seed_of("random", backbone.frame.arch, seed)
    return replace(
        backbone,
        spec=_spec(backbone.spec, seed=seed),
        weights_key=_key(backbone.frame, drawn),
        load=partial(_drawn, backbone.frame, drawn),
        kept=None,
        bring=None,
    )


def _spec(spec: BackboneSpec, *, seed: int) -> BackboneSpec:
    arch = f"{spec.source}:{spec.arch}" if spec.source in _NAMED_BY_SOURCE else spec.arch
    return replace(spec, source="random", arch=arch, revision=str(seed), accuracy=None)


def _key(frame: Frame, drawn: int) -> str:
    # Another release may initialise differently or use its random numbers in another order
    libraries = ("torch",) if frame.library == "headway" else ("torch", frame.library)
    releases = [f"{name} {version(name)}" for name in libraries]
    facts = (frame, drawn, releases) if frame.text is None else (frame, frame.text, drawn, releases)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _drawn(frame: Frame, drawn: int) -> nn.Module:
    import torch

    from headway.backbones._staged import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn)
        return build(frame)
