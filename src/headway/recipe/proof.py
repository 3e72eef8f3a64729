"""The one look at the test set: is the transferred model better than doing without transfer, and which one is kept?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.evaluate.compare import corrected_resampled_t, mcnemar_exact
from headway.evaluate.loop import Result, predict, test_records
from headway.evaluate.metrics import measure, metric_interval
from headway.evaluate.verdict import decide
from headway.linear.coding import task_of
from headway.recipe.comparison import comparison
from headway.seeds import seed_of
from headway.types import ByteArray, Interval, Record, Targets, Verdict

CLASSICAL = {"image": "colour and gradient histograms", "text": "TF-IDF of words and characters"}
WORDING = {
    "random": "the same network with random weights",
    "scratch": "the same network trained from scratch for as long",
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
    comparison: list[dict[str, Any]]  # the table of ``headway compare``
    touched: str  # when the test set was looked at, UTC


def prove(
    transfer: Result,
    arms: Sequence[Result],
    *,
    digests: ByteArray,
    y: Targets,
    seed: int,
    shown: Sequence[Result] = (),
    seconds: Mapping[str, float] | None = None,
    modality: str = "image",
) -> Proof:
    """Compare on test items ``digests [n, 16]``; nothing is chosen by them but to refuse a harmful transfer.

    ``shown`` are further models for the table; ``seconds`` what computing a network's features took, by name.

    Shipped is the transferred model unless it harms, or unless it is not shown to help and an arm without transfer was
    at least as good in validation: then that arm, which is also the cheaper.
    """
    touched = datetime.now(UTC).isoformat(timespec="seconds")
    task = task_of(y)
    answers = {result.contender.arm: _answers(result, digests) for result in (transfer, *arms)}
    said = {arm: P.argmax(1) if task.LINK == "softmax" else P for arm, P in answers.items()}
    verdict = decide(
        y,
        transfer=said["transfer"],
        arms={arm: one for arm, one in said.items() if arm != "transfer"},
        validation={result.contender.arm: result.score for result in arms},
        seed=seed,
        wording={
            **WORDING,
            "classical": f"{CLASSICAL[modality]} without a pretrained network",
            "prior": f"always guessing {task.PRIOR}",
        },
        metric=task.PRIMARY,
    )
    rival = next(result for result in arms if result.contender.arm == verdict.against)
    beaten = verdict.outcome != "helps" and rival.score >= transfer.score
    shipped = rival if verdict.outcome == "harms" or beaten else transfer
    records = [
        record
        for result in (transfer, *arms)
        for record in test_records(
            result,
            {
                m: measure(m, y, answers[result.contender.arm], thresholds=result.adapted.head.thresholds)
                for m in task.METRICS
            },
            seed=seed,
        )
    ]
    own, thresholds = answers[shipped.contender.arm], shipped.adapted.head.thresholds
    test = {m: metric_interval(m, y, own, seed=seed_of(seed, "test", m), thresholds=thresholds) for m in task.METRICS}
    others = [(r, _answers(r, digests)) for r in shown if r is not transfer and r.contender.arm == "transfer"]
    table = [*((r, answers[r.contender.arm]) for r in (transfer, *arms)), *_once(others)]
    return Proof(
        transfer=transfer,
        shipped=shipped,
        verdict=verdict,
        tests=_tests(transfer, rival, answers, y),
        test={m: interval for m, interval in test.items() if np.isfinite(interval.value)},
        records=tuple(records),
        comparison=comparison(table, y, seconds=seconds or {}, seed=seed),
        touched=touched,
    )


def _tests(
    transfer: Result, rival: Result, answers: dict[str, NDArray[np.float64]], y: Targets
) -> dict[str, dict[str, float]]:
    """Second opinions beside the verdict: plain accuracy of classes on the test set, and the validation folds."""
    task, found = task_of(y), {}
    if task.LINK == "softmax":
        right, rivals = (answers[r.contender.arm].argmax(1) == y for r in (transfer, rival))
        exact = mcnemar_exact(right, rivals)
        found = {"mcnemar_exact": {"p": exact.p, "effect": exact.effect, "discordant": float(exact.n)}}
    folds, rival_folds = ({x.fold: x.value for x in r.records if x.metric == task.PRIMARY} for r in (transfer, rival))
    gaps = np.array([folds[fold] - rival_folds[fold] for fold in sorted(folds.keys() & rival_folds.keys())])
    if len(gaps) > 1:
        n = len(transfer.contender.arena.y)
        held_out = max(n // len(np.unique(rival.contender.arena.folds)), 1)
        test, interval = corrected_resampled_t(gaps, n_train=max(n - held_out, 1), n_test=held_out)
        found["corrected_t"] = {"p": test.p, "effect": test.effect, "low": interval.low, "high": interval.high}
    return found


def _once(pairs: Iterable[tuple[Result, NDArray[np.float64]]]) -> list[tuple[Result, NDArray[np.float64]]]:
    return list({id(result): (result, P) for result, P in pairs}.values())


def _answers(result: Result, digests: ByteArray) -> NDArray[np.float64]:
    return predict(result.adapted.head, result.contender.matrix(digests))
