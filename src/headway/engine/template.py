"""How a text is put to a language model, and how its answer is read: the same for training, controls and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headway.engine.language import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A decoder reads ``shots``, then ``source: text``, and writes after ``target:``; an encoder-decoder the bare text.

    ``one_line`` ends an answer at its first line break: where no target has one, what follows is another example.
    """

    source: str = "Input"
    target: str = "Output"
    shots: tuple[tuple[str, str], ...] = ()
    bare: bool = False
    one_line: bool = True
    most: int = 512  # tokens of a source; more are cut off

    def prompt(self, text: str) -> str:
        """What the model reads.

        >>> Template(source="en", target="fr", shots=(("a cat", "un chat"),)).prompt("a dog")
        'en: a cat\\nfr: un chat\\n\\nen: a dog\\nfr:'
        """
        if self.bare:
            return text
        before = "".join(f"{self.source}: {read}\n{self.target}: {written}\n\n" for read, written in self.shots)
        return f"{before}{self.source}: {text}\n{self.target}:"

    def as_json(self) -> dict[str, Any]:
        """For a run's model; :func:`template_of` reads it."""
        return asdict(self)


def template_of(facts: Mapping[str, Any]) -> Template:
    """The inverse of :meth:`Template.as_json`."""
    return Template(**{**facts, "shots": tuple((read, written) for read, written in facts["shots"])})


def source_tokens(template: Template, tokenizer: Any, text: str) -> tuple[int, ...]:
    """The prompt in tokens; of a source that is too long the end is cut off, never the words that frame it."""
    ids = _tokens(tokenizer, template.prompt(text), special=True)
    if len(ids) > template.most and is_cut(template, tokenizer, text):
        kept = _tokens(tokenizer, text, special=False)[: template.most]
        ids = _tokens(tokenizer, template.prompt(tokenizer.decode(kept, skip_special_tokens=True)), special=True)
    if not template.bare and ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    return tuple(ids)


def pair_of(template: Template, tokenizer: Any, source: str, target: str) -> Pair:
    """A training example; its target ends with the token that ends a text, unless it was cut off."""
    written = target if template.bare else f" {target}"
    ids = _tokens(tokenizer, written, special=False)
    end = [tokenizer.eos_token_id] if len(ids) < template.most else []
    return Pair(source=source_tokens(template, tokenizer, source), target=(*ids[: template.most], *end))


def text_of(template: Template, tokenizer: Any, tokens: Sequence[int]) -> str:
    """The answer as text."""
    text = str(tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))
    if template.one_line:
        text = text.lstrip("\n").split("\n", 1)[0]
    return text.strip()


def is_cut(template: Template, tokenizer: Any, text: str) -> bool:
    """Whether a text has more tokens than are read."""
    return len(text) > template.most and len(_tokens(tokenizer, text, special=False)) > template.most


def _tokens(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
    return ids
