"""The activation cache: the same entries whenever and however computed, in bounded space, whatever happens."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headway.budget import Deadline
from headway.errors import DataError, OptionError
from headway.features import _views
from headway.features.activations import batches
from headway.modalities import image

N = 30
ROWS = np.arange(N)
PROGRAM = Path(__file__).with_name("activation_toys.py")


def _load():
    spec = importlib.util.spec_from_file_location("activation_toys", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toys = _load()


def _all(cache, rows=ROWS, views=toys.VIEWS):
    return np.stack([cache.read(rows, view) for view in range(views + 1)])


def _filled(root, n=N, **options):
    cache = toys.cache(root, n, **{"network": toys.Prefix(), **options})
    result = cache.fill(np.arange(n))
    assert (result.left, result.bad) == (0, {})
    return cache


# --- entries -------------------------------------------------------------------------------------


def test_an_entry_is_what_the_prefix_says_of_the_view_in_half_precision(tmp_path):
    cache, prefix = _filled(tmp_path), toys.Prefix()
    pictures, _ = toys.items(N)
    clean = np.stack([image.resize(picture, 16, 16) for picture in pictures])
    expected = np.moveaxis(prefix.says(clean), 1, -1).astype(np.float16)
    np.testing.assert_array_equal(cache.read(ROWS, 0), expected)
    assert cache.shape == (5, 4, 4)
    assert not np.array_equal(cache.read(ROWS, 1), cache.read(ROWS, 2))
    assert not np.array_equal(cache.read(ROWS, 1), expected)


def test_entries_do_not_depend_on_company_order_or_the_cache(tmp_path):
    whole = _all(_filled(tmp_path / "whole"))
    pieces = toys.cache(tmp_path / "pieces", N, network=toys.Prefix())
    for rows in (ROWS[20:23], ROWS[::-1], ROWS[:1]):
        pieces.fill(rows)
    np.testing.assert_array_equal(_all(pieces), whole)
    never = toys.cache(tmp_path / "never", N, network=toys.Prefix(), max_bytes=0)
    np.testing.assert_array_equal(_all(never), whole)
    # Nor on the row that a picture has, nor on what else is in the data set
    pictures, digests = toys.items(N)
    order = np.random.default_rng(1).permutation(N)[:11]
    some = toys.cache(
        tmp_path / "some", 11, network=toys.Prefix(), pictures=[pictures[i] for i in order], digests=digests[order]
    )
    some.fill(np.arange(11))
    np.testing.assert_array_equal(_all(some, np.arange(11)), whole[:, order])


def test_nothing_is_computed_twice_and_copies_share_an_entry(tmp_path):
    pictures, digests = toys.items(N)
    digests[7], pictures[7] = digests[3], pictures[3]
    first = toys.Prefix()
    cache = toys.cache(tmp_path, N, network=first, pictures=pictures, digests=digests)
    first.items = 0
    assert cache.fill(ROWS).computed == 3 * (N - 1) == first.items
    again = toys.Prefix()
    cache = toys.cache(tmp_path, N, network=again, pictures=pictures, digests=digests)
    again.items = 0
    assert cache.fill(ROWS).computed == 0 == again.items
    np.testing.assert_array_equal(cache.read(ROWS[[7]], 1), cache.read(ROWS[[3]], 1))
    assert again.items == 0


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"policy": image.Augmentation(flip=False)},
        {"expects": replace(toys.EXPECTS, interpolation="bilinear")},
    ],
)
def test_another_seed_policy_or_input_has_a_folder_of_its_own(tmp_path, other):
    one, two = (toys.cache(tmp_path, N, network=toys.Prefix(), **options) for options in ({}, other))
    assert one.store.folder != two.store.folder
    two.fill(ROWS[:2])
    assert not np.array_equal(two.read(ROWS[:2], 1), one.read(ROWS[:2], 1)) or "expects" in other


def test_another_network_or_engine_has_a_folder_of_its_own(tmp_path):
    other = toys.Prefix()
    other.key = "another engine"
    folders = {toys.cache(tmp_path, N, network=network).store.folder for network in (toys.Prefix(), other, None)}
    assert len(folders) == 3


def test_values_beyond_half_precision_are_clipped_aloud(tmp_path):
    loud = toys.Prefix()
    loud.mix = loud.mix * 1e4
    cache = toys.cache(tmp_path, N, network=loud)
    cache.fill(ROWS[:4])
    assert np.isfinite(cache.read(ROWS[:4], 0)).all()
    assert [finding.check for finding in cache.findings] == ["activation-range"]


def test_items_that_cannot_be_decoded_are_named_and_the_others_go_on(tmp_path):
    pictures, digests = toys.items(N)
    pictures[5] = b"no image"
    cache = toys.cache(tmp_path, N, network=toys.Prefix(), pictures=pictures, digests=digests)
    result = cache.fill(ROWS)
    assert list(result.bad) == [5]
    assert (result.computed, result.left) == (3 * (N - 1), 0)
    with pytest.raises(DataError, match="cannot be decoded"):
        cache.read(ROWS, 0)


def test_what_remembers_decoded_items_may_decode(tmp_path):
    asked = []

    class Remembering:
        def decode(self, source, *, cover=None):
            asked.append(cover)
            return image.decode(source, cover=cover)

        def resize(self, picture, height, width, *, interpolation):
            return image.resize(picture, height, width, interpolation=interpolation)

    cache = _filled(tmp_path / "one", decoder=Remembering())
    assert asked == [(288, 288)] * (3 * N)  # whatever else is decoded, an item is decoded to cover the same size
    np.testing.assert_array_equal(_all(cache), _all(_filled(tmp_path / "two")))


# --- in time, in space ---------------------------------------------------------------------------


def test_the_deadline_is_kept_and_what_is_done_stays(tmp_path):
    slow = toys.Prefix(pause=0.05)
    cache = toys.cache(tmp_path, 200, network=slow)
    deadline = Deadline(0.6)
    result = cache.fill(np.arange(200), deadline=deadline)
    assert deadline.elapsed < 0.6 + 1.0
    assert 0 < result.computed < 200
    assert result.left == 600 - result.computed
    assert cache.complete(np.arange(200)) == 0
    assert cache.fill(np.arange(200), deadline=Deadline(1e-9)).computed == 0
    slow.pause = 0
    assert cache.fill(np.arange(200)).computed == 600 - result.computed
    assert cache.complete(np.arange(200)) == 2


def test_there_are_fewer_views_where_all_would_pass_the_limit(tmp_path):
    a_view = N * 5 * 4 * 4 * 2
    cache = toys.cache(tmp_path, N, network=toys.Prefix(), views=5, max_bytes=3 * a_view + 10)
    assert cache.views == 2
    (finding,) = cache.findings
    assert (finding.check, finding.severity) == ("activation-cache", "warn")
    assert "only 2 random views" in finding.message
    cache.fill(ROWS)
    rows = sum(path.stat().st_size for path in cache.store.folder.glob("*.rows"))
    assert rows == 3 * a_view
    assert cache.complete(ROWS) == 2


def test_where_not_one_view_fits_all_is_computed_when_it_is_asked_for(tmp_path):
    cache = toys.cache(tmp_path, N, network=toys.Prefix(), max_bytes=100)
    assert "computed again in every epoch" in cache.findings[0].message
    assert cache.fill(ROWS).computed == 0
    assert not list(cache.store.folder.glob("*.rows"))
    np.testing.assert_array_equal(_all(cache), _all(_filled(tmp_path / "other")))


def test_old_folders_make_room_and_those_in_use_do_not(tmp_path, monkeypatch):
    old, used = (_filled(tmp_path, seed=seed) for seed in (1, 2))
    long_ago = time.time() - 10 * _views.IN_USE_SECONDS
    os.utime(old.store.folder / "used", (long_ago, long_ago))
    room = 2 * _views.size_of(used.store.folder)
    cache = toys.cache(tmp_path, N, network=toys.Prefix(), max_bytes=room)
    assert not old.store.folder.exists()
    assert used.store.folder.exists()
    assert (cache.views, cache.findings) == (2, [])
    toys.cache(tmp_path, N, network=toys.Prefix(), seed=3, max_bytes=1)
    assert used.store.folder.exists()
    assert cache.store.folder.exists()
    # The process whose folder went goes on, and computes again what it lost
    np.testing.assert_array_equal(_all(old), _all(_filled(tmp_path / "afresh", seed=1)))


def _refuse(monkeypatch, after):
    """Every write fails once so many rows were written."""
    write, count = _views._write, [0]

    def full(file, data, at):
        count[0] += len(data) == 5 * 4 * 4 * 2
        if count[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, data, at)

    monkeypatch.setattr(_views, "_write", full)


@pytest.mark.parametrize(("after", "views", "kept"), [(N + 5, 0, True), (2 * N + 5, 1, True), (10, 2, False)])
def test_a_full_disk_means_fewer_views_or_none_and_it_is_said(tmp_path, monkeypatch, after, views, kept):
    cache = toys.cache(tmp_path / "small", N, network=toys.Prefix())
    with monkeypatch.context() as patch:
        _refuse(patch, after)
        cache.fill(ROWS)
        assert (cache.views, cache.kept) == (views, kept)
        assert len(cache.findings) == 1
        assert "No space left" in cache.findings[0].evidence[0]
        found = list(batches(cache, ROWS, np.zeros(N), batch_size=8, seed=0, train=True).epoch(1))
        assert sum(len(x) for x, _ in found) == N
        np.testing.assert_array_equal(_all(cache, views=views), _all(_filled_elsewhere(tmp_path))[: views + 1])


def _filled_elsewhere(tmp_path):
    cache = toys.cache(tmp_path / "never", N, network=toys.Prefix(), max_bytes=0)
    assert not cache.kept
    return cache


def test_a_real_small_disk(small_disk):
    cache = toys.cache(small_disk, 2000, network=toys.Prefix(), views=0)  # 320 kB on 256
    assert not cache.kept
    cache = toys.cache(small_disk, 2000, network=toys.Prefix(), views=0, items=100)
    assert cache.kept
    cache.fill(np.arange(2000))  # more than was planned for
    assert not cache.kept
    assert "No space left" in cache.findings[-1].evidence[0]
    assert len(cache.read(np.arange(1990, 2000), 0)) == 10


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path):
    (tmp_path / "file").write_text("")
    cache = toys.cache(tmp_path / "file" / "inside", N, network=toys.Prefix())
    assert not cache.kept
    cache.fill(ROWS)
    assert cache.read(ROWS, 1).shape == (N, 4, 4, 5)


# --- killed, damaged, shared ---------------------------------------------------------------------


def _start(root, n, pause, seed=0):
    command = [sys.executable, str(PROGRAM), str(root), str(n), str(pause), str(seed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def _stored(root, n):
    cache = toys.cache(root, n, network=toys.Prefix())
    _, digests = toys.items(n)
    return int(sum(cache.store.have(view, digests).sum() for view in range(3)))


def test_a_killed_filling_goes_on_where_it_stopped(tmp_path):
    n, before = 400, 0
    for delay in (0.3, 0.4, 0.5):
        process = _start(tmp_path / "cache", n, 0.01)
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(delay)
        process.kill()
        process.communicate()
        stored = _stored(tmp_path / "cache", n)
        assert before < stored < 3 * n
        before = stored
    cache = toys.cache(tmp_path / "cache", n, network=toys.Prefix())
    assert cache.fill(np.arange(n)).computed == 3 * n - before
    rows = np.arange(n)
    np.testing.assert_array_equal(_all(cache, rows), _all(_filled(tmp_path / "whole", n), rows))


def test_two_processes_fill_one_cache(tmp_path):
    n = 300
    running = [_start(tmp_path / "cache", n, 0, seed) for seed in (1, 2, 3)]  # each in an order of its own
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    here = _filled(tmp_path / "cache", n)
    for process in running:
        assert process.wait(60) == 0
        process.communicate()
    rows = np.arange(n)
    expected = _all(_filled(tmp_path / "whole", n), rows)
    np.testing.assert_array_equal(_all(here, rows), expected)
    assert _stored(tmp_path / "cache", n) == 3 * n
    assert (here.store.folder / "digests").stat().st_size == 16 * n


@pytest.mark.parametrize("damage", ["row", "cut", "sums", "index"])
def test_damaged_entries_are_computed_again(tmp_path, damage):
    cache = _filled(tmp_path / "cache")
    expected = _all(cache)
    folder, prefix = cache.store.folder, toys.Prefix()
    rows = folder / "1.rows"
    if damage == "row":
        with rows.open("r+b") as file:
            file.seek(cache.store.row_bytes * 3 + 5)
            file.write(b"damage")
    elif damage == "cut":
        os.truncate(rows, cache.store.row_bytes * 10 + 7)
    elif damage == "sums":
        os.truncate(folder / "1.sums", 4 * 10 + 2)
    else:  # every slot now stands for another item
        (folder / "digests").write_bytes(toys.items(N)[1][::-1].tobytes())
    again = toys.cache(tmp_path / "cache", N, network=prefix)
    prefix.items = 0
    again.fill(ROWS)
    assert prefix.items == {"row": 1, "cut": 20, "sums": 20, "index": 3 * N}[damage]
    np.testing.assert_array_equal(_all(again), expected)


# --- batches -------------------------------------------------------------------------------------


def _epoch(found, number):
    parts = list(found.epoch(number))
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]), [len(x) for x, _ in parts]


def test_an_epoch_sees_every_row_once_with_its_target_in_one_view(tmp_path):
    cache = _filled(tmp_path)
    rows = ROWS[[4, 9, 1, 20, 28, 3, 17]]
    found = batches(cache, rows, 100 + rows, batch_size=3, seed=5, train=True)
    assert len(found) == 3
    for number in range(4):
        x, y, sizes = _epoch(found, number)
        assert sorted(y.tolist()) == sorted((100 + rows).tolist())
        assert sizes == [3, 2, 2]  # no batch of one item, which no norm could use
        entries = torch.from_numpy(cache.read(y.numpy() - 100, 1 + number % 2)).float().permute(0, 3, 1, 2)
        assert torch.equal(x, entries)
    assert not torch.equal(_epoch(found, 0)[1], _epoch(found, 2)[1])


def test_an_epoch_is_decided_by_its_number_and_the_seed(tmp_path):
    cache = _filled(tmp_path)

    def orders(seed):
        found = batches(cache, ROWS, ROWS, batch_size=8, seed=seed, train=True)
        return {number: _epoch(found, number)[1].tolist() for number in (3, 0, 3, 1)}

    assert orders(0) == orders(0)
    assert orders(0)[3] != orders(1)[3]


def test_validation_takes_the_clean_view_in_order(tmp_path):
    cache = _filled(tmp_path)
    x, y, _ = _epoch(batches(cache, ROWS[::2], ROWS[::2], batch_size=4, seed=0, train=False), 7)
    assert y.tolist() == ROWS[::2].tolist()
    assert torch.equal(x, torch.from_numpy(cache.read(ROWS[::2], 0)).float().permute(0, 3, 1, 2))


def test_maps_come_with_their_channels_last_in_memory(tmp_path):
    x, _ = next(batches(_filled(tmp_path), ROWS, ROWS, batch_size=8, seed=0, train=True).epoch(0))
    assert x.shape == (8, 5, 4, 4)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_where_nothing_is_frozen_the_entries_are_normalised_pixels(tmp_path, channels):
    from headway.engine.ir import normalise

    expects = replace(toys.EXPECTS, channels=channels)
    cache = toys.cache(tmp_path, N, network=None, expects=expects)
    cache.fill(ROWS)
    assert cache.read(ROWS, 1).dtype == np.uint8
    x, _, _ = _epoch(batches(cache, ROWS, ROWS, batch_size=8, seed=0, train=False), 0)
    pictures = np.stack([image.resize(picture, 16, 16) for picture in toys.items(N)[0]])
    np.testing.assert_allclose(x.numpy(), normalise(pictures, expects), atol=1e-4)


def test_every_arm_trains_on_the_same_views(tmp_path):
    """What the prefix is given is what full fine-tuning sees."""
    whole, part = (toys.cache(tmp_path, N, network=network) for network in (None, toys.Prefix()))
    whole.fill(ROWS)
    for view in range(3):
        expected = np.moveaxis(toys.Prefix().says(whole.read(ROWS, view)), 1, -1).astype(np.float16)
        np.testing.assert_array_equal(part.read(ROWS, view), expected)


def test_targets_may_be_soft_or_real(tmp_path):
    cache = _filled(tmp_path)
    soft = np.random.default_rng(0).random((N, 3)).astype(np.float32)
    _, y, _ = _epoch(batches(cache, ROWS, soft, batch_size=8, seed=0, train=False), 0)
    assert torch.equal(y, torch.from_numpy(soft))


@pytest.mark.parametrize("wrong", [{"rows": ROWS[:0]}, {"targets": np.zeros(3)}, {"batch_size": 0}])
def test_batches_of_nothing_are_refused(tmp_path, wrong):
    cache = toys.cache(tmp_path, N, network=toys.Prefix())
    given = {"rows": ROWS, "targets": np.zeros(N if "rows" not in wrong else 0), "batch_size": 4, **wrong}
    with pytest.raises(OptionError, match="no such batches"):
        batches(cache, given["rows"], given["targets"], batch_size=given["batch_size"], seed=0, train=True)
