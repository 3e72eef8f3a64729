"""Training above a cut from cached activations, against the usual way and against full fine-tuning.

    python benchmarks/cut.py                about 15 minutes on 2 cores

EfficientNet-Lite0, batches of 32, one process, one epoch a turn. The usual way is a plain torch loop in float32 that
computes the frozen layers again every epoch. It is measured as fastai freezes (``Learner.freeze_to`` with its default
``train_bn=True``: the norms of frozen layers go on learning, so that gradients run through all of them), which the
targets are about, and strictly frozen, without any gradient below the cut. All loops use AdamW, and are given pixels
that are decoded already. What filling the cache costs is reported beside, a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from _shared import Target, arguments, in_turn, note, ratio, report, sample, timed
from headway import backbones, fetch
from headway.adapt import partial as partial_tuning
from headway.data.read import read
from headway.engine import cut
from headway.engine.losses import loss_for
from headway.engine.pool import open_network
from headway.engine.train import Schedule, train
from headway.features.activations import Activations, activations, batches
from headway.modalities import image
from headway.types import Dataset, IntArray

NETWORK, BATCH, ITEMS, VIEWS = "packaged:efficientnet_lite0.in1k", 32, 256, 2
CUTS = {"blocks.4": "before the last two stages", "blocks.5": "before the last stage"}
WANTED = {"blocks.4": 5.0, "blocks.5": 15.0}
FULL = "full fine-tuning, plain loop"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured (default 5)")
    options = parser.parse_args()
    items, rounds = (64, 1) if options.quick else (ITEMS, options.rounds)
    dataset, rows = some_of(sample("clip13"), items)
    cases: dict[str, Callable[[], float]] = {}
    filling: dict[str, float] = {}
    cache = fetch.cache_dir() / "benchmarks" / "activations"
    pixels = filled(dataset, rows, None, cache, filling)
    for place in CUTS:
        cases[ours(place)] = partial(our_epoch, filled(dataset, rows, place, cache, filling), dataset, rows, place)
        cases[fastai(place)] = partial(plain_epoch, pixels, dataset, rows, place, norms=True)
        cases[strict(place)] = partial(plain_epoch, pixels, dataset, rows, place, norms=False)
    cases[FULL] = partial(plain_epoch, pixels, dataset, rows, None, norms=True)
    found = in_turn(rounds, cases)
    pace = {name: items / median(seconds) for name, seconds in found.items()}
    targets = [
        Target(
            what=f"{place}: times faster than fastai's freezing",
            value=ratio(found[fastai(place)], found[ours(place)]),
            limit=WANTED[place],
            least=True,
        )
        for place in CUTS
    ]
    targets += [
        Target(
            what=f"{place}: times faster than full fine-tuning",
            value=ratio(found[FULL], found[ours(place)]),
            limit=5,
            least=True,
        )
        for place in CUTS
    ]
    strictly = {place: ratio(found[strict(place)], found[ours(place)]) for place in CUTS}
    tables: list[tuple[str, Sequence[Sequence[object]]]] = [
        (
            "one epoch",
            [("case", "seconds", "images/s"), *((n, f"{median(found[n]):.2f}", f"{pace[n]:.0f}") for n in found)],
        ),
        (
            "against strictly frozen layers",
            [("cut after", "times faster"), *((c, f"{v:.2f}") for c, v in strictly.items())],
        ),
        ("filling the cache, once", [("what", "seconds a view"), *((n, f"{s:.2f}") for n, s in filling.items())]),
    ]
    numbers: dict[str, Any] = {
        "items": items,
        "batch": BATCH,
        "seconds": found,
        "images_per_second": pace,
        "fill_seconds": filling,
    }
    numbers["times_faster_than_strictly_frozen"] = strictly
    report("cut", numbers, targets, options, tables=tables)


def ours(place: str) -> str:
    return f"headway from the cache, cut after {place} ({CUTS[place]})"


def fastai(place: str) -> str:
    return f"frozen up to {place} as fastai does"


def strict(place: str) -> str:
    return f"strictly frozen up to {place}"


def some_of(folder: Path, items: int) -> tuple[Dataset, IntArray]:
    """The same rows of the data set every time, spread over its classes."""
    dataset = read(folder / "train" if (folder / "train").is_dir() else folder)
    rows = np.random.default_rng(0).permutation(len(dataset.names))[:items]
    return dataset, np.sort(rows)


def filled(dataset: Dataset, rows: IntArray, place: str | None, root: Path, seconds: dict[str, float]) -> Activations:
    backbone = backbones.open(NETWORK, offline=False)
    network = None
    if place is not None:
        networks = fetch.cache_dir() / "networks"
        network = open_network(cut.prefix(backbone, place), device="cpu", cache=networks).frozen
    found = activations(
        dataset.sources,
        dataset.digests,
        network=network,
        expects=backbone.spec.input,
        modality=image,
        root=root,
        views=VIEWS,
        policy=image.Augmentation(),
        seed=0,
        items=len(rows),
    )
    count = 0

    def fill() -> None:
        nonlocal count
        count = found.fill(rows).computed

    name = "pixels" if place is None else f"activations after {place}"
    whole = timed(fill)
    if count:
        seconds[name] = whole * len(rows) / count
    note(f"{name}: {count} entries in {whole:.1f} s")
    return found


def our_epoch(found: Activations, dataset: Dataset, rows: IntArray, place: str) -> float:
    """The epoch's own seconds by the training loop, in the precision that it finds faster."""
    assert dataset.targets is not None
    tail = cut.tunable(backbones.open(NETWORK, offline=False), place, classes=len(dataset.classes))
    parts = batches(found, rows, dataset.targets[rows], batch_size=BATCH, seed=0, train=True)
    loss = loss_for("softmax")
    tuning = partial_tuning.tune(tail, sample=lambda: parts.epoch(0), loss=loss, seed=0)
    done = train(tuning, batches=parts, loss=loss, schedule=Schedule(epochs=5, patience=None), seed=0)
    note(f"{place}: {done.precision}")
    return median(epoch.seconds for epoch in done.epochs[2:])


def plain_epoch(found: Activations, dataset: Dataset, rows: IntArray, place: str | None, *, norms: bool) -> float:
    """Second of two epochs of a loop as it is commonly written."""
    import torch

    assert dataset.targets is not None
    backbone: Any = backbones.open(NETWORK, offline=False)
    model: Any = torch.nn.Sequential(backbone.load(), torch.nn.Linear(backbone.spec.dim, len(dataset.classes)))
    freeze(model[0], place, norms=norms)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, 1e-3)
    parts = batches(found, rows, dataset.targets[rows], batch_size=BATCH, seed=0, train=True)

    def epoch(number: int) -> None:
        for x, y in parts.epoch(number):
            loss: Any = torch.nn.functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    model.train()
    epoch(0)
    return timed(partial(epoch, 1))


def freeze(net: Any, place: str | None, *, norms: bool) -> None:
    """Nothing learns up to the end of the module ``blocks.i``, or nothing but the norms there."""
    from torch import nn

    if place is None:
        return
    for part in (net.conv_stem, net.bn1, *net.blocks[: int(place.partition(".")[2]) + 1]):
        for module in part.modules():
            if not (norms and isinstance(module, nn.BatchNorm2d)):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)


if __name__ == "__main__":
    main()
