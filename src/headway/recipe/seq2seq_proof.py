"""Text to text, the end of it: what each arm says of the test items, the verdict, what is shipped, and the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.errors import DataError
from headway.evaluate.metrics import measure, metric_interval
from headway.evaluate.verdict import decide
from headway.recipe.manifest import versions
from headway.recipe.session import CLOSING, Session
from headway.seeds import seed_of
from headway.tasks import seq2seq
from headway.tasks._plain_answers import copied, led
from headway.tasks.seq2seq import Kind, texts
from headway.types import Dataset, IntArray, Interval, Record, Verdict

if TYPE_CHECKING:
    from headway.engine.author import Author

WORDING = {
    "copy": "the source copied as it is",
    "lead": "the first three sentences of the source",
    "untuned": "the same model untuned, with a few examples in its prompt",
    "scratch": "the same network trained from scratch for as long",
    "prior": f"always answering {seq2seq.PRIOR}",
}
EXAMPLES = 20
_FASTEST = 0.5  # of what is left after each arm may go into the next one's answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The pairs and which of them are learnt from, judged on and tested on; rows of test in random order."""

    dataset: Dataset
    sources: tuple[str, ...]
    targets: NDArray[np.object_]
    fit: IntArray
    judge: IntArray
    test: IntArray
    kind: Kind

    @property
    def metric(self) -> str:
        return seq2seq.primary_of(self.kind)

    def sources_of(self, rows: IntArray) -> list[str]:
        return [self.sources[row] for row in rows]

    def targets_of(self, rows: IntArray) -> list[str]:
        return [str(text) for text in self.targets[rows]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Somebody who answers: a model, or a plain rule. ``said`` are the answers to the validation items."""

    name: str
    method: str
    said: Sequence[str | None]
    author: Author | None = None
    plain: str = ""  # "copy", "lead" or "constant"
    text: str = ""  # the constant
    seconds: float = 0.0
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def backbone(self) -> str:
        return self.author.language.name if self.author else self.name

    def answers(self, sources: Sequence[str], session: Session, deadline: Deadline) -> Sequence[str | None]:
        """Of new sources."""
        if self.author is not None:
            return self.author.write(sources, deadline=deadline, progress=session.progress).texts
        if self.plain == "constant":
            return [self.text] * len(sources)
        return copied(sources) if self.plain == "copy" else led(sources)

    def score(self, data: Data) -> float:
        """The primary metric on the validation items; a missing answer is an empty one."""
        return measure(data.metric, data.targets[data.judge], _filled(self.said))

    def writer_facts(self, kind: Kind) -> dict[str, Any]:
        """What a run's model must know to answer as this arm does."""
        facts: dict[str, Any] = {"arm": self.name, "kind": kind, "writer": self.plain or "network", "text": self.text}
        if self.author is not None:
            own = self.author
            facts |= {"template": own.template.as_json(), "limits": asdict(own.limits), "beams": own.beams}
            facts |= {"language": own.language.name, "encoder_decoder": own.language.encoder_decoder}
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class TextProof:
    """What the test set said."""

    shipped: Arm
    verdict: Verdict
    test: dict[str, Interval]
    records: tuple[Record, ...]
    examples: list[dict[str, str]]
    rows: int
    touched: str


def validation_of(name: str, author: Author, data: Data, session: Session) -> Arm:
    """A trained model with its answers to the validation items."""
    started = perf_counter()
    room = Deadline(max(_FASTEST * session.deadline.remaining, 1.0))
    said = author.write(data.sources_of(data.judge), deadline=room, progress=session.progress).texts
    if None in said:
        session.cut[f"{name}, validation"] = f"{said.count(None)} of {len(said)} items were not answered in time"
    seconds = author.seconds + perf_counter() - started
    params = {**author.params, "beams": author.beams}
    method = str(params.get("method", name))
    return Arm(name=name, author=author, said=said, method=method, seconds=seconds, params=params)


def proven(transfer: Arm, arms: Sequence[Arm], data: Data, session: Session) -> TextProof:
    """The one look at the test set. Items that a model could not answer in time are left out for all.

    Shipped is the transferred model unless it harms, or unless it is not shown to help and the strongest arm by
    validation was at least as good there.
    """
    touched = datetime.now(UTC).isoformat(timespec="seconds")
    with session.timed("prove"):
        said = _said([transfer, *arms], data, session)
        there = np.array([all(text is not None for text in row) for row in zip(*said.values(), strict=True)], bool)
        if not there.any():
            given = f"{len(there)} items"
            raise DataError("no test item was answered in time", given=given, todo="Give a larger --budget")
        if not there.all():
            session.cut["test answers"] = f"{int((~there).sum())} of {len(there)} were not written in time"
        y = data.targets[data.test][there]
        answers = {name: texts([str(text) for text in found])[there] for name, found in said.items()}
        scores = {arm.name: arm.score(data) for arm in (transfer, *arms)}
        verdict = decide(
            y,
            transfer=answers["transfer"],
            arms={arm.name: answers[arm.name] for arm in arms},
            validation={arm.name: scores[arm.name] for arm in arms},
            seed=session.seed,
            wording=WORDING,
            metric=data.metric,
        )
        rival = next(arm for arm in arms if arm.name == verdict.against)
        beaten = verdict.outcome != "helps" and scores[rival.name] >= scores["transfer"]
        shipped = rival if verdict.outcome == "harms" or beaten else transfer
        own = answers[shipped.name]
        test = {m: metric_interval(m, y, own, seed=seed_of(session.seed, "test", m)) for m in seq2seq.METRICS}
    measured = {arm.name: {m: measure(m, y, answers[arm.name]) for m in seq2seq.METRICS} for arm in (transfer, *arms)}
    read = [data.sources[row] for row in data.test[there]]
    return TextProof(
        shipped=shipped,
        verdict=verdict,
        test=test,
        records=tuple(
            _record(arm, m, value, data, session, split="test")
            for arm in (transfer, *arms)
            for m, value in measured[arm.name].items()
        ),
        examples=[
            {"source": read[k], "target": str(y[k]), **{name: str(found[k]) for name, found in answers.items()}}
            for k in range(min(EXAMPLES, len(y)))
        ],
        rows=len(y),
        touched=touched,
    )


def _said(arms: Sequence[Arm], data: Data, session: Session) -> dict[str, Sequence[str | None]]:
    """Every arm's answers to the test items, the transferred model's first; each leaves time for those after it."""
    sources, found = data.sources_of(data.test), {}
    waiting = sum(arm.author is not None for arm in arms)
    for arm in arms:
        left = max(session.deadline.remaining - CLOSING, 1.0)
        found[arm.name] = arm.answers(sources, session, Deadline(left / max(waiting, 1)))
        waiting -= arm.author is not None
    return found


def records_of(arms: Sequence[Arm], data: Data, session: Session) -> Iterator[Record]:
    """Every metric of every arm on the validation items."""
    y = data.targets[data.judge]
    for arm in arms:
        for metric in seq2seq.METRICS:
            yield _record(arm, metric, measure(metric, y, _filled(arm.said)), data, session, split="val")


def _record(arm: Arm, metric: str, value: float, data: Data, session: Session, *, split: str) -> Record:
    params = {k: v for k, v in arm.params.items() if isinstance(v, int | float | str | bool)}
    return Record(
        arm=arm.name,
        backbone=arm.backbone,
        method=arm.method,
        params=params,
        split="test" if split == "test" else "val",
        fold=0,
        seed=session.seed,
        metric=metric,
        value=value,
        n_train=len(data.fit),
        seconds=round(arm.seconds, 4),
    )


def _filled(said: Sequence[str | None]) -> NDArray[np.object_]:
    return texts([text or "" for text in said])


def manifest_of_texts(proof: TextProof, arms: Sequence[Arm], data: Data, session: Session) -> dict[str, Any]:
    """Plain JSON with the keys of :func:`headway.recipe.manifest.manifest_of`, and ``examples`` of each arm."""
    verdict = asdict(proof.verdict)
    return {
        "task": "seq2seq",
        "modality": data.dataset.modality,
        "classes": [],
        "kind": data.kind,
        "chosen": _line(proof.shipped),
        "test": {metric: asdict(interval) for metric, interval in proof.test.items()},
        "verdict": {**verdict, "tests": {}},
        "ranking": [],
        "contenders": [{**_line(arm), "validation": arm.score(data), "seconds": round(arm.seconds, 4)} for arm in arms],
        "examples": proof.examples,
        "timings": session.timings,
        "budget": session.deadline.seconds,
        "cut": session.cut,
        "findings": [asdict(finding) for finding in session.findings],
        "seed": session.seed,
        "test_touched": proof.touched,
        "versions": versions(),
        "data": {
            "name": data.dataset.name,
            "fingerprint": data.dataset.fingerprint,
            "items": len(data.sources),
            "train": len(data.fit) + len(data.judge),
            "test": proof.rows,
            "folds": 1,
        },
        "comparison": [],
    }


def _line(arm: Arm) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "backbones": [arm.author.language.name] if arm.author else [],
        "features": arm.backbone,
        "method": arm.method,
        "params": arm.params,
        "reference": "",
    }
