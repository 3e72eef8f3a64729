"""A language model as the training loop takes one: packed tokens in, what is needed for the next token out.

A decoder reads ``[n, L]`` token numbers, or the activations ``[n, L, d]`` at a cut; an encoder-decoder ``[n, 2, L]``:
what it reads, and what it has written so far, -1 where there is nothing. Targets ``[n, L]`` hold at each position the
token that comes next, and :data:`IGNORED` where nothing is learnt: prompts and padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headway.errors import ModelError
from headway.seeds import seed_of

IGNORED = -100
NOTHING = -1
WINDOW = 16  # batches whose items are sorted by length together
_CLOSE = 2e-3  # of the largest activation: how far a model in two parts may be from the whole

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One example in tokens: of a decoder the prompt and what follows it, of an encoder-decoder source and target."""

    source: tuple[int, ...]
    target: tuple[int, ...]  # with the token that ends a text

    def __len__(self) -> int:
        return len(self.source) + len(self.target)


class Writer(nn.Module):
    """A language model to tune; ``body`` is transformers' own module, so that adapters find its layers.

    A decoder's scores are its last hidden states ``[n, L, d]``: :func:`loss_of` applies the output layer where there is
    something to learn, which is a fraction of all positions. An encoder-decoder's are logits ``[n, L, V]``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder_decoder = bool(model.config.is_encoder_decoder)
        self.split = not self.encoder_decoder and _splits(model)
        self.body: nn.Module = model.model if self.split else model
        self.head = nn.Identity()
        output = model.get_output_embeddings() if self.split else None
        tied = output is not None and any(p is output.weight for p in self.body.parameters())
        # Beside the body only where it has weights of its own: what trains everything must train them too
        self.output = nn.Identity() if output is None or tied else output
        self.blocks = ("body", "output")

    def forward(self, x: Tensor) -> Tensor:
        body: Any = self.body
        if self.encoder_decoder:
            read, written = x[:, 0], x[:, 1]
            found = body(
                input_ids=read.clamp(min=0),
                attention_mask=(read != NOTHING).long(),
                decoder_input_ids=written.clamp(min=0),
                use_cache=False,
            )
            scores: Tensor = found.logits
            return scores
        # What follows never changes what stands before it, so padding at the end needs no mask.
        taken = {"inputs_embeds": x} if x.is_floating_point() else {"input_ids": x.clamp(min=0)}
        found = body(**taken, use_cache=False)
        hidden: Tensor = found.last_hidden_state if self.split else found.logits
        return hidden


def _splits(model: Any) -> bool:
    """Whether the logits are the output layer of ``model.model``'s last hidden states, tried on some tokens."""
    base, head = getattr(model, "model", None), model.get_output_embeddings()
    if base is None or head is None:
        return False
    tokens = torch.arange(1, 9).remainder(int(model.config.vocab_size))[None]
    with torch.no_grad():
        whole = model(input_ids=tokens, use_cache=False).logits
        parts = head(base(input_ids=tokens, use_cache=False).last_hidden_state)
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-4)


def loss_of(writer: Writer, model: Any, *, tokens: float) -> Loss:
    """Cross entropy over target tokens, in nats a token: their sum over a batch's rows, by ``rows * tokens``.

    ``tokens`` is how many targets an item has on average. Dividing by a constant keeps it a plain mean over rows, which
    can be taken apart, and every token counts the same.

    >>> class Linear: pass
    >>> import torch
    >>> targets = torch.tensor([[IGNORED, 1]])
    >>> writer = Writer.__new__(Writer); object.__setattr__(writer, "split", False)
    >>> round(float(loss_of(writer, None, tokens=1.0)(torch.zeros(1, 2, 4), targets)), 4)
    1.3863
    """
    head = model.get_output_embeddings() if writer.split else None

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        learnt = targets != IGNORED
        taken = scores[learnt]
        logits = taken if head is None else head(taken)
        total = nn.functional.cross_entropy(logits.float(), targets[learnt], reduction="sum")
        return total / (len(targets) * tokens)

    return loss


# --- a decoder in two ---------------------------------------------------------------------------


class _Passing(nn.Module):
    """Stands for a layer whose work was done: what comes in goes out."""

    def __init__(self, *, in_tuple: bool) -> None:
        super().__init__()
        self.in_tuple = in_tuple

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Any:
        return (hidden,) if self.in_tuple else hidden


def layers_of(writer: Writer) -> nn.ModuleList | None:
    """A decoder's layers, in order; None where they cannot be told."""
    wanted = getattr(getattr(writer.body, "config", None), "num_hidden_layers", None)
    lists = [m for m in writer.body.modules() if isinstance(m, nn.ModuleList) and len(m) == wanted]
    return lists[0] if writer.split and len(lists) == 1 else None


@torch.no_grad()
def activations(writer: Writer, cut: int, items: Sequence[tuple[int, ...]], *, batch: int = 16) -> list[Tensor]:
    """What the first ``cut`` layers make of each item's tokens: ``[L, d]`` each."""
    layers = layers_of(writer)
    assert layers is not None and 0 < cut < len(layers)
    seen: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(inputs[0] if inputs else named["hidden_states"])
        raise _Enough

    found: list[Tensor] = [torch.empty(0)] * len(items)
    order = sorted(range(len(items)), key=lambda row: len(items[row]))
    hook = layers[cut].register_forward_pre_hook(note, with_kwargs=True)
    writer.eval()
    try:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            try:
                writer(_padded([items[row] for row in rows], fill=0))
            except _Enough:
                hidden = seen.pop()
            for row, kept in zip(rows, hidden, strict=True):
                found[row] = kept[: len(items[row])].clone()
    finally:
        hook.remove()
    return found


class _Enough(Exception):
    """Ends a forward pass once the cut is reached."""


def shorten(writer: Writer, cut: int) -> Callable[[], None]:
    """Take the layers below ``cut`` out of a decoder: it then begins with activations. Comes back with the way back.

    Raises:
        ModelError: the model does more with its inputs than hand them to its first layer, so it cannot be cut.
    """
    layers = layers_of(writer)
    if layers is None or not 0 < cut < len(layers):
        raise ModelError("this model cannot be cut there", given=cut)
    below = list(layers[:cut])
    tokens = tuple(range(1, 9))
    with torch.no_grad():
        whole = writer(torch.tensor([tokens]))
        start = activations(writer, cut, [tokens])[0]
        in_tuple = isinstance(_output_of(layers[cut], writer, tokens), tuple)

    def back() -> None:
        for place, layer in enumerate(below):
            layers[place] = layer

    for place in range(cut):
        layers[place] = _Passing(in_tuple=in_tuple)
    with torch.no_grad():
        parts = writer(start[None])
    if (whole - parts).abs().max() > _CLOSE * whole.abs().max():
        back()
        raise ModelError("this model does not begin where it was cut", given=cut)
    return back


def _output_of(layer: nn.Module, writer: Writer, tokens: tuple[int, ...]) -> Any:
    seen: list[Any] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        writer(torch.tensor([tokens]))
    finally:
        hook.remove()
    return seen[0]


# --- batches ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatches:
    """Examples in batches of similar length, in another order every epoch; epoch 0 has them in order of length.

    ``start`` is the token with which an encoder-decoder begins to write, None for a decoder; ``cached`` are the
    activations ``[L, d]`` at a cut, of each pair's tokens but the last.
    """

    pairs: Sequence[Pair]
    size: int
    seed: int
    start: int | None = None
    cached: Sequence[Tensor] | None = None

    def __len__(self) -> int:
        return -(-len(self.pairs) // self.size)

    def epoch(self, number: int, /) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets as the module's first lines say."""
        for rows in self._order(number):
            yield self._inputs(rows), self._targets(rows)

    def _order(self, number: int) -> list[list[int]]:
        rng = np.random.default_rng(seed_of(self.seed, "order", number))
        rows = rng.permutation(len(self.pairs)).tolist() if number else list(range(len(self.pairs)))
        window = self.size * WINDOW if number else max(len(rows), 1)
        batches = []
        for first in range(0, len(rows), window):
            near = sorted(rows[first : first + window], key=lambda row: len(self.pairs[row]))
            batches += [near[k : k + self.size] for k in range(0, len(near), self.size)]
        return [batches[k] for k in rng.permutation(len(batches))] if number else batches

    def _inputs(self, rows: Sequence[int]) -> Tensor:
        if self.cached is not None:
            return nn.utils.rnn.pad_sequence([self.cached[row] for row in rows], batch_first=True)
        if self.start is None:
            return _padded([told(self.pairs[row]) for row in rows], fill=0)
        read = [self.pairs[row].source for row in rows]
        written = [(self.start, *self.pairs[row].target[:-1]) for row in rows]
        both = _padded([*read, *written], fill=NOTHING)
        return torch.stack([both[: len(rows)], both[len(rows) :]], dim=1)

    def _targets(self, rows: Sequence[int]) -> Tensor:
        pairs = [self.pairs[row] for row in rows]
        if self.start is None:
            return _padded([(*[IGNORED] * (len(p.source) - 1), *p.target) for p in pairs], fill=IGNORED)
        width = max(max(len(p.source), len(p.target)) for p in pairs)
        return _padded([p.target for p in pairs], fill=IGNORED, width=width)


def told(pair: Pair) -> tuple[int, ...]:
    """What a decoder is given of a pair: everything but its last token, which it only has to say."""
    return (*pair.source, *pair.target[:-1])


def _padded(items: Sequence[Sequence[int]], *, fill: int, width: int = 0) -> Tensor:
    """``[n, L]``, filled up at the end."""
    out = torch.full((len(items), max(width, *(len(item) for item in items))), fill, dtype=torch.long)
    for row, item in enumerate(items):
        out[row, : len(item)] = torch.tensor(item, dtype=torch.long)
    return out
