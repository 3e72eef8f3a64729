"""Texts to train on, at any cut of a network: one view an item, its states below the cut computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headway.budget import Deadline
from headway.engine.pool import Member
from headway.features.embed import modality_of
from headway.features.states import States
from headway.features.text_batches import TextBatches, text_batches
from headway.modalities._tokens import Tokens, tokenised
from headway.recipe.session import Session, compiled_cache
from headway.types import Dataset, IntArray, TextView


@dataclass(slots=True, kw_only=True)
class TextViews:
    """The training rows' states by network and cut, filled when first asked for; as :class:`recipe.views.Views`."""

    dataset: Dataset
    session: Session
    known: dict[tuple[str, str | None], States] = field(default_factory=dict)
    words: dict[str, list[Tokens]] = field(default_factory=dict)  # by network

    def at(self, member: Member, cut: str | None) -> States:
        """All rows at a cut of a network; no cut: their ids."""
        key = (member.spec.id, cut)
        with self.session.timed("activations"):
            if key not in self.known:
                self.known[key] = self._opened(member, cut)
            found = self.known[key]
            until = Deadline(max(self.session.deadline.remaining, 0.0))
            found.fill(np.arange(len(self.dataset.names)), deadline=until, progress=self.session.progress)
        self.session.findings += [finding for finding in found.findings if finding not in self.session.findings]
        return found

    def batches(
        self,
        member: Member,
        cut: str | None,
        rows: IntArray,
        targets: Any,
        *,
        batch_size: int,
        seed: int,
        epochs: int,
        kind: Literal["rows", "pairs"] = "rows",
    ) -> TextBatches:
        """Batches of ``rows`` to train on for so many epochs; 0: to look at, in order."""
        how: Literal["in order", "by length", "pairs"] = "pairs" if kind == "pairs" else "by length"
        states = self.at(member, cut)
        return text_batches(states, rows, targets, batch_size=batch_size, seed=seed, how=how if epochs else "in order")

    def cost(self, member: Member, cut: str | None, *, epochs: int) -> float:  # noqa: ARG002 (one view serves all)
        """Seconds that filling takes at most: those of a whole forward pass."""
        if cut is None or (member.spec.id, cut) in self.known:
            return 0.0
        return len(self.dataset.names) * self.session.pace.get(member.spec.arch, 0.0)

    def _opened(self, member: Member, cut: str | None) -> States:
        view = member.frozen.view
        assert isinstance(view, TextView)
        if member.spec.id not in self.words:
            decoder = self.session.decoder or modality_of(self.dataset)
            texts = [decoder.decode(source) for source in self.dataset.sources]
            self.words[member.spec.id] = tokenised(texts, view)[0]
        forward = None
        if cut is not None:
            from headway.engine.cut import text_prefix
            from headway.engine.tokenwise import compile_tokens, prepare

            below = prepare(text_prefix(member.backbone, cut), cache=compiled_cache(self.session))
            network = compile_tokens(below)
            self.session.findings += network.findings
            forward = network.forward
        return States(items=self.words[member.spec.id], tokens=view.tokens, forward=forward)
