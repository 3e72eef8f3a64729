"""The whole way for labels and for numbers: choosing, the verdict, the run folder, predictions, evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from headway.errors import DataError, RunError
from headway.recipe import rank
from headway.recipe.evaluation import evaluate
from headway.run import open_run
from headway.tasks import multilabel, regression


def digits(n, *, start=0):
    """Handwritten digits as ``[n, 48, 48]`` bytes and what ink each holds, 0..1."""
    from sklearn.datasets import load_digits

    grey = load_digits().images[start : start + n]
    return (grey * 15).astype(np.uint8).repeat(6, axis=1).repeat(6, axis=2), grey.mean(axis=(1, 2)) / 16


def pairs(n, *, seed=0):
    """Two digits of 0..4 in one picture ``[n, 24, 48]``, and which of them; every ninth holds none, but an eight."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    low, eights = np.flatnonzero(y < 5), np.flatnonzero(y == 8)
    rows = np.where(np.arange(n)[:, None] % 9 == 0, rng.choice(eights, (n, 2)), rng.choice(low, (n, 2)))
    grey = (X.reshape(-1, 8, 8)[rows] * 15).astype(np.uint8)
    images = np.concatenate([grey[:, 0], grey[:, 1]], axis=2).repeat(3, axis=1).repeat(3, axis=2)
    return images, [sorted({str(y[a]), str(y[b])} - {"8"}) for a, b in rows]


def ovals(n, *, seed=0):
    """A speckled oval of any size, place and turn on a plain ground ``[n, 96, 96, 3]``, and how round it is, 0.2..1."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    pictures, roundness = [], rng.uniform(0.2, 1, n)
    for ratio in roundness:
        half = rng.uniform(20, 36)
        ground = Image.new("RGB", (96, 96), tuple(rng.integers(0, 256, 3).tolist()))
        mask = Image.new("L", (96, 96))
        ImageDraw.Draw(mask).ellipse((48 - half, 48 - half * ratio, 48 + half, 48 + half * ratio), fill=255)
        speckled = Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        ground.paste(speckled, tuple(rng.integers(-8, 9, 2).tolist()), mask.rotate(rng.uniform(0, 180)))
        pictures.append(np.asarray(ground))
    return np.stack(pictures), roundness


NETWORK = "*lite0*"


@pytest.fixture
def full(fresh_cache):
    """Fit with a pretrained network, and time enough."""
    from headway.recipe import fit

    def run(data, out, **options):
        return fit(data, out=out, **{"models": [NETWORK], "budget": 300, "method": "probe", **options})

    return run


# --- labels -------------------------------------------------------------------------------------


def test_labels_the_whole_way(full, tmp_path):
    images, labels = pairs(220)
    run = full((images, labels), tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert (run.task, run.classes) == ("multilabel", ("0", "1", "2", "3", "4"))
    assert set(manifest["test"]) == set(multilabel.METRICS)
    verdict = manifest["verdict"]
    assert verdict["metric"] == "mean_average_precision"
    assert set(verdict["arms"]) == {"transfer", "classical", "random", "prior"}
    assert verdict["arms"]["transfer"]["value"] > 0.75 > 0.4 > verdict["arms"]["prior"]["value"]
    assert len(manifest["chosen"]["thresholds"]) == 5
    assert manifest["data"]["per_class"] == {name: sum(name in row for row in labels) for name in "01234"}
    assert {line["method"] for line in manifest["contenders"]} == {"ridge", "logistic", "prior"}
    assert set(manifest["ranking"][0]["scores"]) == {"loo_ridge", "loo_knn", "logme"}
    assert any(f["check"] == "items_without_label" for f in manifest["findings"])
    assert {r.metric for r in run.records()} == set(multilabel.METRICS)

    new, truth = pairs(90, seed=1)
    said = open_run(tmp_path / "run").predict(new)
    assert (said.task, said.values, said.probabilities.shape) == ("multilabel", None, (90, 5))
    on = said.probabilities >= manifest["chosen"]["thresholds"]
    assert said.labels == tuple(tuple(np.array(run.classes)[row]) for row in on)
    Y = np.array([[name in row for name in run.classes] for row in truth]).astype(int)
    assert sk.average_precision_score(Y, said.probabilities) > 0.7
    found = evaluate(run, (new, truth)).metrics
    assert list(found) == ["n", *multilabel.METRICS]
    assert found["mean_average_precision"] == pytest.approx(sk.average_precision_score(Y, said.probabilities))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(Y, on))
    assert found["ece"] < 0.12
    with pytest.raises(DataError, match="the model does not know"):
        evaluate(run, (new[:2], [["7"], ["1"]]))


def test_shuffled_labels_never_help(full, tmp_path):
    images, labels = pairs(120)
    order = np.random.default_rng(0).permutation(120)
    run = full((images, [labels[row] for row in order]), tmp_path / "run")
    assert run.manifest["verdict"]["outcome"] != "helps"


# --- numbers ------------------------------------------------------------------------------------


def test_numbers_the_whole_way(full, tmp_path):
    images, roundness = ovals(160)
    run = full((images, roundness), tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert (run.task, run.classes) == ("regression", ())
    assert set(manifest["test"]) <= set(regression.METRICS) and "r2" in manifest["test"]
    verdict = manifest["verdict"]
    assert (verdict["metric"], verdict["outcome"]) == ("r2", "helps"), verdict["advice"]
    assert verdict["arms"]["transfer"]["value"] > 0.9
    assert abs(verdict["arms"]["prior"]["value"]) < 0.1 and verdict["arms"]["classical"]["value"] < 0.8
    assert "of R²" in verdict["advice"]
    target = manifest["data"]["target"]
    assert target["least"] == roundness.min() and target["mean"] == pytest.approx(roundness.mean())
    assert any(f["check"] == "task" for f in manifest["findings"])
    assert {line["method"] for line in manifest["contenders"]} == {"ridge", "prior"}

    new, truth = ovals(40, seed=1)
    said = open_run(tmp_path / "run").predict(new)
    assert said.probabilities.shape == (40, 0) and said.labels == tuple(said.values.tolist())
    assert sk.r2_score(truth, said.values) > 0.9
    found = evaluate(run, (new, truth)).metrics
    assert list(found) == ["n", *regression.METRICS]
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, said.values))
    assert evaluate(run, (new[:2], np.round(truth[:2]))).metrics["n"] == 2  # whole numbers are numbers here
    assert np.isnan(evaluate(run, (new[:1], truth[:1])).metrics["r2"])


def test_the_ink_of_a_digit_is_a_number_that_classical_features_see_too(full, tmp_path):
    """Whatever the verdict, what is shipped is as good as the best arm, in the target's own unit."""
    images, ink = digits(150)
    run = full((images, ink), tmp_path / "run")
    arms = run.manifest["verdict"]["arms"]
    assert arms["classical"]["value"] > 0.9
    assert run.manifest["test"]["r2"]["value"] > max(arm["value"] for arm in arms.values()) - 0.1
    images, ink = digits(30, start=150)
    said = run.predict(images)
    assert np.abs(said.values - ink).mean() < 0.25 * ink.std()


def test_shuffled_numbers_never_help(full, tmp_path):
    images, roundness = ovals(100)
    run = full((images, np.random.default_rng(0).permutation(roundness)), tmp_path / "run")
    assert run.manifest["verdict"]["outcome"] != "helps"
    assert run.manifest["verdict"]["arms"]["transfer"]["high"] < 0.3


def test_the_unit_of_the_target_changes_numbers_only_by_that_unit(quick, tmp_path):
    images, roundness = ovals(90)
    one = quick((images, roundness), tmp_path / "one")
    other = quick((images, 1000 * roundness - 5), tmp_path / "other")
    assert one.manifest["verdict"]["outcome"] == other.manifest["verdict"]["outcome"]
    for metric, factor in (("r2", 1), ("rmse", 1000), ("mae", 1000), ("spearman", 1)):
        a, b = (run.manifest["test"][metric] for run in (one, other))
        assert b["value"] == pytest.approx(factor * a["value"], rel=1e-3)
        assert b["low"] == pytest.approx(factor * a["low"], rel=1e-2)


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_records_are_the_same_twice(quick, pictures, tmp_path, kind):
    data = pairs(80) if kind == "labels" else ovals(80)
    runs = [quick(data, tmp_path / name) for name in ("one", "two")]
    assert pictures.records_of(runs[0]) == pictures.records_of(runs[1])
    assert pictures.said_of(runs[0]) == pictures.said_of(runs[1])


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_ranking_says_by_what(fresh_cache, kind):
    data = pairs(80) if kind == "labels" else ovals(80)
    ranking = rank(data, models=["random:test_efficientnet@7", "random:test_vit@3"], budget=120)
    assert ranking.task == {"labels": "multilabel", "numbers": "regression"}[kind]
    assert ranking.metric == {"labels": "mean_average_precision", "numbers": "r2"}[kind]
    assert len(ranking.lines) == 2
    for line in ranking.lines:
        assert line.low <= line.score <= line.high and "reg_hscore" not in line.scores


@pytest.mark.parametrize(("kind", "method"), [("labels", "partial"), ("numbers", "full")])
def test_a_network_is_tuned_and_what_is_shipped_is_in_the_users_unit(quick, pictures, tmp_path, kind, method):
    images, targets = pairs(90) if kind == "labels" else ovals(90)
    targets = targets if kind == "labels" else 1000 * targets + 7000
    run = quick((images, targets), tmp_path / "run", method=method, budget=60)
    manifest = run.manifest
    (rung,) = [rung for rung in manifest["ladder"] if rung["rung"] == "pinned"]
    assert rung["state"] == "climbed", rung["why"]
    (tuned,) = [line for line in manifest["contenders"] if line["method"] == method]
    assert tuned["validation"] > -1
    epochs = manifest["curves"][0]["epochs"]
    assert epochs[-1]["train_loss"] < 3  # of numbers near 1, not of thousands squared
    for row in manifest["comparison"]:
        assert row["test"]["value"] > -1, row
    said = run.predict(images)
    if kind == "labels":
        assert run.model().head.link == "sigmoid" and said.thresholds is not None
        Y = np.array([[name in row for name in run.classes] for row in targets]).astype(int)
        assert sk.average_precision_score(Y, said.probabilities) > 0.4
    else:
        assert run.model().head.link == "identity"
        assert np.abs(said.values - targets).mean() < 1.5 * targets.std()


def test_few_items_end_in_words(quick, tmp_path):
    images, roundness = ovals(3)
    with pytest.raises(DataError, match=r"too few|differ"):
        quick((images, roundness), tmp_path / "run", task="regression")


def test_a_small_set_of_numbers_is_walked_to_the_end(quick, tmp_path):
    run = quick(ovals(12), tmp_path / "run", task="regression")
    assert run.manifest["verdict"]["outcome"] in ("undecided", "harms")
    json.dumps(run.manifest, allow_nan=False)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_a_head_of_another_task_is_refused(quick, tmp_path, kind):
    run = quick(pairs(60) if kind == "labels" else ovals(60), tmp_path / "run")
    facts = json.loads((tmp_path / "run/model/model.json").read_text())
    facts["link"] = "softmax"
    (tmp_path / "run/model/model.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="link is 'softmax'"):
        run.predict(np.zeros((1, 8, 8), np.uint8))
