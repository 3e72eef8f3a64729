"""A tiny BERT up the ladder: pairs, parts and adapters, from a cut whose states are computed once."""

from __future__ import annotations

import numpy as np
import pytest

from headway.recipe import fit

SPORT, MARKET, PLAIN = ("goal", "match", "song"), ("share", "market", "law"), ("the", "on", "cat", "sat", "rain", "mat")


def _texts(n, seed=0):
    """One word tells the class, among one to six that tell nothing."""
    rng = np.random.default_rng(seed)
    own = [rng.choice(SPORT if row % 2 else MARKET, 1) for row in range(n)]
    found = [" ".join(rng.permutation([*words, *rng.choice(PLAIN, 1 + row % 6)])) for row, words in enumerate(own)]
    return found, ["sport" if row % 2 else "business" for row in range(n)]


@pytest.fixture(scope="module")
def folder(text_backbone, tmp_path_factory):
    return text_backbone.bert_folder(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("method", ["contrastive", "partial", "lora"])
def test_a_pinned_method_is_tuned_shipped_and_predicts(method, folder, tmp_path, fresh_cache):
    run = fit(
        _texts(60), out=tmp_path / "run", models=[f"transformers:{folder}"], budget=60, offline=True, method=method
    )
    (rung,) = [rung for rung in run.manifest["ladder"] if rung["method"] == method]
    assert rung["rung"] == "pinned" and rung["state"] == "climbed", rung["why"]
    assert rung["cut"] == "model.encoder.layer.1"
    texts, labels = _texts(40, seed=5)
    assert len(run.predict(texts).probabilities) == len(labels)


def test_few_labels_are_tuned_by_pairs_first_within_the_budget(folder, tmp_path, fresh_cache):
    run = fit(_texts(40), out=tmp_path / "run", models=[f"transformers:{folder}"], budget=60, offline=True)
    rungs = [rung["rung"] for rung in run.manifest["ladder"]]
    first = rungs.index("contrastive")
    assert rungs[first:].index("partial") > 0 and {"low-rank", "full"} <= set(rungs)
    assert "kNN" in rungs[:first]
    climbed = next(rung for rung in run.manifest["ladder"] if rung["rung"] == "contrastive")
    assert climbed["validation"] is not None, climbed["why"]
    assert run.manifest["timings"]["total"] < 60


def test_the_same_seed_tunes_to_the_same_predictions(folder, tmp_path, fresh_cache):
    texts, _ = _texts(12, seed=7)
    said = []
    for place in ("one", "two"):
        run = fit(
            _texts(40),
            out=tmp_path / place,
            models=[f"transformers:{folder}"],
            budget=60,
            offline=True,
            method="contrastive",
        )
        said.append(run.predict(texts).probabilities)
    assert np.array_equal(said[0], said[1])
