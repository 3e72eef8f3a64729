"""The index may be wrong about nothing, and may fail at anything."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest

from headway.data import index as index_module
from headway.data.index import ContentIndex, contents
from headway.data.read import read

Settle = Callable[[Path], None]


def anything(head: bytes) -> bool:
    return True


def nothing(head: bytes) -> bool:
    return False


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, wanted: object) -> object:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(index_module, "_read", refuse)


def test_digests_are_blake2b_of_the_bytes(tmp_path: Path) -> None:
    sizes = [0, 1, 31, 33, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]
    for i, size in enumerate(sizes):
        (tmp_path / str(i)).write_bytes(os.urandom(size))
    paths = [str(tmp_path / str(i)) for i in range(len(sizes))]
    for path, content in zip(paths, contents(paths, wanted=anything, index=None), strict=True):
        data = Path(path).read_bytes()
        assert content == (data[:32], blake2b(data, digest_size=16).digest(), "")


def test_unchanged_files_are_not_read_again(
    folder: Path, tmp_path: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a" / "notes.txt").write_text("not wanted, and remembered as such")
    settle(folder)
    index = ContentIndex(tmp_path / "cache" / "index.sqlite")
    first = read(folder, index=index)
    forbid_reading(monkeypatch)
    again = read(folder, index=index)
    assert (again.fingerprint, again.names, again.findings) == (first.fingerprint, first.names, first.findings)
    other_way = Path(os.path.relpath(folder))
    assert read(other_way, index=ContentIndex(index.path)).fingerprint == first.fingerprint


@pytest.mark.parametrize("how", ["content", "content and time", "replaced", "linked elsewhere"])
def test_changes_are_seen(folder: Path, tmp_path: Path, settle: Settle, how: str) -> None:
    settle(folder)
    index = ContentIndex(tmp_path / "index.sqlite")
    before = read(folder, index=index)
    path, other = folder / "a" / "0.png", folder / "b" / "1.png"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    changed = bytearray(path.read_bytes())
    changed[-20] ^= 1  # the same size
    if how == "replaced":
        shutil.copy(other, tmp_path / "new")
        os.replace(tmp_path / "new", path)
    elif how == "linked elsewhere":
        path.unlink()
        path.symlink_to(other)
    else:
        path.write_bytes(changed)
    if how == "content and time":
        os.utime(path, ns=times)
    after = read(folder, index=index)
    assert (after.digests[0] != before.digests[0]).any()
    assert (after.digests[1:] == before.digests[1:]).all()
    assert after.fingerprint == read(folder).fingerprint


def test_files_younger_than_the_clock_can_tell_are_not_trusted(tmp_path: Path) -> None:
    """Written twice within one tick of a coarse clock: size, times and inode are the same, the content is not."""
    path = tmp_path / "x"
    path.write_bytes(b"first")
    index = ContentIndex(tmp_path / "index.sqlite")
    first = contents([str(path)], wanted=anything, index=index)
    assert index.lookup([os.fsencode(tmp_path)]) == {os.fsencode(tmp_path): {}}
    path.write_bytes(b"other")
    assert contents([str(path)], wanted=anything, index=index) != first


def test_what_was_not_wanted_is_read_when_it_is(tmp_path: Path, settle: Settle) -> None:
    (tmp_path / "x").write_bytes(b"text")
    settle(tmp_path)
    index = ContentIndex(tmp_path / "index.sqlite")
    assert contents([str(tmp_path / "x")], wanted=nothing, index=index)[0].digest is None
    assert contents([str(tmp_path / "x")], wanted=anything, index=index)[0].digest is not None


@pytest.mark.parametrize("damage", [b"", b"not a database, for certain" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_index_is_made_anew(folder: Path, tmp_path: Path, settle: Settle, damage: bytes) -> None:
    settle(folder)
    path = tmp_path / "index.sqlite"
    path.write_bytes(damage)
    expected = read(folder).fingerprint
    assert read(folder, index=ContentIndex(path)).fingerprint == expected
    assert read(folder, index=ContentIndex(path)).fingerprint == expected
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM files").fetchone() == (12,)
    db.close()


def test_an_index_that_cannot_be_written_is_as_good_as_none(folder: Path, tmp_path: Path, settle: Settle) -> None:
    settle(folder)
    (tmp_path / "file").write_text("")
    expected = read(folder).fingerprint
    for path in (tmp_path / "file" / "index.sqlite", tmp_path, Path("/proc/nowhere/index.sqlite")):
        assert read(folder, index=ContentIndex(path)).fingerprint == expected


WRITER = """
import sys
from pathlib import Path
from headway.data.index import ContentIndex, contents
index = ContentIndex(Path(sys.argv[1]))
print("ready", flush=True)
for round in range(int(sys.argv[3])):
    index.store([(b"/%d" % round, (b"%d" % i, 1, 2, 3, 4, b"head", bytes(16))) for i in range(200)])
    print(round, flush=True)
"""


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "i.sqlite"), "x", "20"]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    found = ContentIndex(tmp_path / "i.sqlite").lookup([b"/%d" % r for r in range(20)])
    assert all(len(files) == 200 for files in found.values())


def test_kill_9_in_the_middle_of_writing_leaves_whole_transactions(tmp_path: Path) -> None:
    path = tmp_path / "i.sqlite"
    for done in (0, 1, 5, 20):  # by what it has done, not by the clock: the machine may be busy
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "x", "100000"], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(done + 1):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        with sqlite3.connect(path) as db:
            rows = db.execute("SELECT count(*) FROM files").fetchone()[0] if done else 0
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        assert rows % 200 == 0
        assert rows >= 200 * done
