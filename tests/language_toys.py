"""Tiny language models in transformers' format, and data sets of pairs: seconds, not minutes."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from headway.backbones._torchvision import prepare
from headway.data.dataset import fingerprint
from headway.types import Dataset

WORDS = ("red", "blue", "green", "cat", "dog", "bird", "sees", "eats", "big", "small")
OTHERS = ("rot", "blau", "gruen", "katze", "hund", "vogel", "sieht", "frisst", "gross", "klein")


def pairs(n: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Word by word translations of made phrases, all different."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        words = rng.integers(len(WORDS), size=int(rng.integers(2, 6)))
        found[" ".join(WORDS[w] for w in words)] = " ".join(OTHERS[w] for w in words)
    return list(found.items())


def dataset(found: list[tuple[str, str]]) -> Dataset:
    """Pairs of texts as the reader gives them."""
    digests = np.array([list(blake2b(s.encode(), digest_size=16).digest()) for s, _ in found], np.uint8)
    sources: Any = tuple(source for source, _ in found)
    targets: Any = tuple(target for _, target in found)
    return Dataset(
        name="pairs",
        modality="text",
        task="seq2seq",
        names=tuple(f"row {row}" for row in range(len(found))),
        sources=sources,
        digests=digests,
        targets=targets,
        classes=(),
        fingerprint=fingerprint(digests, targets=None, classes=()),
    )


def _tokenizer(to: Path, *, ends: bool) -> int:
    """A tokenizer of bytes, as GPT's; with ``ends`` it closes every text, as T5's. Returns how many tokens it has."""
    prepare()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "</s>", "<start>"]
    vocab = {token: number for number, token in enumerate([*special, *alphabet])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if ends:
        inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", additional_special_tokens=["<start>"]
    )
    wrapped.save_pretrained(to)
    return len(vocab)


def decoder(to: Path, *, layers: int = 3, kind: str = "llama", seed: int = 0) -> Path:
    """A Llama (or a GPT-2) with random weights."""
    import torch

    tokens = _tokenizer(to, ends=False)
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model: Any
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=tokens,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
        model = LlamaForCausalLM(config)
    else:
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=tokens, n_embd=32, n_layer=layers, n_head=4, n_positions=512, eos_token_id=1)
        )
    model.save_pretrained(to)
    return to


def encoder_decoder(to: Path, *, kind: str = "t5", seed: int = 0) -> Path:
    """A T5 (or a Marian) with random weights."""
    import torch

    tokens = _tokenizer(to, ends=True)
    from transformers import MarianConfig, MarianMTModel, T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    model: Any
    if kind == "t5":
        config = T5Config(
            vocab_size=tokens,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
        )
        model = T5ForConditionalGeneration(config)
    else:
        model = MarianMTModel(
            MarianConfig(
                vocab_size=tokens,
                d_model=32,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=64,
                decoder_ffn_dim=64,
                max_position_embeddings=256,
                dropout=0.0,
                decoder_start_token_id=0,
                pad_token_id=0,
                eos_token_id=1,
                forced_eos_token_id=1,
            )
        )
    model.save_pretrained(to)
    return to
