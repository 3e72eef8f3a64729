"""Text to text, from data to a proven model: split, controls, tune, judge, one look at the test set, keep.

It differs from :mod:`headway.recipe.fit` in that answers are written, which takes longer than everything else. So the
time for writing is measured first, and what is left goes into training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from headway.backbones._language import build, open_language, tokenizer_of
from headway.budget import Deadline
from headway.data.health import numbered
from headway.data.split import split
from headway.errors import DataError, OptionError
from headway.recipe.pin import Pin
from headway.recipe.seq2seq_proof import Arm, Data, manifest_of_texts, proven, records_of, validation_of
from headway.recipe.session import CLOSING, Session
from headway.recipe.writers import Lessons, from_scratch, tuned, untuned
from headway.run import Run, open_run
from headway.run.model import WORK
from headway.run.texts import save_texts
from headway.run.write import append, finish
from headway.seeds import seed_of
from headway.tasks import seq2seq
from headway.tasks._plain_answers import copied, led, most_frequent
from headway.types import Dataset, Finding

if TYPE_CHECKING:
    from headway.engine.author import Author

JUDGES = 32  # validation items at most: each has to be written several times
LEAST_JUDGES = 4
LEAST = 8.0  # seconds, less than which nothing is tuned
LEAST_SCRATCH = 20.0
SAVING = 4.0
UNTUNED_SHARE = 0.15  # of the budget goes into judging the untuned model, which also tells how long answers take
WRITING_SHARE = 0.5  # of the time that is left may go into writing answers; else fewer test items are
FEWEST = 20  # test items, however short the time is
BEAMS = 4
BEAM_COST = 2.5  # times the time of a greedy answer, measured on two cores


def fit_texts(
    dataset: Dataset,
    *,
    folder: Path,
    session: Session,
    models: Sequence[str] = (),
    pin: Pin | None = None,
    columns: tuple[str, str] = ("Input", "Output"),
) -> Run:
    """From pairs of texts to a proven model in ``folder``, whose plan is written already.

    ``dataset`` has texts as sources and as targets; ``columns`` are their names, which the model is told. A model is
    tuned with LoRA, or with the pinned method of :data:`headway.recipe.writers.METHODS`. The arms without transfer are
    the source copied, its first sentences (of summaries), the most frequent target and the same architecture from
    scratch; the untuned model with a few examples in its prompt is an arm as well. All are judged on the same
    validation items; what is shipped follows from these and from the verdict, as in
    :func:`headway.recipe.proof.prove`.

    Raises:
        DataError: texts are missing, or too few to learn from and to test.
    """
    pin = pin or Pin()
    data = _arranged(dataset, session)
    author = _opened(models, columns, data, session)
    base = untuned(author, data.sources_of(data.fit), data.targets_of(data.fit))
    with session.timed("untuned"):
        for share in (UNTUNED_SHARE, 3 * UNTUNED_SHARE):  # a slow machine gets a second chance
            room = Deadline(share * session.deadline.remaining)
            told = base.write(data.sources_of(data.judge), deadline=room, progress=session.progress)
            if len(told.texts) - told.texts.count(None) >= LEAST_JUDGES:
                break
    if None in told.texts:  # the same items judge everybody
        answered = np.array([text is not None for text in told.texts], bool)
        if answered.sum() < LEAST_JUDGES:
            raise OptionError("the budget is too short for a language model to answer", todo="Give a larger --budget")
        session.cut["validation items"] = f"{int((~answered).sum())} of {len(answered)} were not answered in time"
        data = replace(data, judge=data.judge[answered])
    data = _shortened(data, told.pace, session)
    arms = _plain_arms(data)
    said = [text for text in told.texts if text is not None]
    raw = Arm(name="untuned", author=base, said=said, method="prompt", seconds=told.seconds)
    moved, scratch = _trained(author, data, told.pace, session, pin, folder / WORK)
    transfer = moved or replace(raw, name="transfer")
    arms += [*([raw] if moved else []), *scratch]
    proof = proven(transfer, arms, data, session)
    append(folder, [*records_of([transfer, *arms], data, session), *proof.records])
    with session.timed("save"):
        save_texts(folder, proof.shipped.writer_facts(data.kind), author=proof.shipped.author)
    session.timings["total"] = round(session.deadline.elapsed, 4)
    finish(folder, manifest_of_texts(proof, [transfer, *arms], data, session))
    return open_run(folder)


def _arranged(dataset: Dataset, session: Session) -> Data:
    """The pairs, split; items whose sources differ only in case and white space stay together."""
    if dataset.targets is None:
        raise DataError("the data have no target texts", given=dataset.name, todo="Name their column with --label")
    encoded = seq2seq.encode(list(dataset.targets))
    sources = tuple(cast("tuple[Any, ...]", dataset.sources))
    odd = next((row for row, text in enumerate(sources) if not isinstance(text, str)), None)
    if odd is not None:
        raise DataError("a source is no text", given=f"row {odd}", todo="Name the column of texts with --text")
    session.findings += encoded.findings
    with session.timed("split"):
        alike: dict[str, int] = {}
        keys = [" ".join(text.casefold().split()) for text in sources]
        clusters = numbered(np.array([alike.setdefault(key, len(alike)) for key in keys], np.int64))
        parts = split(replace(dataset, targets=cast("Any", encoded.targets)), seed=session.seed, duplicates=clusters)
    if not parts.folds or len(parts.folds[0][1]) < LEAST_JUDGES or len(parts.test) < LEAST_JUDGES:
        raise DataError(
            "there are too few items to choose a model and to test it",
            given=f"{len(parts.train)} for training and {len(parts.test)} for testing",
            allowed=f"{LEAST_JUDGES} or more for testing and as many for validation",
            todo="Add pairs of texts",
        )
    rng = np.random.default_rng(seed_of(session.seed, "judges"))
    judge = np.sort(rng.permutation(parts.folds[0][1])[:JUDGES])
    kind = seq2seq.kind_of([sources[row] for row in parts.train], encoded.targets[parts.train].tolist())
    return Data(
        dataset=dataset,
        sources=sources,
        targets=encoded.targets,
        fit=np.setdiff1d(parts.train, judge),
        judge=judge,
        test=rng.permutation(parts.test),
        kind=kind,
    )


def _opened(models: Sequence[str], columns: tuple[str, str], data: Data, session: Session) -> Author:
    """The language model, and how it is asked."""
    from headway.engine.author import Author
    from headway.engine.template import Template, is_cut, pair_of
    from headway.engine.write import limits_of

    with session.timed("open"):
        language = open_language(models[0] if models else None, cache=session.cache, offline=session.offline)
        if len(models) > 1:
            session.cut["models"] = "one language model a run: the others were not tried"
        model, tokenizer = build(language), tokenizer_of(language)
    one_line = not any("\n" in text for text in data.targets_of(data.fit))
    template = Template(source=columns[0], target=columns[1], bare=language.encoder_decoder, one_line=one_line)
    long = [row for row, text in enumerate(data.sources) if is_cut(template, tokenizer, text)]
    if long:
        message = f"{len(long)} sources are longer than {template.most} tokens: their ends are not read."
        shown = tuple(data.dataset.names[row] for row in long[:10])
        session.findings.append(Finding(check="truncated", severity="warn", message=message, evidence=shown))
    bare = replace(template, bare=True)
    pairs = [pair_of(bare, tokenizer, data.sources[row], data.targets[row]) for row in data.fit]
    limits = limits_of([len(pair.source) for pair in pairs], [len(pair.target) for pair in pairs])
    return Author(model=model, tokenizer=tokenizer, template=template, limits=limits, language=language)


def _plain_arms(data: Data) -> list[Arm]:
    """The arms that only copy, or say one thing."""
    common = most_frequent(data.targets_of(data.fit))
    arms = [
        Arm(name="copy", plain="copy", said=copied(data.sources_of(data.judge)), method="copy"),
        Arm(name="prior", plain="constant", text=common, said=[common] * len(data.judge), method="prior"),
    ]
    if data.kind == "summarisation":
        arms.append(Arm(name="lead", plain="lead", said=led(data.sources_of(data.judge)), method="lead-3"))
    return arms


def _shortened(data: Data, pace: float, session: Session) -> Data:
    """With fewer test items where answering all of them would leave no time to learn anything."""
    passes = 2.0  # tuned and untuned
    room = WRITING_SHARE * session.deadline.remaining / passes / max(pace, 1e-9)
    kept = int(max(min(len(data.test), room), min(FEWEST, len(data.test))))
    if kept < len(data.test):
        left = f"{len(data.test) - kept} of {len(data.test)}"
        session.cut["test items"] = f"{left} were left out to save time for training"
    return replace(data, test=data.test[:kept])


def _trained(
    author: Author, data: Data, pace: float, session: Session, pin: Pin, work: Path
) -> tuple[Arm | None, list[Arm]]:
    """The tuned model, and its architecture from scratch, each given the same time."""
    from headway.engine.template import pair_of

    answers = pace * (len(data.test) + len(data.judge))
    spare = session.deadline.remaining - pace * len(data.test) - answers - CLOSING - SAVING
    seconds = (spare - answers) / 2
    compared = seconds >= LEAST_SCRATCH
    if not compared:
        seconds = spare
        session.cut["scratch"] = "training from scratch for as long did not fit the budget"
    if not pin.tunes or seconds < LEAST:
        session.cut["tuning"] = "tuning did not fit the budget" if pin.tunes else "the method was pinned to the prompt"
        return None, []
    pairs = tuple(pair_of(author.template, author.tokenizer, data.sources[r], data.targets[r]) for r in data.fit)
    lessons = Lessons(pairs=pairs, session=session, work=work)
    method = pin.method or "lora"
    with session.timed("tune"):
        until = Deadline(seconds)
        own = replace(author, model=build(author.language))  # tuned in place: the untuned one is still to be asked
        found = tuned(own, lessons, method=method, cut=pin.cut, deadline=until)
    if found is None:
        session.cut["tuning"] = "not even an epoch fitted the budget"
        return None, []
    left = session.deadline.remaining - CLOSING - SAVING - (answers + seconds if compared else 0.0)
    found.beams = BEAMS if left > pace * len(data.test) + BEAM_COST * answers else 1
    moved = validation_of("transfer", found, data, session)
    if not compared:
        return moved, []
    with session.timed("from scratch"):
        twin = from_scratch(author, lessons, deadline=Deadline(min(seconds, found.seconds)))
    if twin is None:
        session.cut["scratch"] = "not even an epoch from scratch fitted the budget"
        return moved, []
    return moved, [validation_of("scratch", twin, data, session)]
