"""Pretrained networks by name: ``packaged:efficientnet_lite0.in1k``, ``timm:resnet50.a1_in1k``, ``random:...``.

Each file here is a source. Listing what is packaged imports neither torch nor timm.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from headway import plugins
from headway.backbones import packaged
from headway.backbones._network import Cut, Frame, Network
from headway.backbones.packaged.records import RECORDS
from headway.errors import ModelError, did_you_mean
from headway.types import Backbone, BackboneSource, BackboneSpec

__all__ = ["Cut", "Frame", "Network", "listed", "look_up", "open", "resolve", "search", "sibling"]

MODALITIES = ("image", "text")


def resolve(patterns: Sequence[str] = (), *, modality: str, offline: bool) -> tuple[BackboneSpec, ...]:
    """The specs that any of the patterns names, in the patterns' order, each once.

    A pattern is a glob over ``source:arch.weights``, or one exact name, with ``@`` and a revision or a weights file
    where wanted. Without ``source:`` it is looked for among the packaged networks, then among timm's, or for text among
    those of the hub that are on this machine; random ones must be asked for. No pattern: the packaged networks that
    were trained on everyday photographs, or on any text.

    Raises :class:`ModelError` for a pattern that names nothing, with the closest names.

    >>> [spec.name for spec in resolve(["*lite0*"], modality="image", offline=True)]
    ['packaged:efficientnet_lite0.in1k']
    """
    if isinstance(patterns, str):
        raise ModelError("the models are one text", given=repr(patterns), allowed="a sequence of patterns")
    if not patterns:
        return tuple(packaged.general(modality))
    found = [spec for pattern in patterns for spec in _matches(pattern, modality, offline=offline)]
    return tuple({spec.id: spec for spec in found}.values())


def open(spec_or_name: BackboneSpec | str, *, offline: bool) -> Backbone:
    """The backbone of a spec or of an exact name. Raises :class:`ModelError` where there is none.

    >>> open("packaged:efficientnet_lite0.in1k", offline=False).dims
    (16, 24, 40, 112, 320, 1280)
    """
    name = spec_or_name if isinstance(spec_or_name, str) else spec_or_name.id
    source, colon, rest = name.partition(":")
    if not colon or len(source) == 1 or "/" in source or "." in source or "@" in source:
        source, rest = ("packaged" if _is_packaged(name) else "timm"), name
    return _source(source).load(rest, offline=offline)


def search(text: str, *, modality: str = "image") -> tuple[BackboneSpec, ...]:
    """Every network of a modality whose name or licence holds all words of ``text``, packaged ones first."""
    words = text.lower().split()
    listed = [spec for source in _searched(modality) for spec in _source(source).candidates(modality, offline=True)]
    return tuple(spec for spec in listed if all(word in f"{spec.name} {spec.licence}".lower() for word in words))


def listed(source: str, *, modality: str) -> tuple[BackboneSpec, ...]:
    """Every network of a source that can be listed without a network connection.

    Raises :class:`ModelError` for an unknown source or modality.
    """
    _known(modality)
    return tuple(_source(source).candidates(modality, offline=True))


def look_up(name: str, *, modality: str = "") -> tuple[BackboneSpec, ...]:
    """The specs that a name or pattern has, of one modality, or of the first that knows it.

    Raises :class:`ModelError` as :func:`resolve` does.
    """
    if modality:
        _known(modality)
        return resolve([name], modality=modality, offline=True)
    if spec := [spec for spec in packaged.candidates("text", offline=True) if fnmatch.fnmatchcase(spec.name, name)]:
        return tuple(spec)
    try:
        return resolve([name], modality="image", offline=True)
    except ModelError as error:
        try:
            return resolve([name], modality="text", offline=True)
        except ModelError:
            raise error from None


def sibling(backbone: Backbone, *, seed: int) -> Backbone:
    """The same architecture, input and stages with random weights: see :mod:`headway.backbones.random`."""
    from headway.backbones import random

    return random.sibling(backbone, seed=seed)


def _matches(pattern: str, modality: str, *, offline: bool) -> Iterable[BackboneSpec]:
    named = pattern.partition("@")[0]
    sources = [named.partition(":")[0]] if ":" in named else _searched(modality)
    known: list[str] = []
    for source in sources:
        listed = _source(source).candidates(modality, offline=offline)
        glob = pattern if ":" in named else f"{source}:{pattern}"
        if matched := [spec for spec in listed if glob in (spec.id, spec.name) or fnmatch.fnmatchcase(spec.name, glob)]:
            return matched
        known += [spec.name if ":" in named else spec.name.partition(":")[2] for spec in listed]
    if not any(mark in named for mark in "*?["):
        spec = open(pattern, offline=offline).spec
        if spec.modality != modality:
            raise ModelError(f"{spec.name} is no {modality} network", given=f"one for {spec.modality}")
        return [spec]
    raise ModelError(
        "no model matches the pattern",
        given=repr(pattern),
        todo=did_you_mean(pattern, known) or "See `headway models list` and `headway models search TEXT`",
    )


def _searched(modality: str) -> Sequence[str]:
    """The sources of a modality that have names of their own, in the order in which they are looked through."""
    return ("packaged", "timm") if modality == "image" else ("packaged", "sentence_transformers", "transformers")


def _known(modality: str) -> None:
    if modality not in MODALITIES:
        raise ModelError("no networks of that modality", given=repr(modality), allowed=", ".join(MODALITIES))


def _is_packaged(name: str) -> bool:
    return name.partition("@")[0] in {record.name for record in RECORDS}


def _source(name: str) -> BackboneSource:
    known = plugins.names("backbones")
    if name not in known:
        raise ModelError(
            f"there is no source of models called {name!r}", allowed=", ".join(known), todo=did_you_mean(name, known)
        )
    source: BackboneSource = plugins.load("backbones", name)
    return source
