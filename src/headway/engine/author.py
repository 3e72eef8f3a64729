"""A language model that is ready to write: the model, its tokenizer, how it is asked, and how long it may go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headway.backbones._language import Language
from headway.budget import Deadline
from headway.engine.template import Template, source_tokens, text_of
from headway.engine.write import Limits, Written, write
from headway.types import Progress


@dataclass(slots=True, kw_only=True)
class Author:
    """A language model that is ready to write, and how it is asked."""

    model: Any
    tokenizer: Any
    template: Template
    limits: Limits
    language: Language
    beams: int = 1
    seconds: float = 0.0  # that tuning took
    params: dict[str, Any] = field(default_factory=dict)

    def write(
        self, sources: Sequence[str], *, deadline: Deadline | None = None, progress: Progress | None = None
    ) -> Answers:
        """Texts ``[n]``; None where the deadline came first."""
        tokenizer = self.tokenizer
        prompts = [source_tokens(self.template, tokenizer, text) for text in sources]
        lengths = [len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in sources]
        found: Written = write(
            self.model,
            prompts,
            limits=[self.limits.of(min(length, self.template.most)) for length in lengths],
            end=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            banned=[token for token in tokenizer.all_special_ids if token != tokenizer.eos_token_id],
            beams=self.beams,
            deadline=deadline,
            progress=progress,
        )
        texts = [None if t is None else text_of(self.template, tokenizer, t) for t in found.tokens]
        return Answers(texts=texts, seconds=found.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was written, and how long it took."""

    texts: list[str | None]
    seconds: float

    @property
    def pace(self) -> float:
        """Seconds an item."""
        return self.seconds / max(sum(text is not None for text in self.texts), 1)
