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
PACING = 4  # items of the first batch where there is a deadline


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

    Items of similar length go together. ``limits`` are the most new tokens of each. With a ``deadline`` what would end
    after it is left out, the longest items first among them; the first batch is small, and tells the pace.
    """
    found: list[tuple[int, ...] | None] = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda row: (limits[row], len(prompts[row])))
    began, pace = perf_counter(), 0.0
    model.eval()
    small = PACING if deadline is not None else batch
    starts = [0, *range(small, len(order), batch)]
    for first, last in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[first:last]
        if not rows or (deadline is not None and not deadline.allows(pace * (limits[rows[-1]] + 1))):
            break
        started = perf_counter()
        until = None if deadline is None else max(deadline.remaining, 0.1)
        answers = _batch(model, prompts, rows, limits, end=end, pad=pad, banned=banned, beams=beams, seconds=until)
        for row, tokens in zip(rows, answers, strict=True):
            found[row] = tokens
        pace = (perf_counter() - started) / (limits[rows[-1]] + 1)
        if progress is not None:
            progress("write", last, len(order))
    return Written(tokens=tuple(found), seconds=perf_counter() - began)


def _batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    limits: Sequence[int],
    *,
    end: int,
    pad: int,
    banned: Sequence[int],
    beams: int,
    seconds: float | None,
) -> list[tuple[int, ...] | None]:
    """New tokens of each row; None where ``seconds`` ended it before it had come to its end."""
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
        early_stopping=False,  # True ends with the first few that are finished, however unlikely they are
        eos_token_id=end,
        pad_token_id=pad,
        decoder_start_token_id=model.config.decoder_start_token_id if encoder_decoder else None,
        suppress_tokens=list(banned) or None,
        use_cache=True,
        max_time=seconds,
    )
    started = perf_counter()
    with torch.inference_mode():
        said = model.generate(input_ids=tokens, attention_mask=mask, generation_config=settings)
    new = said[:, 1:] if encoder_decoder else said[:, width:]
    stopped = seconds is not None and perf_counter() - started >= seconds
    return [_whole(line.tolist(), end, limits[row], stopped=stopped) for line, row in zip(new, rows, strict=True)]


def _whole(tokens: list[int], end: int, limit: int, *, stopped: bool) -> tuple[int, ...] | None:
    """Up to the end, or the limit; None where neither was reached because the time was up."""
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    elif stopped and len(tokens) < limit:
        return None
    return tuple(tokens[:limit])
