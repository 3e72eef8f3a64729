"""``transformers:`` folders made by transformers itself: the same features, and nothing unsafe or unfitting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway import backbones
from headway.backbones import _checkpoint
from headway.errors import ModelError, WeightsMissing, WeightsRefused

from .text_oracles import batch, bert_folder, features, tokenizer

LETTERS = ("a b c", "z", "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d", "q ? r", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return bert_folder(tmp_path / "bert")


def test_every_stage_is_what_transformers_own_model_gives(bert: Path) -> None:
    import torch
    from transformers import BertModel

    network = backbones.open(f"transformers:{bert}", offline=True)
    assert network.stages == (*(f"model.encoder.layer.{i}" for i in range(3)), "cls", "embedding")
    assert (network.spec.dim, network.spec.input.tokens, network.spec.input.pooling) == (16, 24, "mean")
    ids, mask = batch(network, LETTERS)
    assert ids.shape[1] == 24
    with torch.inference_mode():
        states = BertModel.from_pretrained(bert)(ids, mask, output_hidden_states=True).hidden_states[1:]
    weights = mask[..., None].float()
    expected = [(h * weights).sum(1) / weights.sum(1) for h in states]
    expected.insert(3, states[-1][:, 0])
    for found, wanted in zip(features(network, LETTERS), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_padding_changes_nothing_and_an_empty_text_is_finite(bert: Path) -> None:
    network = backbones.open(f"transformers:{bert}", offline=True)
    for narrow, wide in zip(features(network, LETTERS), features(network, LETTERS, pad=7, wider=0), strict=True):
        np.testing.assert_allclose(narrow, wide, atol=1e-6)
        assert np.isfinite(narrow).all()
    short = features(network, LETTERS[:2])
    for alone, padded in zip(short, features(network, LETTERS[:2], pad=9, wider=11), strict=True):
        np.testing.assert_allclose(alone, padded, atol=1e-6)


def test_a_network_opens_again_by_its_id_and_not_when_its_weights_changed(bert: Path) -> None:
    first = backbones.open(f"transformers:{bert}", offline=True)
    again = backbones.open(first.spec.id, offline=True)
    assert (again.spec, again.weights_key) == (first.spec, first.weights_key)
    shutil.copy(bert_folder(bert.parent / "other", seed=1) / "model.safetensors", bert)
    with pytest.raises(WeightsRefused, match="others now"):
        backbones.open(first.spec.id, offline=True)


def test_the_random_sibling_has_the_same_geometry_and_opens_by_its_id(bert: Path) -> None:
    network = backbones.open(f"transformers:{bert}", offline=True)
    sibling = backbones.sibling(network, seed=3)
    assert (sibling.stages, sibling.dims, sibling.spec.input) == (network.stages, network.dims, network.spec.input)
    again = backbones.open(sibling.spec.id, offline=True)
    assert again.weights_key == sibling.weights_key != network.weights_key
    ours, drawn = features(network, LETTERS[:3])[-1], features(sibling, LETTERS[:3])[-1]
    np.testing.assert_array_equal(drawn, features(again, LETTERS[:3])[-1])
    assert not np.allclose(ours, drawn, atol=0.05)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_decoders_and_encoder_decoders(tmp_path: Path, kind: str) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    if kind == "gpt2":
        config: Any = transformers.GPT2Config(vocab_size=40, n_positions=24, n_embd=16, n_layer=4, n_head=2)
        model: Any = transformers.GPT2Model(config)
    else:
        config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=4, num_heads=2)
        model = transformers.T5Model(config)
    model.eval().save_pretrained(tmp_path / kind)
    tokenizer(tmp_path / kind)
    network = backbones.open(f"transformers:{tmp_path / kind}", offline=True)
    assert network.stages[3:] == (("mean", "embedding") if kind == "gpt2" else ("cls", "embedding"))
    ids, mask = batch(network, LETTERS[:2])
    with torch.inference_mode():
        if kind == "gpt2":
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            expected = torch.stack([row[n - 1] for row, n in zip(states, mask.sum(1), strict=True)])
        else:
            states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
            expected = torch.stack([row[:n].mean(0) for row, n in zip(states, mask.sum(1), strict=True)])
    np.testing.assert_allclose(features(network, LETTERS[:2])[-1], expected.numpy(), atol=1e-5)
    for alone, padded in zip(features(network, LETTERS[:2]), features(network, LETTERS[:2], wider=5), strict=True):
        np.testing.assert_allclose(alone, padded, atol=1e-5)


def test_a_decoder_of_a_text_without_tokens_gives_zeros(tmp_path: Path) -> None:
    import torch
    import transformers

    config = transformers.GPT2Config(vocab_size=40, n_positions=24, n_embd=16, n_layer=4, n_head=2)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    tokenizer(tmp_path)
    network = backbones.open(f"transformers:{tmp_path}", offline=True)
    with torch.inference_mode():
        found = network.module()(torch.zeros(2, 3, dtype=torch.long), torch.tensor([[0, 0, 0], [1, 1, 0]]))
    for stage in found:
        assert torch.isfinite(stage).all()
        assert not stage[0].any()
        assert stage[1].any()


def test_text_networks_can_be_cut_at_every_stage(bert: Path) -> None:
    import torch

    from headway.engine import cut

    network = backbones.open(f"transformers:{bert}", offline=True)
    ids, mask = batch(network, LETTERS[:3])
    example = {"input_ids": ids, "attention_mask": mask}
    net = network.load()
    for place in network.cuts:
        below, above, blocks = cut.split(
            net, place.module, run=lambda n, inputs: n(**inputs), example=example, kept=("attention_mask",)
        )
        with torch.inference_mode():
            torch.testing.assert_close(above(*below(ids, mask), mask), net(ids, mask), rtol=1e-4, atol=1e-5)
        assert blocks


# --- refusals -------------------------------------------------------------------------------------


def _edit(path: Path, **facts: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_a_checkpoint_that_needs_its_own_code_is_refused_and_not_run(bert: Path) -> None:
    (bert / "modeling_odd.py").write_text(f"open({str(bert / 'ran')!r}, 'w')")
    auto = {"AutoConfig": "modeling_odd.OddConfig", "AutoModel": "modeling_odd.OddModel"}
    _edit(bert / "config.json", model_type="odd", auto_map=auto)
    with pytest.raises(ModelError, match="trust_remote_code"):
        backbones.open(f"transformers:{bert}", offline=True)
    assert not (bert / "ran").exists()
    _edit(bert / "config.json", model_type="bert")  # transformers has this one itself: the code is left alone
    assert features(backbones.open(f"transformers:{bert}", offline=True), ["a b"])[-1].shape == (1, 16)
    assert not (bert / "ran").exists()


def test_an_unknown_architecture_and_an_image_network_are_refused(bert: Path) -> None:
    _edit(bert / "config.json", model_type="odd")
    with pytest.raises(ModelError, match="does not know the architecture"):
        backbones.open(f"transformers:{bert}", offline=True)
    (bert / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelError, match="no text model"):
        backbones.open(f"transformers:{bert}", offline=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": 41}, "41 tokens.* at most the network's 40 embeddings"),
        ({"tokens": 35}, "35 tokens for 40 embeddings"),
        ({"special": ("[PAD]", "[UNK]")}, r"lacks special tokens.*\[CLS\], \[SEP\]"),
        ({"special": ("[UNK]", "[PAD]", "[CLS]", "[SEP]")}, r"\[PAD\] is token 1"),
    ],
)
def test_another_networks_tokenizer_is_refused(bert: Path, change: dict[str, Any], said: str) -> None:
    tokenizer(bert, **change)
    with pytest.raises(ModelError, match=said):
        backbones.open(f"transformers:{bert}", offline=True)


def test_a_damaged_or_absent_tokenizer_is_refused(bert: Path) -> None:
    (bert / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer .* cannot be read"):
        backbones.open(f"transformers:{bert}", offline=True)
    (bert / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="no tokenizer that can be used"):
        backbones.open(f"transformers:{bert}", offline=True)


def test_a_slow_tokenizer_is_converted(bert: Path) -> None:
    from tokenizers import Tokenizer

    names = json.loads((bert / "tokenizer.json").read_text())["model"]["vocab"]
    (bert / "tokenizer.json").unlink()
    (bert / "vocab.txt").write_text("\n".join(names))  # its [MASK] is added by the conversion, and taken out again
    _edit(bert / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    network = backbones.open(f"transformers:{bert}", offline=True)
    words = Tokenizer.from_file(str(network.tokenizer()))
    assert words.encode("a B").tokens == ["[CLS]", "a", "b", "[SEP]"]
    assert words.get_vocab_size() == 40


def test_weights_that_do_not_fit_or_could_run_are_refused(bert: Path) -> None:
    import pickle

    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(bert / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "layer.2.output" not in k}, bert / "model.safetensors")
    with pytest.raises(WeightsRefused, match=r"do not fit.*layer\.2\.output"):
        backbones.open(f"transformers:{bert}", offline=True).load()
    (bert / "model.safetensors").unlink()
    torch.save(tensors, bert / "pytorch_model.bin")
    assert features(backbones.open(f"transformers:{bert}", offline=True), ["a b"])[-1].shape == (1, 16)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(bert / "ran"), "w"))

    (bert / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings.word_embeddings.weight": Evil()}))
    with pytest.raises(WeightsRefused, match="cannot be loaded"):
        backbones.open(f"transformers:{bert}", offline=True).load()
    assert not (bert / "ran").exists()
    (bert / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsMissing, match="no weights"):
        backbones.open(f"transformers:{bert}", offline=True)


def test_names_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="no folder or file"):
        backbones.open(f"transformers:{tmp_path / 'nothing'}", offline=True)
    with pytest.raises(WeightsMissing, match="offline, and huggingface"):
        backbones.open("transformers:google/bert-nowhere", offline=True)
    with pytest.raises(ModelError, match="can have this name"):
        backbones.open("transformers:a b", offline=True)


def test_offline_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch, bert: Path) -> None:
    import socket

    def reached(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", reached)
    monkeypatch.setattr(socket, "getaddrinfo", reached)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for source in ("packaged", "transformers", "sentence_transformers", "vectors", "random"):
        backbones.listed(source, modality="text")
    assert backbones.search("minilm", modality="text")
    assert backbones.look_up("packaged:minilm_l6.sentences")[0].dim == 384
    assert features(backbones.open(f"transformers:{bert}", offline=True), ["a"])[-1].shape == (1, 16)
    for source in ("transformers", "sentence_transformers"):
        with pytest.raises(WeightsMissing, match="offline"):
            backbones.open(f"{source}:google/bert-nowhere", offline=True)


def test_only_what_the_hubs_cache_has_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"config.json": ("org/plain", "org/sentences"), "modules.json": ("org/sentences",)}
    monkeypatch.setattr(_checkpoint, "in_hub_cache", lambda *, having: listed[having])
    assert [spec.name for spec in backbones.listed("transformers", modality="text")] == [
        "transformers:org/plain.pretrained"
    ]
    names = [spec.name for spec in backbones.search("org", modality="text")]
    assert names == ["sentence_transformers:org/sentences.pretrained", "transformers:org/plain.pretrained"]
