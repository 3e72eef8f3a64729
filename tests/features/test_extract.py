"""The one loop that embeds: what it computes, what it does not compute again, and what it gives up."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from headway.features import extract as extract_module
from headway.features import store as store_module
from headway.features.store import Store

# --- what is computed ---------------------------------------------------------------------------


def test_every_stage_of_every_network_and_every_fact_is_stored(tmp_path, toys):
    sources, digests = toys.items(75)
    small, large = toys.Toy(), toys.Toy(name="large@1", key="large", height=24, width=20, interpolation="bilinear")
    store, heard = Store(tmp_path), []
    found = toys.extracted(
        sources, digests, store, small, large, facts=[toys.FACT], progress=lambda *x: heard.append(x)
    )
    for toy in (small, large):
        np.testing.assert_array_equal(toys.found(store, toy, digests), toys.expected(toy, sources))
        assert found.computed[toy.name] == 75
        assert found.seconds[toy.name] > 0
    means = np.stack([source.mean((0, 1)) for source in sources])
    np.testing.assert_allclose(store.get("fact", digests, ["0"]), means, rtol=1e-6)
    assert (found.bad, found.left.tolist(), found.given_up) == ({}, [], ())
    assert heard[-1] == ("embed", 75, 75)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)


def test_rows_come_in_any_order_and_equal_items_are_computed_once(tmp_path, toys):
    sources, digests = toys.items(20)
    rows = np.random.default_rng(0).integers(0, 20, 50)
    toy, store = toys.Toy(), Store(tmp_path)
    found = toys.extracted([sources[r] for r in rows], digests[rows], store, toy, order=np.arange(50)[::-1])
    assert found.computed == {"toy@1": len(set(rows.tolist()))}
    np.testing.assert_array_equal(toys.found(store, toy, digests[rows]), toys.expected(toy, [sources[r] for r in rows]))


def test_nothing_is_computed_twice(tmp_path, toys):
    sources, digests = toys.items(40)
    toy, store = toys.Toy(), Store(tmp_path)
    toys.extracted(sources[:25], digests[:25], store, toy, facts=[toys.FACT])
    assert sum(toy.seen) == 25
    found = toys.extracted(sources, digests, Store(tmp_path), toy, facts=[toys.FACT])
    assert found.computed == {"toy@1": 15}
    found = toys.extracted(sources, digests, Store(tmp_path), toy, facts=[toys.FACT])
    assert found.computed == {"toy@1": 0}
    assert sum(toy.seen) == 40


def test_a_new_network_does_not_make_the_old_ones_work_again(tmp_path, toys):
    """New items lie scattered among old ones, and a batch with one of them is not computed whole."""
    sources, digests = toys.items(60)
    old, new, store = toys.Toy(), toys.Toy(name="new@1", key="new"), Store(tmp_path)
    known = np.arange(60) % 7 > 0
    toys.extracted([s for s, k in zip(sources, known, strict=True) if k], digests[known], store, old)
    old.seen.clear()
    found = toys.extracted(sources, digests, store, old, new)
    assert found.computed == {"toy@1": int((~known).sum()), "new@1": 60}
    assert sum(old.seen) == (~known).sum()
    for toy in (old, new):
        np.testing.assert_array_equal(toys.found(store, toy, digests), toys.expected(toy, sources))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_network_gets_batches_of_its_own_size(batch, tmp_path, toys):
    sources, digests = toys.items(30)
    toy, store = toys.Toy(batch=batch), Store(tmp_path)
    toys.extracted(sources, digests, store, toy)
    np.testing.assert_array_equal(toys.found(store, toy, digests), toys.expected(toy, sources))


def test_features_do_not_depend_on_the_company(tmp_path, toys):
    """JPEGs are decoded at a reduced scale: which one depends on the network alone, not on others in the pass."""
    sources = [toys.jpeg(row) for row in range(5)]
    _, digests = toys.items(5)
    small = toys.Toy(height=64, width=64)
    others = [toys.Toy(name=f"{n}@1", key=str(n), height=n, width=n) for n in (224, 300, 500)]
    alone, together = Store(tmp_path / "alone"), Store(tmp_path / "together")
    toys.extracted(sources, digests, alone, small)
    toys.extracted(sources, digests, together, *others, small, facts=[toys.FACT])
    np.testing.assert_array_equal(toys.found(alone, small, digests), toys.found(together, small, digests))
    large = others[2]
    toys.extracted(sources, digests, alone, large)
    np.testing.assert_array_equal(toys.found(alone, large, digests), toys.found(together, large, digests))
    facts = Store(tmp_path / "facts")
    toys.extracted(sources, digests, facts, facts=[toys.FACT])
    np.testing.assert_array_equal(facts.get("fact", digests, ["0"]), together.get("fact", digests, ["0"]))


def test_memory_is_flat_in_the_number_of_items(tmp_path, toys):
    picture = np.zeros((40, 40, 3), np.uint8)
    toy = toys.Toy(height=96, width=96)

    def peak(n):
        digests = np.stack([toys.digest_of(row) for row in range(n)])
        tracemalloc.start()
        toys.extracted([picture] * n, digests, Store(tmp_path / str(n)), toy)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(50)  # whatever is imported or cached at first sight
    few, many = peak(500), peak(2000)
    assert (
        many < few + 1500 * 500
    )  # 500 bytes an item: its digest, its row, its few features; its view alone has 27,648


# --- bad items, failures ------------------------------------------------------------------------


def test_items_that_cannot_be_decoded_are_reported_and_the_others_done(tmp_path, toys):
    sources, digests = toys.items(40)
    bad = {3: toys.jpeg(0)[:300], 9: b"", 17: b"no image at all", 21: Path("/nowhere/at all.jpg")}
    copies = {30: 3}
    for row, content in bad.items():
        sources[row] = content
    for row, original in copies.items():
        sources[row], digests[row] = sources[original], digests[original]
    toy, store = toys.Toy(), Store(tmp_path)
    found = toys.extracted(sources, digests, store, toy, facts=[toys.FACT])
    assert sorted(found.bad) == sorted([*bad, *copies])
    assert "truncated" in found.bad[3]
    assert "zero bytes" in found.bad[9]
    assert "/nowhere" in found.bad[21]
    good = np.setdiff1d(np.arange(40), list(found.bad))
    np.testing.assert_array_equal(toys.found(store, toy, digests[good]), toys.expected(toy, [sources[r] for r in good]))
    assert not store.have(toy.key, digests[sorted(found.bad)]).any()
    assert found.left.tolist() == []


def test_nothing_but_bad_items_is_no_crash(tmp_path, toys):
    _, digests = toys.items(10)
    found = toys.extracted([b"no image"] * 10, digests, Store(tmp_path), toys.Toy(), facts=[toys.FACT])
    assert sorted(found.bad) == list(range(10))
    assert found.computed == {"toy@1": 0}


def test_a_network_that_fails_takes_nothing_finished_with_it(tmp_path, toys):
    sources, digests = toys.items(60)
    with pytest.raises(RuntimeError, match="the network fails"):
        toys.extracted(sources, digests, Store(tmp_path), toys.Toy(batch=4, fails_at=6))
    kept = Store(tmp_path).have("toy-key", digests)
    assert kept.sum() == 24
    found = toys.extracted(sources, digests, Store(tmp_path), toys.Toy(batch=4))
    assert found.computed == {"toy@1": 36}


def test_a_full_disk_stops_nothing(tmp_path, toys, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sources, digests = toys.items(50)
    monkeypatch.setattr(store_module.os, "fsync", refuse)
    toy, store = toys.Toy(), Store(tmp_path)
    found = toys.extracted(sources, digests, store, toy, facts=[toys.FACT])
    assert "No space left" in store.refusal
    assert (found.computed, found.left.tolist()) == ({"toy@1": 50}, [])
    np.testing.assert_array_equal(toys.found(store, toy, digests), toys.expected(toy, sources))


def test_a_real_full_disk_stops_nothing(small_disk, toys, monkeypatch):
    monkeypatch.setattr(extract_module, "SHARD", 64)
    sources, digests = toys.items(6000)
    toy, store = toys.Toy(), Store(small_disk)
    found = toys.extracted(sources, digests, store, toy)
    assert "No space left" in store.refusal
    assert found.computed == {"toy@1": 6000}
    assert store.have(toy.key, digests).all()
    assert 0 < Store(small_disk).have(toy.key, digests).sum() < 6000
