"""``vectors:`` static word vectors from a file: word2vec text and binary, GloVe, fastText ``.vec``.

``vectors:/some/glove.txt``, ``.gz`` too. gensim's ``KeyedVectors`` reads the file once; what it read is kept in the
cache. A text is the weighted mean of its words' vectors, with the weights ``a / (a + p(w))``, ``a = 0.001``, of smooth
inverse frequency (Arora, Liang & Ma 2017, section 3). Probabilities ``p(w)`` come from the counts in
``FILE.vocab`` (lines of a word and its count) where that lies beside the file, and from the word's rank elsewhere, as
files are sorted by frequency: ``p = 1 / (rank * H)``, ``H`` the sum of all ``1 / rank`` (Zipf 1935). The paper's second
step, to take the common component out, is not done: it would have to be fitted on training rows.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from headway.backbones._checkpoint import PRETRAINED
from headway.backbones._network import Frame, Network, TextFrame
from headway.backbones.packaged import _files, _words
from headway.errors import ModelError, StorageError, WeightsMissing, WeightsRefused
from headway.fetch import cache_dir
from headway.types import BackboneSpec, TextInput

if TYPE_CHECKING:
    from torch import nn

FORMAT = "1"  # raised when what is made of a file changes
SMOOTHING = 1e-3  # a of Arora et al.
TOKENS = 1024  # words of a text that count: what bounds the memory of a batch
_FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of some texts a vocabulary knows."""

    words: int
    unknown: int
    commonest: tuple[tuple[str, int], ...]  # unknown words with their counts, the most frequent first


def candidates(modality: str, *, offline: bool) -> Sequence[BackboneSpec]:  # noqa: ARG001 (every source takes it)
    """None: word vectors are named by their file."""
    return ()


def load(name: str, *, offline: bool) -> Network:  # noqa: ARG001 (every source takes it)
    """``FILE``, optionally ``@`` and the first digits of its ``weights_key``.

    Raises :class:`WeightsMissing` (no such file), :class:`WeightsRefused` (not a file of word vectors, or others than
    those named), :class:`ModelError` (gensim is missing), :class:`StorageError` (the cache cannot be written).
    """
    plain, at, revision = name.rpartition("@")
    if not at or Path(name).expanduser().is_file():
        plain, revision = name, ""
    path = Path(plain.removesuffix(f".{PRETRAINED}")).expanduser().absolute()
    if not path.is_file():
        raise WeightsMissing("the file of word vectors is not there", given=path, todo="Check the path after vectors:")
    key = _key(path)
    if not key.startswith(revision):
        raise WeightsRefused(f"the word vectors in {path.name} are others now", given=key[:12], allowed=revision)
    weights, tokenizer = (cache_dir() / "weights" / f"{key}.{end}" for end in ("safetensors", "tokenizer.json"))
    if not (weights.is_file() and tokenizer.is_file()):
        _convert(path, weights, tokenizer)
    words, rows, width = _sizes(weights)
    config = json.dumps({"rows": rows, "words": words}, sort_keys=True)
    frame = Frame(
        library="headway", arch="word-vectors", text=TextFrame(config=config, width=width, pooling="weighted")
    )
    spec = BackboneSpec(
        source="vectors",
        arch=str(path),
        weights=PRETRAINED,
        revision=key[:12],
        modality="text",
        dim=width,
        params=rows * width,
        licence="unknown",
        input=TextInput(tokens=TOKENS, pooling="weighted"),
    )
    return Network(
        spec=spec,
        weights_key=key,
        cuts=(),
        frame=frame,
        load=partial(_loaded, frame, weights),
        kept=weights,
        words=lambda: tokenizer,
    )


def coverage(tokenizer: Path, texts: Iterable[str], *, most: int = 10) -> Coverage:
    """Words of ``texts`` that the vocabulary of word vectors lacks; they count for nothing in an embedding.

    ``tokenizer`` is :meth:`Network.tokenizer`'s file.
    """
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    unknown: Counter[str] = Counter()
    total = 0
    for text in texts:
        found = words.encode(text)
        total += len(found.ids)
        unknown.update(text[a:b] for (a, b), number in zip(found.offsets, found.ids, strict=True) if number == 0)
    return Coverage(words=total, unknown=unknown.total(), commonest=tuple(unknown.most_common(most)))


def sif_weights(probabilities: NDArray[np.float64]) -> NDArray[np.float32]:
    """``a / (a + p)`` of words ``[V]`` (Arora et al. 2017).

    >>> sif_weights(np.array([0.001, 0.0])).tolist()
    [0.5, 1.0]
    """
    return (SMOOTHING / (SMOOTHING + probabilities)).astype(np.float32)


def _convert(path: Path, weights: Path, tokenizer: Path) -> None:
    from safetensors.numpy import save_file

    words, table, counts = _read(path)
    if counts is None:
        ranks = 1.0 / np.arange(1, len(words) + 1)
        probabilities = ranks / ranks.sum()
    else:
        probabilities = counts / counts.sum()
    lower = all(word == word.lower() for word in words)
    arrays = {
        "table.weight": np.ascontiguousarray(np.vstack([np.zeros((1, table.shape[1])), table]), np.float32),
        "rows": np.arange(len(words) + 1, dtype=np.int32),
        "weights": np.concatenate([np.zeros(1, np.float32), sif_weights(probabilities)]),  # 0 is the unknown word
    }
    _files.kept(tokenizer, _words.of_words(words, lower=lower))
    try:
        with FileLock(weights.with_suffix(".lock")):
            save_file(arrays, weights.with_suffix(".partial"))
            weights.with_suffix(".partial").replace(weights)
    except OSError as error:
        raise StorageError(
            f"cannot write the converted word vectors: {error.strerror or error}",
            given=weights,
            todo="Free some space, or set HEADWAY_CACHE to a folder that can be written",
        ) from error


def _read(path: Path) -> tuple[list[str], NDArray[np.float32], NDArray[np.float64] | None]:
    """``(words, vectors [V, d], counts [V] where a file beside says them)``."""
    try:
        from gensim.models import KeyedVectors
    except ImportError as error:
        raise ModelError("word vectors need gensim", todo="pip install 'headway[vectors]'") from error
    header, binary = _layout(path)
    counted = path.with_name(f"{path.name}.vocab")
    counted_path = str(counted) if counted.is_file() else None
    logging.getLogger("gensim").setLevel(logging.WARNING)
    found: Any = None
    reason = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # gensim leaves a file without a header open
        try:
            found = KeyedVectors.load_word2vec_format(
                str(path), binary=binary, no_header=not header, unicode_errors="replace", fvocab=counted_path
            )
        except (ValueError, EOFError, KeyError, IndexError, OverflowError) as error:
            reason = str(error).splitlines()[0][:200] or type(error).__name__
    if found is None:
        raise _refused(path, reason)
    if not np.isfinite(found.vectors).all():
        raise _refused(path, "numbers that are not finite")
    counts = None
    if counted_path:
        counts = np.array([found.get_vecattr(word, "count") for word in found.index_to_key], np.float64)
    return list(found.index_to_key), found.vectors, counts


def _layout(path: Path) -> tuple[bool, bool]:
    """``(whether the first line says how many words and columns there are, whether numbers are binary)``."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        start: bytes = file.read(1 << 16)
    if start.startswith(_FASTTEXT_MAGIC):
        raise _refused(path, "fastText's own binary model", "Export its word vectors as .vec")
    if start[:1] in (b"\x80", b"P") and (start[:2] == b"PK" or start[1:2] < b"\x08"):
        raise _refused(
            path, "a pickle or an archive", "gensim's save_word2vec_format writes a file that is safe to read"
        )
    first, _, rest = start.partition(b"\n")
    parts = first.split()
    header = len(parts) == 2 and all(part.isdigit() for part in parts)
    if not header:
        if len(parts) < 3 or not _number(parts[-1]):
            raise _refused(path, repr(first[:60]))
        return False, False
    second = rest.partition(b"\n")[0].split()
    return True, not (len(second) > int(parts[1]) and all(map(_number, second[-int(parts[1]) :])))


def _number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _refused(path: Path, given: str, todo: str = "") -> WeightsRefused:
    return WeightsRefused(
        f"{path.name} is no file of word vectors",
        given=given,
        allowed="word2vec's text or binary form, GloVe, fastText's .vec",
        todo=todo,
    )


def _key(path: Path) -> str:
    total = hashlib.sha256(FORMAT.encode())
    for part in (path, path.with_name(f"{path.name}.vocab")):
        if part.is_file():
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _sizes(weights: Path) -> tuple[int, int, int]:
    """``(words, rows, columns)`` from the file's header."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        rows, width = file.get_slice("table.weight").get_shape()
        return file.get_slice("rows").get_shape()[0], rows, width


def _loaded(frame: Frame, weights: Path) -> nn.Module:
    from safetensors.torch import load_file

    from headway.backbones._text import filled

    return filled(frame, load_file(weights))
