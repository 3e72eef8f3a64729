"""Rows on disk by content and view: one memory-mapped file a view, filled in any order by any number of processes.

A folder holds ``digests`` (16 bytes a slot, appended under a lock and never changed), and for every view ``V.rows``
(one row a slot) and ``V.sums`` (a checksum a slot, 0 where there is no row yet). A row is written before its sum, and
what a sum does not fit is missing: a process that is killed, or a machine that loses power, costs the rows in hand and
no more. Two processes that write the same row write the same bytes.
"""

from __future__ import annotations

import math
import os
import shutil
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from headway.types import ByteArray, IntArray

IN_USE_SECONDS = 600.0  # a folder used this recently belongs to a running process and is not evicted
_USED = "used"  # the file whose time says when a folder was used


@dataclass(slots=True, kw_only=True)
class Views:
    """The rows of one kind: ``shape`` and ``dtype`` are those of one row."""

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _slots: dict[bytes, int] = field(default_factory=dict)
    _sound: dict[int, NDArray[np.bool_]] = field(default_factory=dict)  # by view: slots whose sum was compared
    _maps: dict[int, NDArray[Any]] = field(default_factory=dict)
    _touched: float = -math.inf

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def have(self, view: int, digests: ByteArray) -> NDArray[np.bool_]:
        """Which rows are there, whole."""
        slots = self._find(digests)
        sums = self._sums(view)
        known = np.flatnonzero((slots >= 0) & (slots < len(sums)))
        there = np.zeros(len(digests), bool)
        there[known] = sums[slots[known]] != 0
        sound = self._sound.setdefault(view, np.zeros(0, bool))
        if len(sound) < len(sums):
            sound = self._sound[view] = np.concatenate([sound, np.zeros(len(sums) - len(sound), bool)])
        for at in np.flatnonzero(there):
            slot = slots[at]
            if not sound[slot]:
                sound[slot] = there[at] = self._row_sum(view, int(slot), digests[at]) == sums[slot]
        return there

    def put(self, view: int, digests: ByteArray, rows: NDArray[Any]) -> None:
        """Write rows. Raises OSError where the disk refuses, and then what was written before stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.touch()
        slots = self._claim(digests)
        data = np.ascontiguousarray(rows, self.dtype)
        with _opened(self.folder / f"{view}.rows") as file, _opened(self.folder / f"{view}.sums") as sums:
            for slot, digest, row in zip(slots.tolist(), digests, data, strict=True):
                _write(file, memoryview(row).cast("B"), slot * self.row_bytes)
                _write(sums, memoryview(np.uint32(_sum(digest, row)).tobytes()), slot * 4)

    def get(self, view: int, digests: ByteArray) -> NDArray[Any]:
        """Rows that :meth:`have` has confirmed, ``[n, *shape]``: a copy."""
        with suppress(OSError):
            self.touch()
        slots = self._find(digests)
        rows: NDArray[Any] = self._map(view, int(slots.max(initial=-1)) + 1)[slots]
        return rows

    def touch(self) -> None:
        """Say that this folder is in use."""
        if time.monotonic() - self._touched > IN_USE_SECONDS / 4:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _USED).touch()
            self._touched = time.monotonic()

    def _row_sum(self, view: int, slot: int, digest: ByteArray) -> int:
        rows = self._map(view, slot + 1)
        return _sum(digest, rows[slot]) if slot < len(rows) else -1

    def _map(self, view: int, slots: int) -> NDArray[Any]:
        """At least so many slots of a view's file, where it has them."""
        held = self._maps.get(view)
        if held is None or len(held) < slots:
            path = self.folder / f"{view}.rows"
            whole = path.stat().st_size // self.row_bytes if path.exists() else 0
            shape = (whole, *self.shape)
            held = np.memmap(path, self.dtype, "r", shape=shape) if whole else np.zeros(shape, self.dtype)
            self._maps[view] = held
        return held

    def _sums(self, view: int) -> NDArray[np.uint32]:
        try:
            return np.frombuffer(_whole((self.folder / f"{view}.sums").read_bytes(), 4), np.uint32)
        except FileNotFoundError:
            return np.zeros(0, np.uint32)

    def _find(self, digests: ByteArray) -> IntArray:
        """Slots of digests, -1 where there is none."""
        heads = [digest.tobytes() for digest in digests]
        if not all(head in self._slots for head in heads):
            self._read_index()
        return np.array([self._slots.get(head, -1) for head in heads], np.int64)

    def _read_index(self) -> None:
        with suppress(FileNotFoundError):
            content = _whole((self.folder / "digests").read_bytes(), 16)
            known = len(self._slots)
            for slot in range(known, len(content) // 16):
                self._slots[content[16 * slot : 16 * slot + 16]] = slot

    def _claim(self, digests: ByteArray) -> IntArray:
        """Slots of digests; those that have none are given one."""
        if (self._find(digests) < 0).any():
            with FileLock(self.folder / ".lock"):
                self._read_index()
                new = dict.fromkeys(d.tobytes() for d in digests if d.tobytes() not in self._slots)
                with _opened(self.folder / "digests") as file:
                    _write(file, memoryview(b"".join(new)), 16 * len(self._slots))
            self._read_index()
        return self._find(digests)


def evict(root: Path, *, keep: Path, max_bytes: int) -> int:
    """Delete folders under ``root`` other than ``keep``, those used longest ago first, until they take ``max_bytes``.

    What any process has used in the last :data:`IN_USE_SECONDS` stays. The bytes that they take then.
    """
    found = []
    for folder in root.glob("*/"):
        if folder != keep:
            with suppress(FileNotFoundError):
                found.append(((folder / _USED).stat().st_mtime, size_of(folder), folder))
    total = sum(size for _, size, _ in found)
    for used, size, folder in sorted(found):
        if total <= max_bytes or time.time() - used < IN_USE_SECONDS:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
    return total


def size_of(folder: Path) -> int:
    """Bytes on disk: files have holes."""
    total = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def _sum(digest: ByteArray, row: NDArray[Any]) -> int:
    """Over the digest too: a row in the wrong slot, as after an index was lost, is no row."""
    return zlib.crc32(np.ascontiguousarray(row).data, zlib.crc32(digest.tobytes())) or 1


def _whole(content: bytes, size: int) -> bytes:
    return content[: len(content) // size * size]


class _opened:
    """A file to write at any place, made where it is not there."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def _write(file: int, data: memoryview, at: int) -> None:
    while data:
        done = os.pwrite(file, data, at)
        data, at = data[done:], at + done
