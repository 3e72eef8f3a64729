"""What is particular to text networks: their graph, their probe batch, and the shapes they are run in."""

from __future__ import annotations

import shutil
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from headway.engine._graph import convert
from headway.errors import ModelError
from headway.modalities._tokens import Tokens, collated, padded_length, rows_of, tokenised
from headway.types import Backbone, IntArray, TextBackbone, TextBatch, TextInput, TextView

if TYPE_CHECKING:
    import openvino
    from torch import nn

TOKENIZER = "tokenizer.json"
PROBE_TEXTS = (
    "Rain.",
    "The committee will meet again on Tuesday, and nobody expects an answer before then.",
    "Grüße aus Köln: 12 % weniger als 2003, ¿verdad? 😀 "
    + "Shares fell sharply after the company warned that sales of its new phone were slower than it had hoped. " * 2,
    "A film that begins as a comedy of manners and ends, two hours later, as something much sadder. " * 20,
)
"""Lengths from a few tokens to more than most networks read, one of them of several scripts."""


def tokenizer_of(backbone: Backbone) -> Path:
    """The file of a text backbone's tokenizer."""
    path = cast("TextBackbone", backbone).tokenizer()
    return path / TOKENIZER if path.is_dir() else path


def digest_of(tokenizer: Path) -> str:
    """32 hex digits of a tokenizer's file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return blake2b(tokenizer.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise ModelError("a tokenizer cannot be read", given=f"{tokenizer} ({error.strerror or error})") from error


def view_of(expects: TextInput, tokenizer: Path) -> TextView:
    """How a network with that tokenizer takes texts."""
    return TextView(
        digest=digest_of(tokenizer),
        tokens=expects.tokens,
        prefix=expects.prefix,
        lower=expects.lower,
        tokenizer=tokenizer,
    )


def converted(
    module: nn.Module, backbone: Backbone, folder: Path
) -> tuple[openvino.Model, dict[str, NDArray[Any]], dict[str, object]]:
    """The graph of a text network, its probe batch with eager's outputs, and the facts of its view.

    The tokenizer goes into ``folder``.
    """
    import torch

    spec = backbone.spec
    assert isinstance(spec.input, TextInput)
    shutil.copyfile(tokenizer_of(backbone), folder / TOKENIZER)
    view = view_of(spec.input, folder / TOKENIZER)
    items = probe_items(view)
    try:
        with torch.inference_mode():  # each by itself, so that what padding does shows in the compiled network
            said = [module(*map(torch.from_numpy, collated([item], len(item.ids)))) for item in items]
    except IndexError as error:
        raise ModelError(
            f"{spec.name} and its tokenizer do not belong together",
            given=f"the tokenizer has ids up to {max(int(item.ids.max()) for item in items)}",
            allowed=f"ids of the network's own words ({error})",
        ) from error
    outputs = [torch.cat(stage).float().numpy() for stage in zip(*said, strict=True)]
    example = tuple(map(torch.from_numpy, collated(items[:2], max(len(item.ids) for item in items[:2]))))
    model = convert(module, example, name=spec.name)
    longest = max(len(item.ids) for item in items)
    ids, mask = collated(items, longest)
    probe = {"input_ids": ids, "attention_mask": mask}
    probe |= {f"output.{i}": np.ascontiguousarray(out) for i, out in enumerate(outputs)}
    facts = {"tokenizer": view.digest, "tokens": view.tokens, "prefix": view.prefix, "lower": view.lower}
    return model, probe, facts


def probe_items(view: TextView) -> list[Tokens]:
    """Texts of several lengths, and one of the greatest ids that the tokenizer has: all must have embeddings."""
    items, greatest = tokenised(PROBE_TEXTS, view)
    last = np.arange(max(greatest - 3, 0), greatest + 1, dtype=np.int64)[-view.tokens :]
    return [*items, Tokens(ids=last, count=len(last))]


def probe_batches(probe: dict[str, NDArray[Any]], view: TextView) -> list[TextBatch]:
    """The probe's items one by one, each padded to the length that it is always padded to."""
    found = []
    for ids, mask in zip(probe["input_ids"], probe["attention_mask"], strict=True):
        item = Tokens(ids=ids[: int(mask.sum())], count=int(mask.sum()))
        found.append(collated([item], padded_length(len(item.ids), view.tokens)))
    return found


def filled(batch: TextBatch, tokens: int) -> TextBatch:
    """As many rows as every batch of that length has, so that a text's numbers never depend on its neighbours."""
    ids, mask = batch
    missing = rows_of(ids.shape[1], tokens) - len(ids)
    if missing <= 0:
        return batch
    rows: IntArray = np.concatenate([np.arange(len(ids)), np.zeros(missing, np.int64)])
    return ids[rows], mask[rows]
