"""Metrics of texts against sacreBLEU and rouge-score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from headway.errors import DataError, OptionError
from headway.evaluate import metrics, paired
from headway.evaluate.metrics import measure, metric_interval
from headway.evaluate.metrics_seq2seq import METRICS
from headway.evaluate.verdict import decide
from headway.tasks import seq2seq
from headway.tasks.seq2seq import texts

WORDS = st.lists(
    st.sampled_from(["le", "chat", "%(name)s", "dort", ".", "été", "l’eau", "猫", "и", "a b"]), max_size=9
).map(" ".join)
CORPUS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(CORPUS)
def test_chrf_and_bleu_are_sacrebleus(corpus):
    truth, said = texts([a for a, _ in corpus]), texts([b for _, b in corpus])
    assert 100 * measure("chrf", truth, said) == pytest.approx(
        CHRF().corpus_score(list(said), [list(truth)]).score, abs=1e-9
    )
    assert 100 * measure("bleu", truth, said) == pytest.approx(
        BLEU().corpus_score(list(said), [list(truth)]).score, abs=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), max_size=9)] * 2), min_size=1
    )
)
def test_rouge_is_rouge_scores_on_english_words(corpus):
    truth, said = (texts([" ".join(pair[side]) for pair in corpus]) for side in (0, 1))
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for kind in ("rouge1", "rouge2", "rougeL"):
        found = np.mean([scorer.score(t, s)[kind].fmeasure for t, s in zip(truth, said, strict=True)])
        assert measure(kind, truth, said) == pytest.approx(found, abs=1e-12)


def test_rouge_counts_words_that_are_not_english():
    truth = texts(["été бег", "猫"])
    assert measure("rouge1", truth, truth) == 1.0


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_1_for_the_truth_and_0_for_nothing(name):
    truth = texts(["le chat dort sur le lit", "il fait beau dans la ville"])
    assert measure(name, truth, truth) == pytest.approx(1.0)
    assert measure(name, truth, texts(["", ""])) == 0.0


def test_weights_are_copies_of_items():
    truth, said = texts(["le chat", "un chien", "une eau"]), texts(["le chien", "un chien", "eau"])
    twice = np.array([0, 0, 1, 2, 2, 2])
    for name in ("chrf", "bleu", "rougeL"):
        assert measure(name, truth, said, weight=[2, 1, 3]) == pytest.approx(measure(name, truth[twice], said[twice]))


def test_texts_are_told_from_other_targets():
    truth = texts(["a", "b"])
    assert metrics.link_of(truth) == "text" and metrics.task_of(truth) is seq2seq
    with pytest.raises(OptionError, match="as many predictions"):
        measure("chrf", truth, texts(["a"]))
    with pytest.raises(OptionError, match="texts"):
        measure("chrf", truth, np.array([1, 2], object))
    with pytest.raises(DataError, match="nothing to measure"):
        measure("chrf", texts([]), texts([]))
    with pytest.raises(OptionError, match="no such metric"):
        measure("accuracy", truth, truth)


def test_the_interval_holds_the_value_and_shrinks_with_items():
    rng = np.random.default_rng(0)
    truth = texts([" ".join(rng.choice(["a", "b", "c", "d"], 8)) for _ in range(200)])
    said = texts([" ".join(rng.choice(["a", "b", "c", "d"], 8)) for _ in range(200)])
    few, many = (metric_interval("chrf", truth[:n], said[:n]) for n in (20, 200))
    assert few.low < few.value < few.high and many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low


def test_the_verdict_of_texts_is_paired():
    rng = np.random.default_rng(1)
    truth = [" ".join(rng.choice(["rouge", "bleu", "vert", "chat", "chien"], 5)) for _ in range(60)]
    near = [text.replace("bleu", "noir") for text in truth]
    arms = {"copy": texts(["red blue"] * 60), "prior": texts([truth[0]] * 60)}
    found = decide(
        texts(truth), transfer=texts(near), arms=arms, validation={"copy": 0.2, "prior": 0.3}, seed=0, metric="chrf"
    )
    assert found.outcome == "helps" and found.against == "prior" and found.low > 0
    assert found.effect == pytest.approx(measure("chrf", truth, near) - measure("chrf", truth, arms["prior"]))
    same = paired.paired_test("chrf", texts(truth), texts(near), texts(near))
    assert same.p == 1.0 and same.effect == 0.0 and same.n == 0
