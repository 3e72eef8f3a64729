"""A tiny BERT with a tokenizer of its own, as a backbone: transformers' module is the oracle of what is computed."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from headway.backbones._torchvision import prepare
from headway.types import BackboneSpec, TextInput

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["the", "cat", "sat", "on", "mat", "rain", "share", "market", "goal", "match", "film", "song", "vote", "law"]


def write_tokenizer(path: Path, *, extra: int = 0) -> Path:
    """A word-piece tokenizer that spells what it does not know; it cuts at 6 and pads, as many shipped ones do."""
    letters = [*string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
    words = [*SPECIAL, *WORDS, *letters, *(f"extra{i}" for i in range(extra))]
    tool = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tool.normalizer = normalizers.BertNormalizer(lowercase=False)
    tool.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tool.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tool.enable_truncation(6)
    tool.enable_padding(length=6)
    tool.save(str(path))
    return path


class Pooled(nn.Module):
    """Means after the first layer, then the last layer's first position and its mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        said: Any = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        weights = attention_mask.unsqueeze(-1).float()
        means = [(h * weights).sum(1) / weights.sum(1).clamp(min=1) for h in said.hidden_states]
        return means[1], said.hidden_states[-1][:, 0], means[-1]


@dataclass
class TinyText:
    """A :class:`headway.types.TextBackbone`."""

    folder: Path
    tokens: int = 40
    extra: int = 0  # words that the tokenizer knows and the network does not
    weights_key: str = "0" * 64

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.words = write_tokenizer(self.folder / "tokenizer.json", extra=self.extra)
        self.stages = ("first", "cls", "embedding")
        self.spec = BackboneSpec(
            source="test",
            arch="tiny_bert",
            weights="drawn",
            revision="1",
            modality="text",
            dim=32,
            params=0,
            licence="none",
            input=TextInput(tokens=self.tokens, pooling="mean"),
        )

    def tokenizer(self) -> Path:
        return self.folder

    def obtain(self) -> None:
        pass

    def module(self) -> nn.Module:
        prepare()  # torchvision for transformers
        from transformers import BertConfig, BertModel

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            size = len(SPECIAL) + len(WORDS) + 52
            config = BertConfig(
                vocab_size=size,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=self.tokens,
                initializer_range=0.3,
            )
            return Pooled(BertModel(config, add_pooling_layer=False)).eval()

    def state(self) -> dict[str, Any]:
        return {name: tensor.numpy() for name, tensor in self.module().state_dict().items()}

    def weights_file(self) -> None:
        return None


def bert_folder(folder: Path, *, layers: int = 3, tokens: int = 40) -> Path:
    """A checkpoint of a BERT with drawn weights, saved by transformers itself, with the tokenizer above."""
    from headway.backbones._hugging_face import quiet

    with quiet(), torch.random.fork_rng(devices=[]):
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(SPECIAL) + len(WORDS) + 52,
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=tokens,
            initializer_range=0.3,
        )
        BertModel(config).save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return folder
