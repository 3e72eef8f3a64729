"""The verdict's rules, its error rates on simulated models, and its advice."""

import numpy as np
import pytest

from headway.errors import OptionError
from headway.evaluate import compare
from headway.evaluate.metrics import balanced_accuracy
from headway.evaluate.verdict import decide, items_needed
from headway.types import Interval


def said(rng, y, recall, classes):
    return np.where(rng.random(len(y)) < recall, y, (y + rng.integers(1, classes, size=len(y))) % classes)


def world(seed, *, n=120, classes=4, transfer=0.8, classical=0.6, chance=0.3):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    arms = {
        "classical": said(rng, y, classical, classes),
        "random": said(rng, y, chance, classes),
        "prior": np.zeros(n, int),
    }
    validation = {"classical": classical, "random": chance, "prior": 1 / classes}
    return y, said(rng, y, transfer, classes), arms, validation


def verdict_of(seed, *, permuted=False, resamples=400, **kinds):
    y, transfer, arms, validation = world(seed, **kinds)
    if permuted:
        y = np.random.default_rng([seed, 1]).permutation(y)
    return decide(y, transfer=transfer, arms=arms, validation=validation, seed=seed, resamples=resamples)


def outcomes(runs, **kinds):
    found = [verdict_of(seed, **kinds).outcome for seed in range(runs)]
    return {name: found.count(name) for name in ("helps", "equivalent", "harms", "undecided")}


def test_permuted_test_labels_are_never_said_to_help():
    """At most half of alpha / 2, as transfer has to beat its rival and chance alike."""
    assert outcomes(200, permuted=True, transfer=0.9, classical=0.6)["helps"] <= 2


@pytest.mark.parametrize(("n", "classes"), [(60, 2), (130, 13)])
def test_permuted_labels_at_other_sizes(n, classes):
    assert outcomes(60, permuted=True, n=n, classes=classes, transfer=0.9, classical=0.7)["helps"] <= 1


def test_permuted_labels_of_uneven_classes():
    helped = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.array([0] * 80 + [1] * 25 + [2] * 15)
        arms = {"classical": said(rng, y, 0.5, 3), "prior": np.zeros(120, int)}
        validation = {"classical": 0.5, "prior": 1 / 3}
        transfer = said(rng, y, 0.9, 3)
        y = rng.permutation(y)
        helped += decide(y, transfer=transfer, arms=arms, validation=validation, seed=seed).outcome == "helps"
    assert helped <= 1


def test_a_better_transfer_is_found_and_never_called_harmful():
    clear = outcomes(60, transfer=0.85, classical=0.55)
    assert clear["helps"] >= 57 and clear["harms"] == 0
    slight = outcomes(60, transfer=0.65, classical=0.6)
    assert slight["harms"] == 0 and slight["helps"] < 30


def test_a_better_arm_is_found_and_shipped():
    found = outcomes(60, transfer=0.5, classical=0.85)
    assert found["harms"] >= 57 and found["helps"] == 0
    verdict = verdict_of(0, transfer=0.5, classical=0.85)
    assert verdict.high < 0 and verdict.p < 0.05 and verdict.advice.startswith("Do not ship the transferred model")


def test_equally_good_models_are_seldom_told_apart():
    found = outcomes(100, n=200, transfer=0.7, classical=0.7)
    assert found["helps"] <= 6 and found["harms"] <= 6


def test_identical_predictions_are_equivalent_once_the_items_suffice():
    for n, outcome in ((600, "equivalent"), (200, "equivalent"), (40, "undecided"), (8, "undecided")):
        y, transfer, arms, validation = world(0, n=n)
        arms["classical"] = transfer
        verdict = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0)
        assert (verdict.outcome, verdict.effect, verdict.p) == (outcome, 0.0, 1.0)
        assert verdict.low < 0 < verdict.high


def test_the_items_asked_for_do_settle_identical_predictions():
    y, transfer, arms, validation = world(0, n=40)
    arms["classical"] = transfer
    advice = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0).advice
    more = int(advice.split("about ")[1].split(" more")[0])
    total = 4 * ((40 + more) // 4 + 1)
    y, transfer, arms, validation = world(0, n=total)
    arms["classical"] = transfer
    assert decide(y, transfer=transfer, arms=arms, validation=validation, seed=0).outcome == "equivalent"
    assert total < 200


def test_the_items_asked_for_give_the_promised_power():
    effect = Interval(value=0.1, low=-0.05, high=0.25)
    total = items_needed(effect, 0.19, n=100, discordant=30, margin=0.001)
    assert total == pytest.approx(100 * ((1.96 + 0.8416) / (0.1 / 0.0765)) ** 2, rel=0.02)
    sure = Interval(value=0.3, low=0.05, high=0.55)
    assert items_needed(sure, 0.2, n=12, discordant=4, margin=0.001) > items_needed(sure, 0.04, n=12, discordant=4)
    assert items_needed(sure, 0.04, n=12, discordant=1) >= 72  # six discordant pairs are the least
    assert (
        items_needed(effect, 0.19, n=100, discordant=30, margin=0.5) < total
    )  # holding it within a wide margin is easy


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_handful_of_items_decides_nothing(n):
    y = np.arange(n) % 2
    verdict = decide(
        y, transfer=y, arms={"classical": 1 - y, "prior": 0 * y}, validation={"classical": 0.6, "prior": 0.5}, seed=0
    )
    assert verdict.outcome == "undecided"
    assert f"Undecided on {n} test items" in verdict.advice and "more test items would settle it" in verdict.advice


def test_one_class_of_test_items_and_one_item_still_give_a_verdict():
    for y in (np.zeros(1, int), np.zeros(30, int)):
        verdict = decide(y, transfer=y, arms={"prior": y}, validation={"prior": 0.5}, seed=0)
        assert verdict.outcome == "undecided"


def test_against_is_chosen_by_validation_not_by_the_test_set():
    y, transfer, arms, _ = world(0, n=400, transfer=0.75, classical=0.5, chance=0.9)
    validation = {"classical": 0.8, "random": 0.3, "prior": 0.25}
    verdict = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0)
    assert verdict.against == "classical" and verdict.low > 0 and verdict.p < 0.05
    assert verdict.outcome == "undecided"  # the arm that validation underrated did better
    assert "random weights did at least as well" in verdict.advice
    validation["random"] = 0.81
    assert decide(y, transfer=transfer, arms=arms, validation=validation, seed=0).outcome == "harms"


def test_beating_a_rival_below_chance_is_not_help():
    y = np.arange(200) % 2
    transfer, classical = np.where(np.arange(200) % 100 < 53, y, 1 - y), np.where(np.arange(200) < 40, y, 1 - y)
    arms, validation = {"classical": classical, "prior": 0 * y}, {"classical": 0.6, "prior": 0.5}
    verdict = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0)
    assert verdict.low > 0 and verdict.p < 0.05 and balanced_accuracy(y, transfer) > 0.5
    assert verdict.outcome == "undecided" and "not reliably above chance" in verdict.advice


def test_balanced_accuracy_counts_not_accuracy():
    """The common class alone gives 90 % accuracy; the transfer knows the rare class."""
    rng = np.random.default_rng(0)
    y = np.array([0] * 270 + [1] * 30)
    transfer = np.where(y == 1, 1, (rng.random(300) < 0.25).astype(int))
    arms, validation = {"classical": 0 * y, "prior": 0 * y}, {"classical": 0.55, "prior": 0.5}
    verdict = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0)
    assert (transfer == y).mean() < 0.85 < (y == 0).mean()
    assert verdict.outcome == "helps" and verdict.metric == "balanced_accuracy"


def test_the_numbers_are_those_of_the_comparison():
    y, transfer, arms, validation = world(3)
    verdict = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0)
    raw = [compare.mcnemar_exact(transfer == y, arms[name] == y).p for name in ("classical", "random", "prior")]
    assert verdict.p == pytest.approx(compare.holm(raw)[0])
    assert verdict.effect == pytest.approx(balanced_accuracy(y, transfer) - balanced_accuracy(y, arms["classical"]))
    assert verdict.low < verdict.effect < verdict.high
    assert set(verdict.arms) == {"transfer", "classical", "random", "prior"}
    assert all(found.low <= found.value <= found.high for found in verdict.arms.values())
    assert verdict.arms["prior"].value == 0.25
    assert verdict == decide(y, transfer=transfer, arms=arms, validation=validation, seed=0)


def test_the_advice_has_the_numbers_and_the_callers_words():
    y, transfer, arms, validation = world(1, n=400, transfer=0.9, classical=0.5)
    wording = {"classical": "colour and gradient histograms"}
    verdict = decide(y, transfer=transfer, arms=arms, validation=validation, seed=0, wording=wording)
    numbers = f"{verdict.effect * 100:.1f} points [{verdict.low * 100:.1f}, {verdict.high * 100:.1f}]"
    assert verdict.advice == f"Ship the transferred model: it is {numbers} better than colour and gradient histograms."


@pytest.mark.parametrize(
    ("arms", "validation"),
    [
        ({"classical": [0, 1]}, {"classical": 0.5}),
        ({"prior": [0, 0]}, {}),
        ({"prior": [0, 0]}, {"prior": float("nan")}),
        ({"prior": [0, 0, 0]}, {"prior": 0.5}),
        ({"prior": [0, 0], "transfer": [0, 0]}, {"prior": 0.5, "transfer": 0.5}),
    ],
)
def test_refuses_arms_that_do_not_fit(arms, validation):
    with pytest.raises(OptionError):
        decide([0, 1], transfer=[0, 1], arms=arms, validation=validation, seed=0)
