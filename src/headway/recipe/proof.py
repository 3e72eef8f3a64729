"""The one look at the test set: is the transferred model better than doing without transfer, and which one is kept?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.compare import corrected_resampled_t, mcnemar_exact
from headway.evaluate.loop import Result, predict, test_records
from headway.evaluate.metrics import measure, metric_interval
from headway.evaluate.verdict import decide
from headway.features.embed import matrix
from headway.seeds import seed_of
from headway.tasks.classification import METRICS, PRIMARY
from headway.types import ByteArray, IntArray, Interval, Record, Verdict

WORDING = {
    "classical": "colour and gradient histograms without a pretrained network",
    "random": "the same network with random weights",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the test set said. ``test`` are the metrics of ``shipped``."""

    transfer: Result
    shipped: Result
    verdict: Verdict
    tests: dict[str, dict[str, float]]  # transfer against the verdict's rival, by the names of the tests
    test: dict[str, Interval]
    records: tuple[Record, ...]
    touched: str  # when the test set was looked at, UTC


def prove(transfer: Result, arms: Sequence[Result], *, digests: ByteArray, y: IntArray, seed: int) -> Proof:
    """Compare on test items ``digests [n, 16]``, ``y [n]``; nothing is chosen by them but to refuse a harmful transfer.

    Shipped is the transferred model unless it harms, or unless it is not shown to help and an arm without transfer was
    at least as good in validation: then that arm, which is also the cheaper.
    """
    touched = datetime.now(UTC).isoformat(timespec="seconds")
    answers = {result.contender.arm: _answers(result, digests) for result in (transfer, *arms)}
    verdict = decide(
        y,
        transfer=answers["transfer"].argmax(1),
        arms={arm: P.argmax(1) for arm, P in answers.items() if arm != "transfer"},
        validation={result.contender.arm: result.score for result in arms},
        seed=seed,
        wording=WORDING,
    )
    rival = next(result for result in arms if result.contender.arm == verdict.against)
    beaten = verdict.outcome != "helps" and rival.score >= transfer.score
    shipped = rival if verdict.outcome == "harms" or beaten else transfer
    records = [
        record
        for result in (transfer, *arms)
        for record in test_records(
            result, {m: measure(m, y, answers[result.contender.arm]) for m in METRICS}, seed=seed
        )
    ]
    own = answers[shipped.contender.arm]
    return Proof(
        transfer=transfer,
        shipped=shipped,
        verdict=verdict,
        tests=_tests(transfer, rival, answers, y),
        test={m: metric_interval(m, y, own, seed=seed_of(seed, "test", m)) for m in METRICS},
        records=tuple(records),
        touched=touched,
    )


def _tests(
    transfer: Result, rival: Result, answers: dict[str, NDArray[np.float64]], y: IntArray
) -> dict[str, dict[str, float]]:
    """Second opinions beside the verdict: plain accuracy on the test set, and the validation folds."""
    right, rivals = (answers[r.contender.arm].argmax(1) == y for r in (transfer, rival))
    exact = mcnemar_exact(right, rivals)
    found = {"mcnemar_exact": {"p": exact.p, "effect": exact.effect, "discordant": float(exact.n)}}
    folds, rival_folds = (np.array([x.value for x in r.records if x.metric == PRIMARY]) for r in (transfer, rival))
    if len(folds) > 1:
        n = len(transfer.contender.arena.y)
        held_out = max(n // len(folds), 1)
        test, interval = corrected_resampled_t(folds - rival_folds, n_train=max(n - held_out, 1), n_test=held_out)
        found["corrected_t"] = {"p": test.p, "effect": test.effect, "low": interval.low, "high": interval.high}
    return found


def _answers(result: Result, digests: ByteArray) -> NDArray[np.float64]:
    contender = result.contender
    return predict(result.adapted.head, matrix(contender.arena.store, contender.blocks, digests))
