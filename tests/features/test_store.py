"""The store gives back what was put, whatever was killed, damaged, evicted or full meanwhile."""

from __future__ import annotations

import errno
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import StorageError
from headway.features import store as store_module
from headway.features.store import Store

NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(puts=st.lists(NUMBERS, min_size=1, max_size=5), asked=NUMBERS)
def test_what_was_put_is_had_and_got_in_any_order_and_number(toys, puts, asked):
    with tempfile.TemporaryDirectory() as folder:
        writer = Store(Path(folder))
        for numbers in puts:
            writer.put("key", *toys.shard_of(numbers))
        stored = {number for numbers in puts for number in numbers}
        digests, _ = toys.shard_of(asked)
        for store in (writer, Store(Path(folder))):
            assert store.have("key", digests).tolist() == [number in stored for number in asked]
            assert not store.have("another key", digests).any()
            if set(asked) <= stored:
                toys.check(store, asked)
            else:
                with pytest.raises(KeyError):
                    store.get("key", digests, ["0"])


def test_digests_that_differ_only_in_their_last_byte_are_never_taken_for_each_other(tmp_path):
    digests = np.zeros((3, 16), np.uint8)
    digests[:, 15] = [0, 1, 255]
    store = Store(tmp_path)
    store.put("key", digests[:2], {"0": np.array([[1.0], [2.0]], np.float32)})
    assert not store.have("key", digests[2:]).any()
    for row, value in ((0, 1.0), (1, 2.0)):
        if store.have("key", digests[row : row + 1]).all():
            assert store.get("key", digests[row : row + 1], ["0"]) == value


def test_nothing_and_the_unknown(tmp_path, toys):
    store = Store(tmp_path / "absent")
    digests, _ = toys.shard_of([1, 2])
    assert store.have("key", digests[:0]).shape == (0,)
    assert not store.have("key", digests).any()
    assert store.evict() == 0
    with pytest.raises(KeyError, match="2 of 2"):
        store.get("key", digests, ["0"])
    store.put("key", *toys.shard_of([1, 2]))
    with pytest.raises(KeyError):
        store.get("key", digests, ["no such column"])


# --- killed, and in company ---------------------------------------------------------------------


def test_two_processes_write_one_store_at_once(tmp_path, toys, started):
    both = [started("write", tmp_path, seed, 40) for seed in (1, 2)]
    for process in both:
        assert process.wait(60) == 0
    generators = [np.random.default_rng(seed) for seed in (1, 2)]
    written = [number for rng in generators for _ in range(40) for number in rng.choice(toys.POOL, 25)]
    toys.check(Store(tmp_path), sorted(set(written)))
    assert all(path.suffix == ".safetensors" for path in tmp_path.glob("*/*"))


def test_shards_are_whole_whenever_their_writer_is_killed(tmp_path, toys, started):
    chance = random.Random(5)
    for seed in range(8):
        process = started("write", tmp_path, seed, 10**6)
        time.sleep(chance.uniform(0, 0.08))
        process.kill()
        process.wait()
        store = Store(tmp_path)
        assert all(store_module._is_sound(path) for path in toys.shards(tmp_path))
        there = np.flatnonzero(store.have("key", toys.shard_of(range(toys.POOL))[0]))
        if len(there):
            toys.check(store, there)
    assert len(there) > 100  # the killed have done most of the work


def test_what_a_killed_writer_left_half_written_goes_in_time(tmp_path, toys):
    store = Store(tmp_path)
    store.put("key", *toys.shard_of([1]))
    fresh, stale = (tmp_path / "key" / f".half.{n}.1" for n in (1, 2))
    for path in (fresh, stale):
        path.write_bytes(b"half")
    os.utime(stale, (time.time() - toys.LONG_AGO,) * 2)
    store.evict()
    assert fresh.exists()
    assert not stale.exists()
    toys.check(store, [1])


# --- damaged ------------------------------------------------------------------------------------


def _flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "garbage": lambda data: os.urandom(len(data)),
    "a bit of the features": lambda data: _flip(data, len(data) - 1000),
    "the last bit": lambda data: _flip(data, len(data) - 1),
    "a bit of the header": lambda data: _flip(data, 20),
    "another format": lambda data: b"\x80\x04K\x01." + data,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_dropped_and_the_others_stay(damage, tmp_path, toys):
    Store(tmp_path).put("key", *toys.shard_of(range(10)))
    (broken,) = toys.shards(tmp_path)
    Store(tmp_path).put("key", *toys.shard_of(range(10, 20)))
    broken.write_bytes(damage(broken.read_bytes()))
    store = Store(tmp_path)
    digests, _ = toys.shard_of(range(20))
    assert store.have("key", digests).tolist() == [False] * 10 + [True] * 10
    assert not broken.exists()
    toys.check(store, range(10, 20))
    store.put("key", *toys.shard_of(range(10)))
    toys.check(store, range(20))


def test_a_shard_that_is_damaged_while_it_is_in_use_is_no_crash_but_a_key_error(tmp_path, toys):
    store = Store(tmp_path)
    digests, columns = toys.shard_of(range(4))
    store.put("key", digests, columns)
    assert store.have("key", digests).all()
    toys.shards(tmp_path)[0].write_bytes(b"")
    with pytest.raises(KeyError):
        store.get("key", digests, ["0"])


def test_a_damaged_shard_that_cannot_be_deleted_is_left_aside(tmp_path, toys, monkeypatch):
    Store(tmp_path).put("key", *toys.shard_of(range(4)))
    (broken,) = toys.shards(tmp_path)
    broken.write_bytes(_flip(broken.read_bytes(), broken.stat().st_size - 5))
    monkeypatch.setattr(Path, "unlink", toys.refuse)
    store = Store(tmp_path)
    assert not store.have("key", toys.shard_of(range(4))[0]).any()


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_rows_that_the_disk_refuses_stay_in_memory(number, tmp_path, toys, monkeypatch):
    store = Store(tmp_path)
    store.put("key", *toys.shard_of(range(5)))

    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store_module.os, "fsync", refuse)
    store.put("key", *toys.shard_of(range(5, 9)))
    assert os.strerror(number) in store.refusal
    assert str(tmp_path) in store.refusal
    toys.check(store, range(9))
    assert [path.suffix for path in tmp_path.glob("*/*")] == [".safetensors"]  # nothing half-written
    assert not Store(tmp_path).have("key", toys.shard_of([7])[0]).any()


def test_a_real_full_disk(small_disk, toys):
    store = Store(small_disk)
    for start in range(0, 200, 20):
        store.put("key", *toys.shard_of(range(start, start + 20)))
    assert "No space left" in store.refusal
    assert toys.shards(small_disk)
    toys.check(store, range(200))
    found = Store(small_disk)
    there = np.flatnonzero(found.have("key", toys.shard_of(range(200))[0]))
    assert 0 < len(there) < 200
    toys.check(found, there)


def test_a_disk_that_fails_otherwise_is_a_storage_error(tmp_path, toys, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store_module.os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error") as found:
        Store(tmp_path).put("key", *toys.shard_of([1]))
    assert found.value.exit_code == 2
