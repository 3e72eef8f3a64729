"""When training from scratch would catch up: known crossings are found, and what cannot be told says why."""

import numpy as np
import pytest

from headway.evaluate.curve import FARTHEST_CROSSING, Curve, fit_curve
from headway.recipe.scratch import Scratch
from headway.recipe.value import caught_up

SIZES = np.array([50.0, 100, 200, 400])
N, ITEMS = 500, 3000


def err(law, n):
    a, b, c = law
    return a + b * np.asarray(n, float) ** -c


def of_items(law, sizes=SIZES):
    """A curve whose items are wrong as often as the law says, to within one item; the hard ones are hard for all."""
    wrong = np.arange(ITEMS) < err(law, sizes)[:, None] * ITEMS
    items = (~wrong).astype(float)[None]
    return Curve(sizes=sizes, scores=items.mean(2), items=items)


def transfer(law):
    return fit_curve(Curve(sizes=SIZES, scores=1 - np.repeat(err(law, SIZES)[None], 3, 0)))


def told(transfer_law, scratch, classes=10):
    return caught_up(transfer(transfer_law), scratch, labels=N, classes=classes, seed=0)


def test_a_known_crossing_is_found_with_an_interval_that_holds_it():
    better, scratch = (0.1, 0.0, 1.0), (0.0, 4.0, 0.4)
    truth = (4.0 / 0.1) ** (1 / 0.4)
    found = told(better, Scratch(curve=of_items(scratch)))
    assert found["labels"] == pytest.approx(truth, rel=0.1)
    assert found["low"] <= truth
    assert found["high"] is None or found["high"] >= truth
    assert found["why"] is None and found["beyond"] is None
    assert [point["n"] for point in found["points"]] == SIZES.tolist()
    assert found["points"][-1]["value"] == pytest.approx(1 - err(scratch, 400), abs=2 / ITEMS)


def test_a_crossing_beyond_a_hundred_times_the_labels_is_none():
    found = told((0.02, 0.0, 1.0), Scratch(curve=of_items((0.2, 4.0, 0.5))))  # stays above for ever
    assert found["labels"] is found["low"] is found["high"] is None
    assert found["beyond"] == FARTHEST_CROSSING * N
    assert "100 times" in found["why"]


def test_scratch_at_chance_is_said_to_be():
    found = told((0.1, 0.0, 1.0), Scratch(curve=of_items((0.895, 0.0, 1.0))), classes=10)
    assert found["labels"] is None and found["beyond"] is None
    assert "chance" in found["why"]
    assert found["points"]  # what was measured is kept
    above = told((0.1, 0.0, 1.0), Scratch(curve=of_items((0.895, 0.0, 1.0))), classes=100)
    assert "chance" not in (above["why"] or "")


def test_without_a_curve_the_reason_is_the_arms_own():
    found = told((0.1, 0.0, 1.0), Scratch(why="it did not fit the budget"))
    assert found == {
        "labels": None, "low": None, "high": None, "beyond": None, "why": "it did not fit the budget", "points": [],
    }  # fmt: skip


def test_a_transfer_whose_curve_is_of_no_use_promises_nothing():
    short = fit_curve(Curve(sizes=SIZES[:3], scores=np.full((2, 3), 0.9)))
    found = caught_up(short, Scratch(curve=of_items((0.0, 4.0, 0.4))), labels=N, classes=10, seed=0)
    assert found["labels"] is None and found["beyond"] is None
    assert "too few" in found["why"]
