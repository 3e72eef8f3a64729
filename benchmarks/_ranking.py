"""What a ranking of all packaged networks costs, and what its first choice loses to the best by test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from _shared import cold_store, note, timed
from headway import backbones, fetch
from headway.adapt import ridge
from headway.data.dataset import take
from headway.data.read import read
from headway.engine.pool import Member, open_network
from headway.evaluate.metrics import measure
from headway.features.embed import default_store, embed, matrix
from headway.linear.head import linear_scores, probabilities
from headway.recipe import rank
from headway.types import Dataset, Features

TIMED_SPLITS = 3  # splits on which the ranking is timed from a cold store; the VGG16s make each cost half a minute
ENOUGH = 3600.0  # seconds: no budget may cut what is compared


@dataclass(slots=True, kw_only=True)
class Choice:
    """``splits`` has the first and the best network of each split and the balanced accuracy of each by test, points."""

    rank_seconds: list[float]
    extraction_seconds: list[float]
    splits: list[dict[str, Any]]

    @property
    def cost(self) -> float:
        return median(a / b for a, b in zip(self.rank_seconds, self.extraction_seconds, strict=True))

    @property
    def regret(self) -> float:
        return float(mean(s["best_test"] - s["first_test"] for s in self.splits))


def judge_ranking(folders: Sequence[Path], *, models: Sequence[str]) -> Choice:
    """Each folder holds ``train/`` and ``test/``; the ranking sees the first only."""
    specs = backbones.resolve(models, modality="image", offline=False)
    for spec in specs:  # converted and compiled before anything is timed
        open_member(spec.name)
    choice = Choice(rank_seconds=[], extraction_seconds=[], splits=[])
    for folder in folders[:TIMED_SPLITS]:
        with cold_store():
            choice.rank_seconds.append(timed(partial(rank, folder, models=models, budget=ENOUGH)))
        with cold_store():
            choice.extraction_seconds.append(timed(partial(extract_all, folder, [spec.name for spec in specs])))
        note(f"ranking {choice.rank_seconds[-1]:.1f} s, extraction alone {choice.extraction_seconds[-1]:.1f} s")
    members = [open_member(spec.name) for spec in specs]
    with cold_store():  # one for all splits: they hold the same images
        choice.splits = [split_of(folder, members, models) for folder in folders]
    return choice


def split_of(folder: Path, members: Sequence[Member], models: Sequence[str]) -> dict[str, Any]:
    tested = by_test(folder, members)
    ranked = [line.backbone for line in rank(folder, models=models, budget=ENOUGH).lines]
    best = max(tested, key=lambda name: tested[name])
    note(f"ranked first {ranked[0]} {tested[ranked[0]]:.1f}, best by test {best} {tested[best]:.1f}")
    found = {"first": ranked[0], "first_test": tested[ranked[0]], "best": best, "best_test": tested[best]}
    return {**found, "ranked": ranked, "test": tested}


def extract_all(folder: Path, names: Sequence[str]) -> None:
    """What ranking cannot do without: opening the networks and embedding the training images."""
    members = [open_member(name) for name in names]
    embed(training(read(folder)), [m.frozen for m in members], store=default_store(fetch.cache_dir()))


def by_test(folder: Path, members: Sequence[Member]) -> dict[str, float]:
    """Balanced accuracy in points, on the test part, of a ridge probe on each network's embedding."""
    dataset, store = read(folder), default_store(fetch.cache_dir())
    embed(dataset, [m.frozen for m in members], store=store)
    assert dataset.targets is not None and dataset.parts is not None
    test = np.array([part == "test" for part in dataset.parts])
    found = {}
    for member in members:
        X = matrix(store, [(member.frozen.key, str(len(member.frozen.dims) - 1))], dataset.digests)
        train = Features(X=X[~test], y=dataset.targets[~test], classes=len(dataset.classes), blocks=(X.shape[1],))
        P = probabilities(linear_scores(ridge.fit(train, seed=0).head, X[test]))
        found[member.spec.name] = 100 * measure("balanced_accuracy", dataset.targets[test], P)
    return found


def training(dataset: Dataset) -> Dataset:
    assert dataset.parts is not None
    return take(dataset, [row for row, part in enumerate(dataset.parts) if part != "test"])


def open_member(name: str) -> Member:
    return open_network(backbones.open(name, offline=False), device="cpu", cache=fetch.cache_dir() / "networks")
