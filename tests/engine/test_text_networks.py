"""Text networks: the compiled one says what transformers' own module says, whatever a text is padded with."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engine import frozen
from headway.engine.ir import key_of, prepare, read
from headway.engine.torch_engine import eager
from headway.errors import ModelError
from headway.modalities._tokens import batches, collated, pack
from headway.types import ImageView, TextView

PRECISIONS = [
    "f32",
    pytest.param(
        "bf16", marks=pytest.mark.skipif("bf16" not in frozen._precisions(), reason="this processor has no bf16")
    ),
]
# The least cosine to eager's features of the text alone, without padding: what padding may change at most
LEAST = {"f32": 0.99999, "bf16": 0.999}


@pytest.fixture(scope="module")
def compiled(tiny_text_ir):
    return {p: frozen._compile(tiny_text_ir, p, cache=None, batch=64) for p in ("f32", *frozen._precisions()[:1])}


def _features(network, texts):
    """All stages side by side ``[n, d]``, in the batches that extraction makes."""
    out = np.full((len(texts), sum(network.dims)), np.nan, np.float32)
    due = list(batches([pack(texts, network.view)], network.view, size=network.batch))
    for (places, _, _), stages in zip(due, network.forward(batch for _, batch, _ in due), strict=True):
        out[places] = np.concatenate(stages, axis=1)
    return out


def _oracle(backbone, view, text):
    """The module itself on the text alone: no padding, no batch."""
    item = pack([text], view)[0]
    with torch.inference_mode():
        return [out[0].numpy() for out in backbone.module()(*map(torch.from_numpy, collated([item], len(item.ids))))]


def _cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _least(network, backbone, row, text):
    stages = np.split(row.astype(np.float64), np.cumsum(network.dims)[:-1])
    return min(_cosine(a, b) for a, b in zip(stages, _oracle(backbone, network.view, text), strict=True))


TEXTS = ["rain", "the cat sat on the mat", "goal match film song vote law " * 2, "share market " * 30, "", "😀"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_compiled_says_what_transformers_says(precision, compiled, tiny_text):
    found = _features(compiled[precision], TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        assert _least(compiled[precision], tiny_text, row, text) >= LEAST[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=15, deadline=None)
@given(words=st.lists(st.sampled_from(["the", "cat", "vote", "xq", "market"]), max_size=36), more=st.integers(0, 24))
def test_padding_never_changes_a_text(precision, compiled, tiny_text, words, more):
    network, text = compiled[precision], " ".join(words)
    item = pack([text], network.view)[0]
    ids, mask = collated([item], min(len(item.ids) + more, network.view.tokens))
    ids[mask == 0] = 7  # whatever stands there
    (stages,) = network.forward([(ids, mask)])
    assert _least(network, tiny_text, np.concatenate(stages, axis=1)[0], text) >= LEAST[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_text_does_not_depend_on_its_neighbours(precision, compiled):
    network = compiled[precision]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["cat", "rain", "zebra", "on"], rng.integers(0, 20))) for _ in range(40)]
    together = _features(network, texts)
    order = rng.permutation(40)
    np.testing.assert_array_equal(_features(network, [texts[i] for i in order]), together[order])
    alone = np.concatenate([_features(network, [text]) for text in texts[:12]])
    np.testing.assert_array_equal(alone, together[:12])


def test_the_checked_network_is_the_fast_one_and_its_check_is_remembered(tiny_text_ir, tmp_path):
    network = frozen.compile_frozen(tiny_text_ir, cache=tmp_path)
    assert network.findings == ()
    assert network.engine.endswith(frozen._precisions()[0])
    assert isinstance(network.view, TextView)
    assert network.batch == frozen.TOKENS
    (kept,) = (tmp_path / "agreement").glob("*.json")
    assert json.loads(kept.read_text())["cosine"] >= frozen.TOLERANCE[frozen._precisions()[0]]


def test_eager_is_the_last_resort_and_agrees(tiny_text, tiny_text_ir):
    network = eager(tiny_text, tiny_text_ir, batch=64)
    assert frozen.agreement(network, tiny_text_ir) >= frozen.TOLERANCE["f32"]
    np.testing.assert_allclose(
        _features(network, TEXTS),
        _features(frozen._compile(tiny_text_ir, "f32", cache=None, batch=64), TEXTS),
        atol=2e-2,
    )


def test_a_network_that_says_something_else_is_not_believed(tiny_text_ir, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(tiny_text_ir.folder, tmp_path / "other")
    probe = load_file(folder / "probe.safetensors")
    probe["output.1"] = probe["output.1"][:, ::-1].copy()
    save_file(probe, folder / "probe.safetensors")
    found = frozen.compile_frozen(read(folder)).findings
    assert found
    assert {finding.check for finding in found} == {"engine-parity"}


def test_a_tokenizer_with_words_that_the_network_lacks_is_an_error(text_backbone, tmp_path):
    other = text_backbone.TinyText(tmp_path / "words", extra=5)
    with pytest.raises(ModelError, match="do not belong together"):
        prepare(other, cache=tmp_path / "networks")


def test_the_key_names_the_tokenizer_and_the_length(tiny_text, text_backbone, tmp_path):
    keys = [key_of(tiny_text)]
    keys.append(key_of(text_backbone.TinyText(tmp_path / "a", tokens=20)))
    keys.append(key_of(text_backbone.TinyText(tmp_path / "b", extra=1)))
    assert len(set(keys)) == 3
    assert key_of(text_backbone.TinyText(tmp_path / "c")) == keys[0]


def test_the_folder_holds_the_tokenizer_and_can_be_moved(tiny_text_ir, tmp_path):
    folder = tmp_path / "moved"
    folder.mkdir()
    for name in tiny_text_ir.files:
        shutil.copyfile(tiny_text_ir.folder / name, folder / name)
    ir = read(folder)
    assert ir.view == tiny_text_ir.view
    assert ir.view.tokenizer == folder / "tokenizer.json"
    network = frozen._compile(ir, "f32", cache=None, batch=64)
    assert np.isfinite(_features(network, TEXTS)).all()


def test_folders_of_images_from_before_there_were_texts_are_read(tmp_path):
    facts = {"key": "k", "name": "n", "stages": ["a"], "dims": [3], "height": 20, "width": 30}
    (tmp_path / "ir.json").write_text(json.dumps({**facts, "interpolation": "bilinear"}))
    assert read(tmp_path).view == ImageView(height=20, width=30, interpolation="bilinear")
