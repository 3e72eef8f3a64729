"""What the tests of text networks share: texts of many kinds, batches of them, and made-up checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headway.backbones._network import Network
from headway.types import TextInput

TEXTS = (
    "The central bank raised interest rates by half a point.",
    "A goal in the last minute won the cup!",
    "short",
    "Ça alors — l'été à Paris, 25 °C… “quoi”?",
    "日本語のテキストです。",
    "many   spaces\tand\nlines",
    " ".join(["Long text about markets and football"] * 60),
)


def batch(network: Network, texts: Sequence[str] = TEXTS, *, pad: int = 0, wider: int = 0) -> tuple[Any, Any]:
    """``(input_ids, attention_mask)`` as the network's own tokenizer gives them, padded on the right."""
    import torch
    from tokenizers import Tokenizer

    expects = network.spec.input
    assert isinstance(expects, TextInput)
    words = Tokenizer.from_file(str(network.tokenizer()))
    words.enable_truncation(expects.tokens)
    found = [words.encode(expects.prefix + (text.lower() if expects.lower else text)).ids for text in texts]
    length = max(map(len, found)) + wider
    ids = torch.full((len(found), length), pad)
    mask = torch.zeros((len(found), length), dtype=torch.long)
    for row, numbers in enumerate(found):
        ids[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        mask[row, : len(numbers)] = 1
    return ids, mask


def features(network: Network, texts: Sequence[str] = TEXTS, *, pad: int = 0, wider: int = 0) -> list[np.ndarray]:
    import torch

    with torch.inference_mode():
        return [out.numpy() for out in network.module()(*batch(network, texts, pad=pad, wider=wider))]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def bert_folder(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """A BERT of 40 tokens with random weights, saved by transformers itself."""
    import torch

    from headway.backbones._hugging_face import quiet

    with quiet():
        from transformers import BertConfig, BertModel

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
            BertModel(
                BertConfig(**{"vocab_size": 40, "max_position_embeddings": 24, **sizes, **config})
            ).save_pretrained(folder)
    tokenizer(folder)
    return folder


def tokenizer(folder: Path, *, tokens: int = 40, special: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")) -> None:
    """A word-level ``tokenizer.json`` of letters and of what fills it up."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = [*special, *"abcdefghijklmnopqrstuvwxyz", *(f"w{i}" for i in range(tokens))][:tokens]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if "[CLS]" in special:
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    words.save(str(folder / "tokenizer.json"))
    roles = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", **roles}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
