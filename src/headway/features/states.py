"""Hidden states of texts at a cut, each computed once: in half precision, in memory, up to a bound.

Nothing is changed about a text, so there is one view of it. An item's states depend on it alone: it is always padded to
the same length, among as many rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.budget import Deadline
from headway.engine._text import filled
from headway.engine.frozen import TOKENS
from headway.engine.tokenwise import Forward
from headway.modalities._tokens import Tokens, collated, padded_length, rows_of
from headway.types import Finding, IntArray, Progress, TextBatch

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 2 * 2**30  # bytes of states: 10,000 texts of 256 tokens and 384 columns
_GREATEST = float(np.finfo(np.float16).max)


@dataclass(slots=True, kw_only=True)
class States:
    """The texts of a data set below a cut. ``forward`` gives ``([n, L, d],)``; None: nothing is frozen."""

    items: Sequence[Tokens]
    tokens: int  # that the network reads at most
    forward: Forward | None
    limit: int = LIMIT
    findings: list[Finding] = field(default_factory=list)
    _held: dict[int, NDArray[np.float16]] = field(default_factory=dict)  # [l, d] a row
    _bytes: int = 0

    def lengths(self, rows: IntArray) -> IntArray:
        """Tokens of each text, special ones included."""
        return np.array([len(self.items[row].ids) for row in rows], np.int64)

    def fill(self, rows: IntArray, *, deadline: Deadline | None = None, progress: Progress | None = None) -> int:
        """Compute what is missing of ``rows`` until ``deadline``, or until the bound is reached; how many it was."""
        missing = [row for row in dict.fromkeys(rows.tolist()) if row not in self._held]
        done = 0
        for row, states in self._computed(missing, deadline) if self.forward is not None else ():
            if self._bytes + states.nbytes > self.limit:
                break
            self._held[row], self._bytes, done = states, self._bytes + states.nbytes, done + 1
            if progress is not None:
                progress("activations", done, len(missing))
        return done

    def read(self, rows: IntArray) -> Tensor:
        """What the part above takes of ``rows``: see :mod:`headway.engine.packed`. What is not held is computed now."""
        import torch

        from headway.engine.packed import packed_ids, packed_states

        some = [self.items[row] for row in rows]
        ids, mask = collated(some, padded_length(max(len(item.ids) for item in some), self.tokens))
        if self.forward is None:
            return packed_ids(torch.from_numpy(ids), torch.from_numpy(mask))
        missing = [row for row in dict.fromkeys(rows.tolist()) if row not in self._held]
        now = dict(self._computed(missing, None))
        first = next(iter(now.values())) if now else self._held[int(rows[0])]
        states = np.zeros((*ids.shape, first.shape[1]), np.float32)
        for place, row in enumerate(rows.tolist()):
            held = now[row] if row in now else self._held[row]
            states[place, : len(held)] = held
        return packed_states(torch.from_numpy(states), torch.from_numpy(mask))

    def _computed(self, rows: Sequence[int], deadline: Deadline | None) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Rows and their states, texts of one padded length together."""
        assert self.forward is not None
        flying: deque[list[int]] = deque()

        def feed() -> Iterator[TextBatch]:
            by_length: dict[int, list[int]] = {}
            for row in rows:
                by_length.setdefault(padded_length(len(self.items[row].ids), self.tokens), []).append(row)
            for length, own in by_length.items():
                size = rows_of(length, TOKENS)
                for start in range(0, len(own), size):
                    if deadline is not None and deadline.remaining <= 0:
                        return
                    part = own[start : start + size]
                    flying.append(part)
                    yield filled(collated([self.items[row] for row in part], length), TOKENS)

        for (states,) in self.forward(feed()):
            for row, found in zip(flying.popleft(), states, strict=False):  # rows that only fill the batch are left
                yield row, self._stored(found[: len(self.items[row].ids)])

    def _stored(self, states: NDArray[Any]) -> NDArray[np.float16]:
        if np.abs(states).max(initial=0) > _GREATEST:
            states = np.clip(states, -_GREATEST, _GREATEST)
            if not self.findings:
                message = "states at the cut are too large for half precision and were clipped: cut elsewhere"
                self.findings.append(Finding(check="activation-range", severity="warn", message=message))
        return states.astype(np.float16)
