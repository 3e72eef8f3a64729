"""Metrics of texts: truth and prediction ``[n]`` of ``str``. All lie in 0..1: sacreBLEU's own scale is 100 times that.

chrF and BLEU are functions of counts that add up over items, so an interval costs one matrix product; ROUGE is a mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import ModelError
from headway.evaluate.bootstrap import Sums
from headway.evaluate.metric import Metric, per_item, with_ones

ORDER, BETA = 6, 2  # of chrF: characters up to 6, recall counts twice as much as precision
_SMALLEST = 1e-300
ROUGE = ("rouge1", "rouge2", "rougeL")


def chrf_terms(y: Sequence[str], said: Sequence[str]) -> Sums:
    """``[n, 18]``: for each order 1 to 6 the character n-grams said, those of the truth, and those they share.

    Popović (2015), chrF: character n-gram F-score, WMT; white space is left out, as in sacreBLEU's default.
    """
    rows = [_overlaps("".join(text.split()), "".join(truth.split())) for text, truth in zip(said, y, strict=True)]
    return np.array(rows, np.float64).reshape(-1, 3 * ORDER)


def _overlaps(said: str, truth: str) -> list[int]:
    row: list[int] = []
    for order in range(1, ORDER + 1):
        a, b = (Counter(text[i : i + order] for i in range(len(text) - order + 1)) for text in (said, truth))
        # As sacreBLEU counts: what is said of an order that the truth is too short for is left out.
        row += [a.total() if b else 0, b.total(), (a & b).total()]
    return row


def chrf_of(sums: Sums) -> NDArray[np.float64]:
    """chrF from summed counts ``[..., 18]``: F, β = 2, of mean precision and recall over the orders both sides have."""
    said, truth, shared = (sums[..., part::3] for part in range(3))
    there = (said > 0) & (truth > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision, recall = (
        np.divide(shared, side, out=np.zeros_like(side), where=there).sum(axis=-1) / orders for side in (said, truth)
    )
    factor = BETA**2
    score: NDArray[np.float64] = (1 + factor) * precision * recall / np.maximum(factor * precision + recall, _SMALLEST)
    return score


def bleu_terms(y: Sequence[str], said: Sequence[str]) -> Sums:
    """``[n, 10]``: shared and said n-grams of words of orders 1 to 4, then the lengths, in sacreBLEU's 13a tokens."""
    bleu = _sacrebleu().BLEU(effective_order=True)
    rows = []
    for text, truth in zip(said, y, strict=True):
        found = bleu.sentence_score(str(text), [str(truth)])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows, np.float64).reshape(-1, 10)


def bleu_of(sums: Sums) -> NDArray[np.float64]:
    """BLEU from summed counts ``[..., 10]``, with sacreBLEU's smoothing "exp" (Chen and Cherry 2014, method 3)."""
    shared, said, length, truth = sums[..., :4], sums[..., 4:8], sums[..., 8], sums[..., 9]
    none = (shared <= 0) & (said > 0)
    smooth = 0.5 ** np.cumsum(none, axis=-1)
    precision = np.where(none, smooth, shared) / np.maximum(said, 1e-9)
    told = (said > 0).all(axis=-1) & (shared.sum(axis=-1) > 0)
    gain = np.exp(np.log(np.maximum(precision, _SMALLEST)).mean(axis=-1))
    brevity = np.exp(np.minimum(0.0, 1.0 - truth / np.maximum(length, 1e-9)))
    score: NDArray[np.float64] = np.where(told, gain * brevity, 0.0)
    return score


def rouge_terms(y: Sequence[str], said: Sequence[str], kind: str) -> Sums:
    """``[n, 2]``: ones, and each item's ROUGE F1 as the package rouge-score has it (Lin 2004), without stemming."""
    scorer = _scorer(kind)
    return with_ones(np.array([scorer.score(t, s)[kind].fmeasure for t, s in zip(y, said, strict=True)], np.float64))


def _exact_terms(y: Sequence[str], said: Sequence[str]) -> Sums:
    return with_ones(np.array([a == b for a, b in zip(y, said, strict=True)], np.float64))


@cache
def _scorer(kind: str) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise ModelError("ROUGE needs the package rouge-score", todo="Run: pip install 'headway[text]'") from error
    return RougeScorer([kind], use_stemmer=False, tokenizer=_Words())


class _Words:
    """Words of any script in lower case: rouge-score's own tokens are a-z and 0-9, which leaves é and я nothing."""

    def tokenize(self, text: str) -> list[str]:
        import re

        return re.findall(r"\w+", text.lower())


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ModuleNotFoundError as error:
        raise ModelError("BLEU needs the package sacrebleu", todo="Run: pip install 'headway[text]'") from error
    return metrics


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("chrf", chrf_terms, chrf_of, (0.0, 1.0)),
        Metric("bleu", bleu_terms, bleu_of, (0.0, 1.0)),
        *(Metric(k, partial(rouge_terms, kind=k), per_item, (0.0, 1.0)) for k in ROUGE),
        Metric("exact", _exact_terms, per_item, (0.0, 1.0)),
    )
}
