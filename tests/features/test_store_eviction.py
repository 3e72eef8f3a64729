"""Eviction takes what nobody uses, the longest unused first, and never what somebody was promised."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from headway.features import store as store_module
from headway.features.store import IN_USE_SECONDS, Store


def _three(root, toys):
    """Three shards of one size, each written by a process of its own, and their paths."""
    paths = []
    for start in (0, 10, 20):
        Store(root).put("key", *toys.shard_of(range(start, start + 10)))
        paths += [path for path in toys.shards(root) if path not in paths]
    for number, path in enumerate(paths):
        used = time.time() - toys.LONG_AGO - 100 + number
        os.utime(path, (used, used))
    return paths


def test_eviction_takes_what_was_used_longest_ago_until_the_rest_fits(tmp_path, toys):
    first, _, third = _three(tmp_path, toys)
    size = first.stat().st_size
    store = Store(tmp_path, max_bytes=3 * size)
    assert store.evict() == 0
    os.utime(first, (time.time() - toys.LONG_AGO,) * 2)  # used again
    store = Store(tmp_path, max_bytes=2 * size)
    assert store.evict() == size
    assert toys.shards(tmp_path) == sorted([first, third])
    assert sum(path.stat().st_size for path in toys.shards(tmp_path)) <= store.max_bytes
    assert Store(tmp_path, max_bytes=0).evict() == 2 * size


def test_reading_is_using(tmp_path, toys):
    first, _, third = _three(tmp_path, toys)
    Store(tmp_path).get("key", toys.shard_of(range(5))[0], ["0"])
    other = Store(tmp_path, max_bytes=2 * first.stat().st_size)
    other.evict()
    assert toys.shards(tmp_path) == sorted([first, third])


def test_what_somebody_asked_for_is_not_taken_from_under_him(tmp_path, toys):
    """Asked for yesterday's features, a run computes others for an hour before it reads what it was promised."""
    first, second, _ = _three(tmp_path, toys)
    asking = Store(tmp_path, max_bytes=0)
    assert asking.have("key", toys.shard_of(range(15))[0]).all()
    Store(tmp_path, max_bytes=0).evict()
    assert toys.shards(tmp_path) == sorted([first, second])
    toys.age(tmp_path)
    assert asking.evict() == 0
    toys.check(asking, range(15))


def test_a_long_run_keeps_what_it_uses_marked(tmp_path, toys, monkeypatch):
    first, *_ = _three(tmp_path, toys)
    store = Store(tmp_path)
    store.have("key", toys.shard_of(range(5))[0])
    toys.age(tmp_path)
    now = time.monotonic()
    monkeypatch.setattr(store_module.time, "monotonic", lambda: now + IN_USE_SECONDS / 2)
    store.put("key", *toys.shard_of([30]))
    assert time.time() - first.stat().st_mtime < 60


def test_what_was_written_this_run_is_not_evicted_by_it(tmp_path, toys):
    store = Store(tmp_path, max_bytes=0)
    store.put("key", *toys.shard_of(range(5)))
    toys.age(tmp_path)
    assert store.evict() == 0
    assert Store(tmp_path, max_bytes=0).evict() > 0


def test_evicted_meanwhile_is_said_and_computed_again(tmp_path, toys):
    _three(tmp_path, toys)
    store = Store(tmp_path)
    digests, _ = toys.shard_of(range(5))
    assert store.have("key", digests).all()
    for path in toys.shards(tmp_path):
        path.unlink()
    with pytest.raises(KeyError):
        store.get("key", digests, ["0"])
    assert not store.have("key", digests).any()


def test_what_may_not_be_deleted_or_touched_is_no_reason_to_fail(tmp_path, toys, monkeypatch):
    _three(tmp_path, toys)
    monkeypatch.setattr(Path, "unlink", toys.refuse)
    monkeypatch.setattr(store_module.os, "utime", toys.refuse)
    store = Store(tmp_path, max_bytes=0)
    assert store.evict() == 0
    toys.check(store, range(30))
