"""The one look at the test sentences, and what a tagging run says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from headway.evaluate.compare import corrected_resampled_t
from headway.evaluate.metrics import measure, metric_interval
from headway.evaluate.taggers import Lines, TagResult, tag
from headway.evaluate.verdict import decide
from headway.features.words import gather, states_key, word_digests
from headway.linear.chain import padded
from headway.recipe.manifest import versions
from headway.recipe.session import Session
from headway.recipe.tag_networks import Reader
from headway.seeds import seed_of
from headway.tasks import tagging
from headway.types import Dataset, IntArray, Interval, Record, Verdict

WORDING = {
    "classical": "the same probe on words, affixes, shapes and neighbours without a pretrained network",
    "random": "the same network with random weights",
    "prior": tagging.PRIOR,
}
REFERENCE = (
    "Ratnaparkhi, EMNLP 1996 (a probe a word); Viterbi, IEEE Trans. Information Theory 13, 1967; states of a frozen "
    "network as features: Tenney et al., ICLR 2019"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagProof:
    """What the test sentences said. ``test`` are the metrics of ``shipped``."""

    results: tuple[TagResult, ...]
    shipped: TagResult
    verdict: Verdict
    tests: dict[str, dict[str, float]]
    test: dict[str, Interval]
    comparison: list[dict[str, Any]]
    records: tuple[Record, ...]
    touched: str


def prove(
    transfer: TagResult, arms: Sequence[TagResult], testing: Lines, *, readers: Mapping[str, Reader], session: Session
) -> TagProof:
    """Tag the test sentences by every arm and decide; sentences are resampled, and swapped, whole.

    ``readers`` are the networks of the arms that read states, by the arm's name. Shipped is the transferred tagger
    unless it harms, or is not shown to help while an arm without transfer was at least as good in validation.
    """
    touched = datetime.now(UTC).isoformat(timespec="seconds")
    seed, primary = session.seed, testing.metrics[0]
    results = (transfer, *arms)
    said = {result.arm: _said(result, testing, readers, session) for result in results}
    verdict = decide(
        testing.tags,
        transfer=said["transfer"],
        arms={arm.arm: said[arm.arm] for arm in arms},
        validation={arm.arm: arm.score for arm in arms},
        seed=seed,
        wording=WORDING,
        metric=primary,
    )
    rival = next(arm for arm in arms if arm.arm == verdict.against)
    beaten = verdict.outcome != "helps" and rival.score >= transfer.score
    shipped = rival if verdict.outcome == "harms" or beaten else transfer
    test = {
        m: metric_interval(m, testing.tags, said[shipped.arm], seed=seed_of(seed, "test", m)) for m in testing.metrics
    }
    return TagProof(
        results=results,
        shipped=shipped,
        verdict=verdict,
        tests=_tests(transfer, rival, primary),
        test=test,
        comparison=[_line(result, said[result.arm], testing, seed=seed) for result in results],
        records=tuple(record for r in results for record in _records(r, said[r.arm], testing, seed=seed)),
        touched=touched,
    )


def manifest(
    proof: TagProof,
    *,
    dataset: Dataset,
    scheme: str,
    parts: tuple[IntArray, IntArray],
    ranking: Sequence[Mapping[str, Any]],
    session: Session,
) -> dict[str, Any]:
    """Plain JSON with the keys of every run's manifest (:func:`headway.recipe.manifest.manifest_of`)."""
    assert isinstance(dataset.targets, tuple)
    counts = np.bincount(_flat(tagging.numbered([tuple(t) for t in dataset.targets], dataset.classes)))
    return {
        "task": "tagging",
        "modality": "text",
        "classes": list(dataset.classes),
        "chosen": _chosen(proof.shipped),
        "test": {metric: asdict(interval) for metric, interval in proof.test.items()},
        "verdict": {
            **asdict(proof.verdict),
            "arms": {arm: asdict(interval) for arm, interval in proof.verdict.arms.items()},
            "tests": proof.tests,
        },
        "ranking": [dict(line) for line in ranking],
        "contenders": [{**_chosen(r), "validation": r.score, "seconds": r.seconds} for r in proof.results],
        "comparison": proof.comparison,
        "timings": session.timings,
        "budget": session.deadline.seconds,
        "cut": session.cut,
        "findings": [asdict(finding) for finding in session.findings],
        "seed": session.seed,
        "test_touched": proof.touched,
        "versions": versions(),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "items": len(dataset.names),
            "train": len(parts[0]),
            "test": len(parts[1]),
            "words": int(counts.sum()),
            "scheme": scheme,
            "per_class": dict(zip(dataset.classes, counts.tolist(), strict=False)),
        },
    }


def _flat(tags: IntArray) -> IntArray:
    return tags[tags >= 0]


def _said(result: TagResult, testing: Lines, readers: Mapping[str, Reader], session: Session) -> IntArray:
    X = None
    if result.tagger.blocks:
        key = states_key(readers[result.arm].network)
        digests = word_digests(testing.sentences)
        X = gather(session.store, key, digests, testing.lengths, result.tagger.blocks)
    return padded(tag(result.tagger, testing.sentences, X), testing.tags.shape[1])


def _tests(transfer: TagResult, rival: TagResult, primary: str) -> dict[str, dict[str, float]]:
    """A second opinion beside the verdict: the validation folds."""
    own, other = ({r.fold: r.value for r in x.records if r.metric == primary} for x in (transfer, rival))
    gaps = [own[fold] - other[fold] for fold in sorted(own.keys() & other.keys())]
    if len(gaps) < 2:
        return {}
    n = transfer.records[0].n_train
    held_out = max(n // len(gaps), 1)
    test, interval = corrected_resampled_t(gaps, n_train=max(n - held_out, 1), n_test=held_out)
    return {"corrected_t": {"p": test.p, "effect": test.effect, "low": interval.low, "high": interval.high}}


def _records(result: TagResult, said: IntArray, testing: Lines, *, seed: int) -> list[Record]:
    return [
        Record(
            arm=result.arm,
            backbone=result.backbone,
            method=result.method,
            params=result.params,
            split="test",
            fold=0,
            seed=seed,
            metric=metric,
            value=measure(metric, testing.tags, said),
            n_train=result.records[0].n_train,
            seconds=0.0,
        )
        for metric in testing.metrics
    ]


def _line(result: TagResult, said: IntArray, testing: Lines, *, seed: int) -> dict[str, Any]:
    """A line of ``headway compare``; there is no arm from scratch to gain on."""
    primary = testing.metrics[0]
    interval = metric_interval(primary, testing.tags, said, seed=seed_of(seed, "compare", result.arm))
    head, solution = result.tagger.head, result.tagger.solution
    numbers = head.weight.size + head.bias.size if head is not None else 0
    numbers += solution.weight.size + solution.bias.size if solution is not None else 0
    return {
        "arm": result.arm,
        "backbone": result.backbone,
        "method": result.method,
        "cut": None,
        "test": asdict(interval),
        "gain": None,
        "seconds": round(result.seconds, 2),
        "trainable": int(numbers),
    }


def _chosen(result: TagResult) -> dict[str, Any]:
    return {
        "arm": result.arm,
        "backbones": [result.backbone] if result.tagger.blocks else [],
        "features": f"{result.backbone}, {result.params.get('blocks')}" if result.tagger.blocks else result.backbone,
        "method": result.method,
        "params": dict(result.params),
        "temperature": 1.0,
        "reference": REFERENCE,
    }
