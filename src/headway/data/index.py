"""Content hashes of files, remembered by what ``stat`` says of them, so that unchanged files are not read again.

The idea and its one trap are git's index: a file changed within the clock's resolution of being hashed looks unchanged
for ever after ("racy git"), so what is younger than two seconds when it is hashed is not remembered.
"""

# ruff: noqa: PTH110, PTH116, PTH123
# Plain strings: a Path for each of 50,000 files costs more than asking for its facts.
from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeAlias

HEAD = 32
"""Bytes kept from the start of each file: enough to tell its format."""

_RACY_NS = 2_000_000_000
_CHUNK = 1 << 20
_AT_ONCE = 1000
_THREADS = 8  # hashing waits for the disk; more threads than cores keep it busy
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    folder BLOB, name BLOB, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, head BLOB, digest BLOB,
    PRIMARY KEY (folder, name)) WITHOUT ROWID
"""
_SELECT = "SELECT name, size, mtime, ctime, inode, head, digest FROM files WHERE folder = ?"
_INSERT = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_Facts: TypeAlias = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
_Row: TypeAlias = tuple[bytes, int, int, int, int, bytes, bytes | None]  # name, the facts, head, digest


class Content(NamedTuple):
    """A file's first bytes and blake2b-16 digest; no digest where it was not wanted or could not be read."""

    head: bytes
    digest: bytes | None
    error: str = ""


class ContentIndex:
    """A SQLite file that may be deleted at any time, shared by processes; never the reason for a failure.

    SQLite's own journal makes it safe against ``kill -9`` and concurrent writers. A damaged, locked or unwritable index
    is as good as none: files are then hashed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lookup(self, folders: Iterable[bytes]) -> dict[bytes, dict[bytes, _Row]]:
        """What is remembered of the files in each folder, by folder and name."""
        found: dict[bytes, dict[bytes, _Row]] = {}
        with suppress(sqlite3.Error), closing(self._open()) as db:
            for folder in folders:
                found[folder] = {row[0]: row for row in db.execute(_SELECT, (folder,)).fetchall()}
        return found

    def store(self, rows: Iterable[tuple[bytes, _Row]]) -> None:
        """Remember files, each with its folder, in one transaction."""
        with suppress(sqlite3.Error), closing(self._open()) as db, db:
            db.executemany(_INSERT, ((folder, *row) for folder, row in rows))

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.OperationalError:  # locked, full or read-only: not damaged
            raise
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=10)
        try:
            db.execute(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        return db


def contents(paths: Sequence[str], *, wanted: Callable[[bytes], bool], index: ContentIndex | None) -> list[Content]:
    """Head and digest of each file, in order; only files whose head is ``wanted`` are read to their end.

    Paths may hold any bytes that the file system does (surrogate escapes).
    """
    split = [os.path.split(path) for path in paths]
    folders = {folder: os.fsencode(os.path.realpath(folder)) for folder in {folder for folder, _ in split}}
    known = index.lookup(set(folders.values())) if index is not None else {}
    by_folder = {folder: known.get(key, {}) for folder, key in folders.items()}
    found: list[Content | None] = []
    for path, (folder, name) in zip(paths, split, strict=True):
        row = by_folder[folder].get(os.fsencode(name))
        # Without a digest it is remembered as something that nobody wanted: but who asks now may want it.
        usable = row is not None and (row[6] is not None or not wanted(row[5])) and _facts(path) == row[1:5]
        found.append(Content(row[5], row[6]) if row is not None and usable else None)
    fresh: list[tuple[bytes, _Row]] = []
    unread = [at for at, content in enumerate(found) if content is None]
    with ThreadPoolExecutor(_THREADS) as pool:  # starts no thread until something has to be read
        for start in range(
            0, len(unread), _AT_ONCE
        ):  # a future for every one of many files would outweigh the data set
            some = unread[start : start + _AT_ONCE]
            for at, (facts, content) in zip(some, pool.map(lambda at: _read(paths[at], wanted), some), strict=True):
                found[at] = content
                if facts is not None:
                    folder, name = split[at]
                    fresh.append((folders[folder], (os.fsencode(name), *facts, content.head, content.digest)))
    if index is not None and fresh:
        index.store(fresh)
    return [content for content in found if content is not None]


def _facts(path: str) -> _Facts | None:
    """``None`` where there is no regular file: opening a named pipe would wait for ever."""
    try:
        s = os.stat(path)
    except OSError:
        return None
    return (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) if stat.S_ISREG(s.st_mode) else None


def _read(path: str, wanted: Callable[[bytes], bool]) -> tuple[_Facts | None, Content]:
    """The content, and the facts to remember it by: none where it may have changed under our hands, or just before."""
    before = _facts(path)
    if before is None:
        return None, Content(b"", None, "is a pipe or a device" if os.path.exists(path) else "does not exist")
    try:
        with open(path, "rb", buffering=0) as file:
            chunk = file.read(_CHUNK)
            head, digest = chunk[:HEAD], None
            if wanted(head):
                state = blake2b(chunk, digest_size=16)
                while chunk := file.read(_CHUNK):
                    state.update(chunk)
                digest = state.digest()
    except OSError as error:
        return None, Content(b"", None, f"cannot be opened ({error.strerror or error})")
    settled = before == _facts(path) and time.time_ns() - max(before[1:3]) > _RACY_NS
    return before if settled else None, Content(head, digest)
