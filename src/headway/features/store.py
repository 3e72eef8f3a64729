"""The feature store: content-addressed, append-only, atomic, bounded.

``root/<key>/<name>.safetensors`` holds some hundred rows: ``digests`` ``[n, 16]`` and one float32 ``[n, d]`` array a
column. ``key`` names the network, its weights, engine and precision; the digest names the item's bytes. A shard is
written beside its place, flushed to disk and renamed, so a reader sees whole shards or none, whichever process was
killed when. Nothing is ever changed in place, so readers take no lock. A shard's metadata hold a checksum of each
array: what the disk has damaged is deleted and computed again. Eviction deletes the shards used longest ago.
"""

from __future__ import annotations

import errno
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import StorageError
from headway.types import ByteArray, IntArray

DEFAULT_MAX_BYTES = 8 * 2**30
IN_USE_SECONDS = 600.0  # shards used this recently belong to a running process and are not evicted
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

Columns = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Store:
    """A folder of shards. Rows that the disk refused stay in this process's memory, and ``refusal`` says why."""

    root: Path
    max_bytes: int = DEFAULT_MAX_BYTES
    refusal: str = ""
    _kept: dict[str, list[Columns]] = field(default_factory=dict)
    _seen: dict[Path, ByteArray] = field(default_factory=dict)  # shards never change, so their digests are read once
    _mine: set[Path] = field(default_factory=set)  # shards found whole that this process reads or has written
    _refreshed: float = field(default_factory=time.monotonic)
    _damaged: set[Path] = field(default_factory=set)  # that could not be deleted

    def have(self, key: str, digests: ByteArray) -> NDArray[np.bool_]:
        """Which rows of ``digests`` ``[n, 16]`` are stored, whole, under ``key``; from now on they count as in use."""
        while True:
            shards = self._shards(key)
            where = _locate(shards, digests)[0]
            asked = [shards[number][1] for number in np.unique(where[where >= 0])]
            lost = [shard for shard in asked if isinstance(shard, Path) and not self._claim(shard)]
            if not lost:
                return where >= 0

    def put(self, key: str, digests: ByteArray, columns: Columns) -> None:
        """Keep rows for good. A full disk is no error: they stay in memory for this process.

        Raises:
            StorageError: the disk failed in a way that neither space nor rights explain.
        """
        shard = {"digests": np.ascontiguousarray(digests), **{k: np.ascontiguousarray(v) for k, v in columns.items()}}
        name = blake2b(shard["digests"].tobytes(), digest_size=12).hexdigest()
        path = self.root / key / f"{name}.safetensors"
        try:
            _write(path, shard)
            self._damaged.discard(path)
            self._mine.add(path)
            self._refresh()
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise StorageError("the feature store cannot be written", given=f"{self.root} ({error})") from error
            self.refusal = f"{self.root}: {error.strerror}"
            self._kept.setdefault(key, []).append(shard)

    def get(self, key: str, digests: ByteArray, columns: Sequence[str]) -> NDArray[np.float32]:
        """The named columns side by side, ``[n, sum of widths]``, in the order of ``digests``.

        Raises:
            KeyError: rows are not stored: ask :meth:`have` first, and again when another process may have evicted.
        """
        shards = self._shards(key)
        where, row = _locate(shards, digests)
        if not len(digests) or (where < 0).any():
            raise KeyError(f"{int((where < 0).sum())} of {len(digests)} rows are not stored under {key}")
        parts = {}
        for number in np.unique(where):
            mine = np.flatnonzero(where == number)
            parts[number] = mine, _rows(shards[number][1], row[mine], columns)
        width = next(iter(parts.values()))[1].shape[1]
        out = np.empty((len(digests), width), np.float32)
        for mine, block in parts.values():
            out[mine] = block
        return out

    def evict(self) -> int:
        """Delete the shards used longest ago until the store is within ``max_bytes``; the bytes that were freed.

        Shards that this process uses stay, and those that any has used in the last :data:`IN_USE_SECONDS`.
        """
        self._sweep()
        files = []
        for path in self.root.glob("*/*.safetensors"):
            with suppress(FileNotFoundError):  # another process may be evicting too
                facts = path.stat()
                files.append((facts.st_mtime, facts.st_size, path))
        excess = sum(size for _, size, _ in files) - self.max_bytes
        freed = 0
        for used, size, path in sorted(files):
            if freed >= excess or time.time() - used < IN_USE_SECONDS:
                break
            if path not in self._mine and self._forget(path):
                freed += size
        return freed

    def _sweep(self) -> None:
        """Delete what killed processes left half-written."""
        for path in self.root.glob("*/.*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > IN_USE_SECONDS:
                    path.unlink()

    def _forget(self, path: Path) -> bool:
        """Delete a shard; whether that could be done."""
        self._seen.pop(path, None)
        self._mine.discard(path)
        try:
            path.unlink(missing_ok=True)
        except OSError:  # not ours to delete
            return False
        return True

    def _drop(self, path: Path) -> None:
        """Leave aside what cannot be used, and delete it where that can be done: it is computed again."""
        if not self._forget(path):
            self._damaged.add(path)

    def _refresh(self) -> None:
        """Mark all that this process uses, so that other processes see it however long this one runs."""
        if time.monotonic() - self._refreshed > IN_USE_SECONDS / 4:
            self._refreshed = time.monotonic()
            for path in self._mine:
                with suppress(OSError):
                    os.utime(path)

    def _claim(self, path: Path) -> bool:
        """Mark a shard as used now; False where it is gone, or damaged and therefore deleted."""
        if path not in self._mine:
            if not _is_sound(path):
                self._drop(path)
                return False
            self._mine.add(path)
        try:
            os.utime(path)
        except FileNotFoundError:  # another process has just evicted it
            self._forget(path)
            return False
        except OSError:  # a store that may only be read
            pass
        return True

    def _shards(self, key: str) -> list[tuple[ByteArray, Path | Columns]]:
        """The digests of every shard of a key, and where its columns are."""
        found: list[tuple[ByteArray, Path | Columns]] = []
        for path in sorted((self.root / key).glob("*.safetensors")):
            if path in self._damaged:
                continue
            digests = self._seen.get(path)
            if digests is None:
                digests = _digests(path)
                if digests is None:
                    self._drop(path)
                    continue
                self._seen[path] = digests
            found.append((digests, path))
        kept = [(np.asarray(shard["digests"]), shard) for shard in self._kept.get(key, [])]
        return [*found, *kept]


def _locate(shards: Sequence[tuple[ByteArray, Any]], digests: ByteArray) -> tuple[IntArray, IntArray]:
    """For each digest its shard's number and its row there, or -1."""
    n = len(digests)
    if not shards or not n:
        return np.full(n, -1), np.full(n, -1)
    stored = np.concatenate([d for d, _ in shards])
    # A digest is uniform, so its first eight bytes sort it; all sixteen must agree.
    heads, wanted = _heads(stored), _heads(digests)
    order = np.argsort(heads, kind="stable")
    spot = order[np.minimum(np.searchsorted(heads, wanted, sorter=order), len(heads) - 1)]
    hit = (stored[spot] == digests).all(axis=1)
    starts = np.cumsum([0, *(len(d) for d, _ in shards)])
    shard = np.searchsorted(starts, spot, side="right") - 1
    return np.where(hit, shard, -1), np.where(hit, spot - starts[shard], -1)


def _heads(digests: ByteArray) -> NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


def _digests(path: Path) -> ByteArray | None:
    """A shard's digests; None for one that is damaged, or that another process has just evicted."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as shard:
            digests = np.asarray(shard.get_tensor("digests"))
    except (SafetensorError, OSError):
        return None
    return digests if digests.ndim == 2 and digests.shape[1] == 16 else None


def _is_sound(path: Path) -> bool:
    """Whether every array of a shard is what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as shard:
            sums = shard.metadata() or {}
            return all(sums.get(name) == _checksum(shard.get_tensor(name)) for name in shard.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return False


def _checksum(array: NDArray[Any]) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(array).data):08x}"


def _rows(shard: Path | Columns, rows: IntArray, columns: Sequence[str]) -> NDArray[np.float32]:
    from safetensors import SafetensorError, safe_open

    if isinstance(shard, Path):
        try:
            with safe_open(shard, framework="numpy") as opened:
                block = np.concatenate([opened.get_tensor(name)[rows] for name in columns], axis=1)
        except (FileNotFoundError, SafetensorError) as error:
            raise KeyError(f"{shard} was evicted by another process, or has no such column") from error
        with suppress(OSError):
            os.utime(shard)  # used now: eviction takes the others first
        return block
    return np.concatenate([shard[name][rows] for name in columns], axis=1)


def _write(path: Path, shard: Columns) -> None:
    """Whole or not at all, also when the machine loses power: write beside, flush to disk, rename."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.parent / f".{path.stem}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        with scratch.open("wb") as file:
            file.write(save(dict(shard), metadata={name: _checksum(array) for name, array in shard.items()}))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
