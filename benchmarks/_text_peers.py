"""Peers that learn from texts, as users write them today: SetFit, transformers' Trainer, and TF-IDF.

    python benchmarks/_text_peers.py setfit|trainer|tfidf MODEL DATA OUT.json [SECONDS] [TOKENS_A_SECOND]

trains on ``DATA/train``, predicts ``DATA/test`` and writes the predictions. ``MODEL`` is a folder of
sentence-transformers. ``SECONDS`` is the Trainer's time for training alone: imports, loading and predicting are on top,
in its favour; SetFit takes it for a number of steps, which is for trying only. With ``TOKENS_A_SECOND`` the time is
counted in training tokens at that pace, so that a busy machine gives what a quiet one would.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Any

from headway.backbones._torchvision import prepare

STARTED = perf_counter()

TOKENS = 256  # of a text, as Headway's record of the network and its own settings have it
BATCH = 8  # the Trainer's default
TRIAL_STEPS = 5
Said = tuple[list[str], dict[str, float]]


def texts_of(part: Path) -> tuple[list[str], list[str]]:
    """Texts and their classes, in the order of the files' names."""
    paths = files_of(part)
    return [path.read_text("utf-8") for path in paths], [path.parent.name for path in paths]


def files_of(part: Path) -> list[Path]:
    return sorted(part.glob("*/*.txt"))


# --- TF-IDF -------------------------------------------------------------------------------------


def tfidf(_: Path, data: Path, seconds: float, pace: float | None) -> Said:  # noqa: ARG001 (every peer takes them)
    """Logarithmic counts of words: of eight usual settings on words the best on average over these sets."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    started = perf_counter()
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    model.fit(*texts_of(data / "train"))
    return model.predict(texts_of(data / "test")[0]).tolist(), {"train": perf_counter() - started}


# --- SetFit -------------------------------------------------------------------------------------


def setfit(model: Path, data: Path, seconds: float, pace: float | None) -> Said:  # noqa: ARG001
    """SetFit with its defaults: an epoch over oversampled pairs, then a logistic regression."""
    prepare()
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    texts, labels = texts_of(data / "train")
    classes = sorted(set(labels))
    learner = SetFitModel.from_pretrained(str(model), labels=classes, local_files_only=True)
    started = perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        given = TrainingArguments(
            output_dir=scratch, report_to="none", save_strategy="no", show_progress_bar=False, max_steps=whole(seconds)
        )
        rows = Dataset.from_dict({"text": texts, "label": [classes.index(label) for label in labels]})
        trainer = Trainer(model=learner, args=given, train_dataset=rows)
        trainer.train()
        steps = trainer.st_trainer.state.global_step
    trained = perf_counter() - started
    said = learner.predict(texts_of(data / "test")[0], use_labels=True)
    return [str(label) for label in said], {"train": trained, "steps": steps}


def whole(limit: float) -> int:
    """SetFit's limit is in steps; -1 is none."""
    return -1 if math.isinf(limit) else round(limit)


# --- transformers' Trainer ----------------------------------------------------------------------


def trainer(model: Path, data: Path, seconds: float, pace: float | None) -> Said:
    """All weights and a new head, with the Trainer's own defaults; as many steps as fit, the rate falling to 0 by then.

    How many fit is found by timing a few steps of a copy, before the clock starts, unless a pace is given.
    """
    prepare()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    set_seed(0)
    texts, labels = texts_of(data / "train")
    classes = sorted(set(labels))
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    network = AutoModelForSequenceClassification.from_pretrained(str(model), num_labels=len(classes))

    def rows(of: list[str]) -> list[dict[str, Any]]:
        return [{"input_ids": ids} for ids in tokenizer(of, truncation=True, max_length=TOKENS)["input_ids"]]

    learnt = [{**row, "labels": classes.index(label)} for row, label in zip(rows(texts), labels, strict=True)]
    with tempfile.TemporaryDirectory() as scratch:

        def trained(net: Any, steps: int) -> tuple[Any, float]:
            fitter = plain_trainer(net, learnt, tokenizer, steps=steps, scratch=scratch)
            started = perf_counter()
            fitter.train()
            return fitter, perf_counter() - started

        size = tokens_a_step([len(row["input_ids"]) for row in learnt])
        if not pace:
            trained(deepcopy(network), 1)
            pace = TRIAL_STEPS * size / trained(deepcopy(network), TRIAL_STEPS)[1]
        steps = max(1, int(seconds * pace / size))
        fitter, took = trained(network, steps)
        scores = fitter.predict(rows(texts_of(data / "test")[0])).predictions
    facts = {"train": took, "steps": steps, "tokens a second": steps * size / took}
    return [classes[code] for code in scores.argmax(1)], facts


def plain_trainer(network: Any, learnt: list[dict[str, Any]], tokenizer: Any, *, steps: int, scratch: str) -> Any:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    given = TrainingArguments(
        output_dir=scratch,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    return Trainer(model=network, args=given, train_dataset=learnt, data_collator=DataCollatorWithPadding(tokenizer))  # type: ignore[arg-type, unused-ignore]


def tokens_a_step(lengths: list[int]) -> float:
    """Padding included, on average over random batches."""
    draw = random.Random(0)
    return sum(BATCH * max(draw.sample(lengths, BATCH)) for _ in range(200)) / 200


PEERS: dict[str, Callable[..., Said]] = {"setfit": setfit, "trainer": trainer, "tfidf": tfidf}


def main(kind: str, model: Path, data: Path, out: Path, seconds: float, pace: float | None) -> None:
    said, facts = PEERS[kind](model, data, seconds, pace)
    names = [f"{path.parent.name}/{path.name}" for path in files_of(data / "test")]
    seconds_of = {**facts, "all": perf_counter() - STARTED}
    out.write_text(json.dumps({"answers": dict(zip(names, said, strict=True)), "seconds": seconds_of}), "utf-8")


if __name__ == "__main__":
    _, kind, model, data, out, *limits = sys.argv
    given = [float(limit) for limit in limits] + [math.inf, 0.0][len(limits) :]
    main(kind, Path(model), Path(data), Path(out), given[0], given[1] or None)
