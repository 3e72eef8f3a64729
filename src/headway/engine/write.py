"""Writing: the likeliest continuations by transformers' beam search, bounded in length, without what was read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from headway.budget import Deadline
from headway.types import Progress

BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a target may get in tokens, learnt from pairs: ``slope * source + offset``, at most ``most``."""

    slope: float
    offset: int
    most: int

    def of(self, source: int) -> int:
        """For a source of so many tokens.

        >>> Limits(slope=1.5, offset=4, most=50).of(10)
        19
        """
        return max(1, min(self.most, math.ceil(self.slope * source) + self.offset))


def limits_of(sources: Sequence[int], targets: Sequence[int]) -> Limits:
    """Limits from lengths in tokens: room for all but the two longest per cent, and half as much again at the most.

    >>> limits_of([10, 10, 20], [12, 14, 30])
    Limits(slope=1.5, offset=8, most=45)
    """
    ratios = sorted(t / max(s, 1) for s, t in zip(sources, targets, strict=True))
    slope = ratios[min(len(ratios) - 1, math.ceil(0.98 * len(ratios)) - 1)]
    return Limits(slope=min(slope, 4.0), offset=8, most=math.ceil(1.5 * max(targets)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """``tokens[i]`` is None where the deadline came before item i was reached."""

    tokens: tuple[tuple[int, ...] | None, ...]
    seconds: float

    @property
    def done(self) -> int:
        return sum(found is not None for found in self.tokens)


def write(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    end: int,
    pad: int,
    banned: Sequence[int] = (),
    beams: int = 1,
    batch: int = BATCH,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
) -> Written:
    """New tokens for each prompt, up to and without ``end``: never the prompt, never what is ``banned``.

    Items of similar length go together. ``limits`` are the most new tokens of each. With a ``deadline`` the batches
    that would end after it are left out, the longest items first among them.
    """
    found: list[tuple[int, ...] | None] = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda row: (limits[row], len(prompts[row])))
    began, pace = perf_counter(), 0.0
    model.eval()
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        work = limits[rows[-1]] + 1
        if deadline is not None and first and not deadline.allows(pace * work):
            break
        started = perf_counter()
        for row, tokens in zip(rows, _batch(model, prompts, rows, limits, end, pad, banned, beams), strict=True):
            found[row] = tokens
        pace = (perf_counter() - started) / work
        if progress is not None:
            progress("write", min(first + batch, len(order)), len(order))
    return Written(tokens=tuple(found), seconds=perf_counter() - began)


def _batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    limits: Sequence[int],
    end: int,
    pad: int,
    banned: Sequence[int],
    beams: int,
) -> list[tuple[int, ...]]:
    from transformers import GenerationConfig

    encoder_decoder = bool(model.config.is_encoder_decoder)
    width = max(len(prompts[row]) for row in rows)
    tokens = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for k, row in enumerate(rows):
        # What a decoder goes on with must stand at the end; an encoder counts its positions from the front.
        length = len(prompts[row])
        place = slice(0, length) if encoder_decoder else slice(width - length, width)
        tokens[k, place] = torch.tensor(prompts[row], dtype=torch.long)
        mask[k, place] = 1
    settings = GenerationConfig(
        max_new_tokens=max(limits[row] for row in rows),
        num_beams=beams,
        do_sample=False,
        early_stopping=beams > 1,
        eos_token_id=end,
        pad_token_id=pad,
        decoder_start_token_id=model.config.decoder_start_token_id if encoder_decoder else None,
        suppress_tokens=list(banned) or None,
        use_cache=True,
    )
    with torch.inference_mode():
        said = model.generate(input_ids=tokens, attention_mask=mask, generation_config=settings)
    new = said[:, 1:] if encoder_decoder else said[:, width:]
    return [_until(line.tolist(), end)[: limits[row]] for line, row in zip(new, rows, strict=True)]


def _until(tokens: list[int], end: int) -> tuple[int, ...]:
    return tuple(tokens[: tokens.index(end)] if end in tokens else tokens)
