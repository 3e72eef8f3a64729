"""Text networks of our own: the Universal Sentence Encoder, and static word vectors.

Both look every token up in a table first. They have the interface of :class:`headway.backbones._text.Encoder`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.backbones._network import TextFrame
from headway.backbones._text import pool

CHUNKS = 17  # row r of the Universal Sentence Encoder's table was quantised with scale and offset r % 17
_ORDERS = ((2, 0), (3, 1), (5, 2))  # words a branch sees at once, and how many of them lie to the left
_EPS = 1e-12


class Table(nn.Module):
    """Quantised word embeddings: ``[n, L]`` ids to ``[n, L, width]``; the table stays in bytes."""

    weight: Tensor
    scale: Tensor
    low: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(0, 64, (rows, width), dtype=torch.uint8))
        self.register_buffer("scale", torch.full((CHUNKS,), 0.06))
        self.register_buffer("low", torch.full((CHUNKS,), -1.89))  # so that what is drawn has mean 0

    def forward(self, ids: Tensor) -> Tensor:
        chunk = ids % CHUNKS
        rows = F.embedding(ids, self.weight).to(self.scale.dtype)
        return rows * self.scale[chunk][..., None] + self.low[chunk][..., None]


class Branch(nn.Module):
    """Two convolutions over ``order`` words, each with what it read added: ``[n, L, d]`` to the same shape."""

    def __init__(self, width: int, order: int, left: int) -> None:
        super().__init__()
        self.margins = (left, order - 1 - left)
        self.first, self.second = nn.Conv1d(width, width, order), nn.Conv1d(width, width, order)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            seen = F.pad((x * mask).transpose(1, 2), self.margins)  # beyond the text there are zeros, padded or not
            x = x + F.relu(layer(seen).transpose(1, 2))
        return x


class UniversalSentenceEncoder(nn.Module):
    """Multilingual Universal Sentence Encoder, CNN (Yang et al. 2020, arXiv:1907.04307), as its numpy edition has it.

    Embeddings and three branches of convolutions over them are normalised, summed over the text divided by the root of
    its length, and pass four dense layers with skips; the result has length 1.
    """

    def __init__(self, text: TextFrame) -> None:
        super().__init__()
        sizes = json.loads(text.config)
        rows, width, inner, deep = sizes["rows"], sizes["width"], sizes["branch"], sizes["deep"]
        self.table = Table(rows, width)
        self.project = nn.Linear(width, inner * len(_ORDERS))
        self.project_norm = nn.LayerNorm(inner * len(_ORDERS), eps=_EPS)
        self.branches = nn.ModuleList(Branch(inner, order, left) for order, left in _ORDERS)
        self.norm = nn.LayerNorm(text.width, eps=_EPS)
        self.out = nn.Linear(text.width, width)
        self.d0 = nn.Linear(width, deep, bias=False)
        self.p1, self.d1 = nn.Linear(width, deep, bias=False), nn.Linear(deep, deep, bias=False)
        self.d2 = nn.Linear(deep, width, bias=False)
        self.p3, self.d3 = nn.Linear(deep, width, bias=False), nn.Linear(width, width, bias=False)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        words = self.table(input_ids)
        projected = self.project_norm(self.project(words)).chunk(len(_ORDERS), -1)
        mask = attention_mask.to(words.dtype)[..., None]
        read = [branch(part, mask) for branch, part in zip(self.branches, projected, strict=True)]
        return self.norm(torch.cat([words, *read], -1)), attention_mask

    def embed(self, hidden: Tensor, mask: Tensor) -> Tensor:
        pooled = pool(self.out(hidden), mask, "sqrt")
        y1 = F.relu(self.p1(pooled) + self.d1(F.relu(self.d0(pooled))))
        y3 = torch.tanh(self.p3(y1) + self.d3(F.relu(self.d2(y1))))
        return y3 * torch.rsqrt((y3 * y3).sum(1, keepdim=True).clamp(min=_EPS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.embed(*self.hidden(input_ids, attention_mask))


class WordVectors(nn.Module):
    """Static word vectors, weighted and averaged; a word that is not in the vocabulary does not count.

    ``rows`` says which row of the table a word has, because several spellings may share one; ``weights`` are those of
    the weighted mean, 0 for what is no known word.
    """

    rows: Tensor
    weights: Tensor

    def __init__(self, text: TextFrame) -> None:
        super().__init__()
        sizes = json.loads(text.config)
        self.table = nn.Embedding(sizes["rows"], text.width)
        self.register_buffer("rows", torch.arange(sizes["words"], dtype=torch.int32) % sizes["rows"])
        self.register_buffer("weights", torch.ones(sizes["words"]))

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.weights[input_ids] * attention_mask.to(self.weights.dtype)
        return self.table(self.rows[input_ids].long()), weights

    def embed(self, hidden: Tensor, mask: Tensor) -> Tensor:
        known = (mask > 0).to(mask.dtype).sum(1, keepdim=True)
        return (hidden * mask[..., None]).sum(1) / known.clamp(min=1.0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.embed(*self.hidden(input_ids, attention_mask))


MODULES: dict[str, Callable[[TextFrame], nn.Module]] = {
    "universal-sentence-encoder": UniversalSentenceEncoder,
    "word-vectors": WordVectors,
}
