"""Extraction under deadlines, plans and kills."""

from __future__ import annotations

import time

import numpy as np
import pytest

from headway.budget import Deadline
from headway.features import extract as extract_module
from headway.features.store import Store
from headway.modalities import image

# --- interrupted --------------------------------------------------------------------------------


def test_a_killed_extraction_goes_on_where_it_stopped(tmp_path, toys, started):
    sources, digests = toys.items(300)
    toy = toys.Toy()
    kept = 0
    for delay in (0.3, 0.5):
        process = started("embed", tmp_path / "store", 300)
        with pytest.raises(Exception, match="timed out"):
            process.wait(delay)
        process.kill()
        process.wait()
        before, kept = kept, int(Store(tmp_path / "store").have(toy.key, digests).sum())
        assert before < kept < 300
    counted = toys.embed(tmp_path / "store", 300, 0.0)
    assert counted == {"toy@1": 300 - kept}
    assert toys.embed(tmp_path / "whole", 300, 0.0) == {"toy@1": 300}
    for key, columns in ((toy.key, ["0", "1"]), ("fact", ["0"])):
        resumed, whole = (Store(tmp_path / name).get(key, digests, columns) for name in ("store", "whole"))
        np.testing.assert_array_equal(resumed, whole)
    np.testing.assert_array_equal(toys.found(Store(tmp_path / "store"), toy, digests), toys.expected(toy, sources))


@pytest.fixture
def small_groups(monkeypatch):
    """Two batches of four a group, at most."""
    monkeypatch.setattr(extract_module, "GROUP", 2)
    assert image.CHUNK == 4


def test_the_deadline_cuts_and_left_are_the_rows_not_reached(small_groups, tmp_path, toys):
    sources, digests = toys.items(60)
    digests[59] = digests[0]  # a copy of the first row, and one of a row that is reached only later
    digests[58] = digests[40]
    order = np.random.default_rng(0).permutation(60)
    toy, store = toys.Toy(), Store(tmp_path)
    found = toys.extracted(sources, digests, store, toy, order=order, deadline=Deadline(1e-9))
    done = found.computed["toy@1"]
    assert 0 < done <= 8
    there = store.have(toy.key, digests)
    assert found.left.tolist() == np.flatnonzero(~there).tolist()
    reached = np.zeros(60, bool)
    reached[order[:done]] = True
    for copy, original in ((59, 0), (58, 40)):
        reached[[copy, original]] = reached[copy] or reached[original]
    assert there.tolist() == reached.tolist()
    found = toys.extracted(sources, digests, store, toy, order=order, deadline=Deadline(60.0))
    assert (found.left.tolist(), found.computed["toy@1"]) == ([], 58 - done)


def test_a_deadline_in_the_middle_is_kept(tmp_path, toys):
    sources, digests = toys.items(400)
    deadline = Deadline(0.5)
    found = toys.extracted(sources, digests, Store(tmp_path), toys.Toy(pause=0.02, batch=4), deadline=deadline)
    assert 0 < len(found.left) < 400
    assert deadline.elapsed < 0.5 + 2 * extract_module.TURN


def test_replanning_gives_networks_up_on_the_way(small_groups, tmp_path, toys):
    sources, digests = toys.items(64)
    fast, slow = toys.Toy(batch=4), toys.Toy(name="slow@1", key="slow", pause=0.01, batch=4)
    asked = []

    def replan(pace, left):
        asked.append((dict(pace), left))
        return ["slow@1"] if len(asked) == 2 else []

    store = Store(tmp_path)
    found = toys.extracted(sources, digests, store, fast, slow, replan=replan)
    assert found.given_up == ("slow@1",)
    assert (found.computed["toy@1"], found.left.tolist()) == (64, [])
    assert found.computed["slow@1"] == 64 - asked[1][1]
    assert store.have("slow", digests).sum() == found.computed["slow@1"]
    pace, left = asked[0]
    assert set(pace) == {"toy@1", "slow@1", "decode"}
    assert pace["slow@1"] >= 0.01 / 4  # seconds an item
    assert 0 < asked[-1][1] < left < 64


@pytest.fixture
def heights(monkeypatch):
    """The heights of all views that are made."""
    made, resize = [], image.resize

    def note(pixels, height, width, **options):
        made.append(height)
        return resize(pixels, height, width, **options)

    monkeypatch.setattr(image, "resize", note)
    return made


def test_no_view_is_made_for_a_network_that_has_all(tmp_path, toys, heights):
    sources, digests = toys.items(20)
    old, new, store = toys.Toy(), toys.Toy(name="new@1", key="new", height=40), Store(tmp_path)
    toys.extracted(sources, digests, store, old)
    heights.clear()
    toys.extracted(sources, digests, store, old, new)
    assert heights == [40] * 20


def test_one_slow_start_gives_nothing_up(small_groups, tmp_path, toys):
    sources, digests = toys.items(200)
    asked: list[tuple[float, int]] = []

    def replan(pace, left):
        asked.append((pace["toy@1"], left))
        return []

    class SlowStart(toys.Toy):
        def forward(self, batches):
            if not self.began:
                time.sleep(0.5)
            self.began = True
            yield from super().forward(batches)

        began = False

    found = toys.extracted(sources, digests, Store(tmp_path), SlowStart(batch=4), replan=replan)
    assert not found.given_up
    assert asked
    assert asked[0][1] <= 200 - 48  # not before some tens of items
    assert max(pace for pace, _ in asked) < 0.5 / 48  # the start is not in it


def test_a_network_given_up_is_not_decoded_for(small_groups, tmp_path, toys, heights):
    sources, digests = toys.items(200)
    kept, given_up = toys.Toy(batch=4), toys.Toy(name="other@1", key="other", height=40, batch=4)
    toys.extracted(sources, digests, Store(tmp_path), kept, given_up, replan=lambda *_: ["other@1"])
    assert heights.count(kept.height) == 200
    assert heights.count(40) < 80  # those it takes to know the pace, and those decoded ahead
