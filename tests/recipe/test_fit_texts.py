"""Texts from a table to a verdict and back to predictions, with a network and without."""

from __future__ import annotations

import numpy as np
import pytest

from headway.data.read import read
from headway.evaluate import contenders
from headway.evaluate.contenders import Arena
from headway.evaluate.loop import predict, validate
from headway.features.fitted import fitted
from headway.features.store import Store
from headway.recipe.fit import fit
from headway.run import open_run
from headway.run.model import Model
from headway.run.write import finish, save_model

SPORT = ("goal", "match", "striker", "referee", "league", "coach")
MARKET = ("shares", "bank", "profit", "forecast", "market", "dividend")
PLAIN = ("the", "a", "of", "yesterday", "after", "with", "new", "said", "two")


def _texts(n, seed=0):
    rng = np.random.default_rng(seed)
    own = [rng.choice(SPORT if row % 2 else MARKET, 2) for row in range(n)]
    found = [" ".join(rng.permutation([*words, *rng.choice(PLAIN, 9)])) for words in own]
    return found, ["sport" if row % 2 else "business" for row in range(n)]


def test_classical_features_are_learnt_from_the_arena_alone_and_shipped(tmp_path, fresh_cache):
    texts, labels = _texts(60)
    texts[50] = "unheard-of words only here"
    dataset = read((texts, labels))
    train = np.arange(40)
    words = fitted(dataset, dataset.digests[train])
    assert words is not None
    assert not any("unheard" in term for terms in words.model.terms for term in terms)
    store = Store(tmp_path / "store")
    y = np.asarray(dataset.targets)
    arena = Arena(
        store=store,
        digests=dataset.digests[train],
        y=y[train],
        classes=2,
        folds=train % 4,
        groups=train,
    )
    result = validate(contenders.learnt(words, arena=arena), metrics=("accuracy",), primary="accuracy", seed=0)
    assert result.score > 0.9
    assert not list((tmp_path / "store").glob("*"))  # they belong to this run alone

    head = result.adapted.head
    expected = predict(head, result.contender.matrix(dataset.digests[40:]))
    out = tmp_path / "run"
    out.mkdir()
    model = Model(
        modality="text",
        task="classification",
        classes=dataset.classes,
        head=head,
        classical=True,
        learnt=words.model,
    )
    save_model(out, model)
    finish(out, {"classes": list(dataset.classes), "task": "classification"})
    said = open_run(out).predict(texts[40:])
    np.testing.assert_allclose(said.probabilities, expected, atol=1e-5)


@pytest.mark.samples
def test_a_table_of_texts_reaches_a_verdict_and_predicts_what_it_measured(tmp_path, weights_cache, fresh_cache):
    texts, labels = _texts(60)
    run = fit((texts, labels), out=tmp_path / "run", models=["*minilm_l6*"], method="probe", budget=300)
    manifest = run.manifest
    assert {record.arm for record in run.records()} == {"transfer", "classical", "random", "prior"}
    backbones = {record.backbone for record in run.records() if record.arm == "transfer"}
    assert "packaged:minilm_l6.sentences (cls)" in backbones
    assert "TF-IDF" in str(manifest) or manifest["verdict"]["against"] != "classical"
    assert manifest["cut"] == {}
    more, truth = _texts(40, seed=9)
    said = open_run(tmp_path / "run").predict(more)
    assert np.mean(np.array(said.labels) == np.array(truth)) > 0.85
    few = open_run(tmp_path / "run").predict(more[:2])  # one by one
    np.testing.assert_allclose(few.probabilities, said.probabilities[:2], atol=0.02)
