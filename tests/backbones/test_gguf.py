"""A GGUF file written as llama.cpp's converter does, read back as a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway import backbones
from headway.errors import ModelError

from .text_oracles import batch, features


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))


def test_another_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("nothing")
    with pytest.raises(ModelError, match="no checkpoint"):
        backbones.open(f"transformers:{tmp_path / 'model.txt'}", offline=True)
    (tmp_path / "model.gguf").write_bytes(b"GGUF but not really" * 9)
    with pytest.raises(ModelError, match="GGUF file cannot be read"):
        backbones.open(f"transformers:{tmp_path / 'model.gguf'}", offline=True)


def test_a_gguf_file_round_trips(tmp_path: Path) -> None:
    import gguf
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=2
    )
    model = transformers.LlamaModel(config).eval()
    path = tmp_path / "tiny.gguf"
    _write_gguf(gguf.GGUFWriter(str(path), "llama"), model, config)
    network = backbones.open(f"transformers:{path}", offline=True)
    assert network.stages == ("model.layers.0", "model.layers.1", "model.layers.2", "mean", "embedding")
    ids, mask = batch(network, ["ab ba", "b"])
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    expected = torch.stack([row[n - 1] for row, n in zip(states, mask.sum(1), strict=True)])
    np.testing.assert_allclose(features(network, ["ab ba", "b"])[-1], expected.numpy(), atol=1e-4)


def _write_gguf(writer: Any, model: Any, config: Any) -> None:
    """A Llama as llama.cpp's converter writes it: queries and keys permuted, a byte-level vocabulary."""
    from tokenizers import pre_tokenizers

    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(128)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(300)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "</s>", *letters, "ab", *(f"extra{i}" for i in range(297 - len(letters)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a b"])
    writer.add_token_types([3, 3] + [1] * 298)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    heads = config.num_attention_heads
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        target = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}.get(name, "")
        if not target:
            _, layer, part = name.removesuffix(".weight").split(".", 2)
            target = f"blk.{layer}.{names[part]}.weight"
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(target, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
