"""Language models as they came, tuned, and from scratch: one training loop, planned by the time there is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headway import plugins
from headway.budget import Deadline
from headway.errors import ModelError, OptionError
from headway.recipe.session import Session
from headway.run.write import write_json
from headway.seeds import seed_of
from headway.types import TuningMethod

if TYPE_CHECKING:
    from headway.engine.author import Author
    from headway.engine.language import Pair, Writer
    from headway.engine.train import Trained

SHOTS = 3
BATCH = 8  # small, because what a few hundred examples need is steps
RATE, SCRATCH_RATE, DECAY = 1e-3, 1e-3, 0.01
EPOCHS = 12  # at most
SCRATCH_EPOCHS = 60
WISHED_EPOCHS = 3  # a lower cut is taken as long as so many fit
CUTS = (0.0, 1 / 3, 2 / 3, 5 / 6)  # shares of a decoder's layers that stay frozen
CACHED_BYTES = 1 << 30  # of activations kept in memory
METHODS = ("lora", "dora", "ia3", "bitfit", "full")


def untuned(author: Author, sources: Sequence[str], targets: Sequence[str]) -> Author:
    """The model as it came, shown a few short training pairs: the prompt is the only thing that it is told."""
    order = sorted(range(len(sources)), key=lambda row: len(sources[row]) + len(targets[row]))
    middle = order[len(order) // 4 :]
    step = max(len(middle) // (4 * SHOTS), 1)
    chosen = [] if author.template.bare else middle[::step][:SHOTS]
    shots = tuple((sources[row], targets[row]) for row in chosen)
    return replace(author, template=replace(author.template, shots=shots))


# --- training -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What a model is tuned on: pairs in tokens, the clock, and where checkpoints go."""

    pairs: tuple[Pair, ...]
    session: Session
    work: Path

    @property
    def targets(self) -> float:
        """Target tokens an item."""
        return float(np.mean([len(pair.target) for pair in self.pairs]))


def tuned(author: Author, lessons: Lessons, *, method: str, cut: str | None, deadline: Deadline) -> Author | None:
    """The author's model tuned in place; None where not an epoch fitted the time.

    Raises:
        OptionError: the method is none of those that tune a language model, or the cut is no layer of it.
    """
    from headway.backbones._language import on_half_grid
    from headway.engine.language import Writer, activations, shorten, told

    began = perf_counter()
    writer = Writer(author.model)
    place, lessons = _planned(writer, author, lessons, cut=cut, deadline=deadline)
    cached, back = None, _nothing
    if place:
        cached = activations(writer, place, [told(pair) for pair in lessons.pairs])
        try:
            back = shorten(writer, place)
        except ModelError:
            if cut is not None:
                raise
            place, cached = 0, None
    try:
        trained = _trained(writer, author, lessons, method=method, cached=cached, deadline=deadline, name="tuned")
    finally:
        back()
    if len(trained.epochs) < 2:
        return None
    on_half_grid(author.model)
    return _after(author, trained, began, method=method, cut=place)


def from_scratch(author: Author, lessons: Lessons, *, deadline: Deadline) -> Author | None:
    """The same architecture, all of it trained from random weights on the same pairs."""
    from headway.backbones._language import build, on_half_grid
    from headway.engine.language import Writer

    began = perf_counter()
    seed = seed_of(lessons.session.seed, "scratch")
    fresh = replace(author, model=build(author.language, pretrained=False, seed=seed))
    writer = Writer(fresh.model)
    trained = _trained(writer, fresh, lessons, method="scratch", cached=None, deadline=deadline, name="scratch")
    if len(trained.epochs) < 2:
        return None
    on_half_grid(fresh.model)
    return _after(fresh, trained, began, method="scratch", cut=0)


def _after(author: Author, trained: Trained, began: float, *, method: str, cut: int) -> Author:
    facts = {
        "method": method,
        "cut": cut,
        "epochs": len(trained.epochs) - 1,
        "trainable": trained.trainable,
        "precision": trained.precision,
        "lr": trained.lr,
        "stopped": trained.stopped,
        "train_loss": [round(epoch.train_loss, 4) for epoch in trained.epochs],
    }
    return replace(author, seconds=perf_counter() - began, params=facts)


def _trained(
    writer: Writer,
    author: Author,
    lessons: Lessons,
    *,
    method: str,
    cached: Sequence[Any] | None,
    deadline: Deadline,
    name: str,
) -> Trained:
    """The one training loop on these pairs."""
    from headway.engine.language import TokenBatches, loss_of
    from headway.engine.train import Schedule, train
    from headway.types import ParamGroup, Tuning

    scratch = method == "scratch"
    seed = seed_of(lessons.session.seed, "seq2seq", name)
    data = TokenBatches(pairs=lessons.pairs, size=BATCH, seed=seed, start=_start(author.model), cached=cached)
    loss = loss_of(writer, author.model, tokens=lessons.targets)
    if scratch:
        body = tuple(key for key, _ in writer.named_parameters())
        tuning = Tuning(model=writer, groups=(ParamGroup(names=body),))
    else:
        tuning = _method(method).tune(writer, sample=lambda: data.epoch(0), loss=loss, seed=seed)
    trained = train(
        tuning,
        batches=data,
        loss=loss,
        schedule=Schedule(
            epochs=SCRATCH_EPOCHS if scratch else EPOCHS, lr=SCRATCH_RATE if scratch else RATE, weight_decay=DECAY
        ),
        seed=seed,
        deadline=deadline,
        checkpoint=lessons.work / f"{name}.safetensors",
        progress=lessons.session.progress,
    )
    lessons.session.findings += trained.findings
    return trained


def _method(name: str) -> TuningMethod:
    if name not in METHODS:
        raise OptionError("this method does not tune a language model", given=name, allowed=", ".join(METHODS))
    found: TuningMethod = plugins.load("adapt", name).METHOD
    return found


def _start(model: Any) -> int | None:
    """The token with which an encoder-decoder begins to write."""
    if not model.config.is_encoder_decoder:
        return None
    start = model.config.decoder_start_token_id
    if start is None:
        raise ModelError("the model does not say with which token it begins to write", given="decoder_start_token_id")
    return int(start)


def _place(cut: str, writer: Writer) -> int:
    """The number of frozen layers that ``--cut layers.N`` asks for: training begins after layer N."""
    from headway.engine.language import layers_of

    layers = layers_of(writer)
    match = re.fullmatch(r"(?:layers\.)?(\d+)", cut)
    if layers is None or match is None or int(match[1]) + 1 >= len(layers):
        allowed = "no cut of this model" if layers is None else f"layers.0 to layers.{len(layers) - 2}"
        raise OptionError("there is no such place to cut the model", given=cut, allowed=allowed)
    return int(match[1]) + 1


def _planned(
    writer: Writer, author: Author, lessons: Lessons, *, cut: str | None, deadline: Deadline
) -> tuple[int, Lessons]:
    """How many layers stay frozen and which pairs are learnt from; as a killed fit had planned, whose checkpoint waits.

    The pace of a machine is never measured twice the same, and a training is taken up only under the same plan.
    """
    plan = lessons.work / "tuned.json"
    found = _plan(plan)
    pinned = None if cut is None else _place(cut, writer)
    if found is None or max(found[1]) >= len(lessons.pairs) or pinned not in (None, found[0]):
        costs = _costs(writer, author, lessons)
        place = _affordable(costs, deadline) if pinned is None else pinned
        found = place, _fitting(lessons, costs.get(place, costs[0]), deadline)
        plan.parent.mkdir(parents=True, exist_ok=True)
        write_json(plan, {"cut": found[0], "pairs": found[1]})
    place, rows = found
    if len(rows) < len(lessons.pairs):
        share = f"{len(rows)} of {len(lessons.pairs)}"
        lessons.session.cut["training pairs"] = f"learnt from {share}: more did not fit the budget"
    return place, replace(lessons, pairs=tuple(lessons.pairs[row] for row in rows))


def _plan(path: Path) -> tuple[int, list[int]] | None:
    try:
        facts = json.loads(path.read_text("utf-8"))
        rows = [int(row) for row in facts["pairs"]]
        return (int(facts["cut"]), rows) if rows else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _costs(writer: Writer, author: Author, lessons: Lessons) -> dict[int, tuple[float, float]]:
    """By how many layers stay frozen: seconds to compute what is below, once, and seconds of an epoch above."""
    from headway.engine.language import layers_of

    tokens = sum(map(len, lessons.pairs))
    forward = _forward_seconds(writer, lessons) * tokens  # of all layers, over all pairs
    layers = layers_of(writer)
    if layers is None:
        return {0: (0.0, (1 + _BACKWARD) * forward)}
    depth, config = len(layers), author.model.config
    weights = sum(p.numel() for p in layers.parameters()) / depth
    share = sum(len(pair.target) for pair in lessons.pairs) / tokens  # of positions at which something is learnt
    head = share * config.hidden_size * config.vocab_size / max(weights, 1.0)  # in layers
    kept = 4 * tokens * config.hidden_size <= CACHED_BYTES
    return {
        cut: (forward * cut / depth, _BACKWARD * forward * (depth - cut + head) / depth)
        for cut in range(depth - 1 if kept else 1)
    }


def _affordable(costs: dict[int, tuple[float, float]], deadline: Deadline) -> int:
    """How many layers stay frozen: as few as leave time for some epochs; what is below is computed once an item."""
    cuts = sorted({round(share * len(costs)) for share in CUTS} & costs.keys()) or [0]
    enough = [cut for cut in cuts if costs[cut][0] + WISHED_EPOCHS * costs[cut][1] <= deadline.remaining]
    return enough[0] if enough else cuts[-1]


def _fitting(lessons: Lessons, cost: tuple[float, float], deadline: Deadline) -> list[int]:
    """Rows of the pairs: fewer where the time would not do for an epoch of all; a few lessons are better than none."""
    share = _SLACK * deadline.remaining / max(sum(cost), 1e-9)
    if share >= 1:
        return list(range(len(lessons.pairs)))
    kept = max(int(share * len(lessons.pairs)), min(len(lessons.pairs), 2 * BATCH))
    order = np.random.default_rng(seed_of(lessons.session.seed, "pairs")).permutation(len(lessons.pairs))[:kept]
    return sorted(order.tolist())


_SLACK = 0.6  # of the time is planned for: the first batches are slow, and the loop measures for itself
_BACKWARD = 2.5  # times a forward pass: gradients of activations, and adapters


def _forward_seconds(writer: Writer, lessons: Lessons) -> float:
    """Seconds a token of a forward pass, the second of two on a few typical pairs."""
    import torch

    from headway.engine.language import TokenBatches

    middle = sorted(lessons.pairs, key=len)[len(lessons.pairs) // 2 :][:BATCH]
    x, _ = next(TokenBatches(pairs=middle, size=BATCH, seed=0).epoch(0))
    seconds = math.inf
    with torch.inference_mode():
        for _ in range(2):
            started = perf_counter()
            writer(x)
            seconds = min(seconds, perf_counter() - started)
    return seconds / x.numel()


def _nothing() -> None:
    """There is no way to go back."""
