"""What texts show without any pretrained network: which words and which runs of characters they hold, weighted.

Term weighting by Salton and Buckley, "Term-weighting approaches in automatic text retrieval" (1988): sublinear counts
times the inverse document frequency, rows of length 1. Unlike an image's classical features these are learnt, from the
training texts alone and without their labels, so they are an object that is fitted, saved and read again.

A vocabulary of 50,000 is too wide for the probes, which take dense columns, and few texts span few dimensions. So the
rows are turned into coordinates: with the training rows ``X = U S Vᵀ`` the coordinates of a text ``x`` are ``x V``, and
since ``V = Xᵀ U / S`` they are ``(x Xᵀ) U / S``: a product of sparse rows and a small matrix. One more column holds the
length of what lies outside the span of the training rows, so that every row keeps length 1. On it no training row
differs, so a linear probe gives it no weight, and the probe on coordinates is the probe on all words and characters:
exactly, up to :data:`MOST` training texts. From there on :data:`MOST` of them, evenly drawn, span the coordinates
(Williams and Seeger, "Using the Nyström method to speed up kernel machines", 2001).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError, RunError
from headway.modalities import _runs

if TYPE_CHECKING:
    import scipy.sparse as sp

TFIDF_VERSION = "tfidf-1"
"""Changes whenever :func:`fit` gives other features: part of keys."""
MOST = 2048
"""Training texts that span the coordinates: at most so many columns, and one more."""
WORDS, CHARACTERS = 20_000, 40_000
"""Most terms of each kind: those in the most texts."""
LONGEST = 200_000
"""Characters of a text that are looked at: longer ones cost seconds each."""

_KINDS = ("words", "characters")
_WORDS: dict[str, Any] = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b", "dtype": np.float32}
_MANY = 1000  # training texts from which a term must be in more than one of them
_LEAST = 1e-6  # of the largest eigenvalue: what is less is rounding
_TERMS, _ARRAYS = "tfidf.json", "tfidf.safetensors"
Text = str | tuple[str, ...]
Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Tfidf:
    """Terms, their weights, and the training rows that span the coordinates. Made by :func:`fit` or :func:`load`."""

    terms: tuple[tuple[str, ...], ...]  # of each kind, in the order of their columns
    idf: Array  # [t] of all terms
    rows: tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]  # [m, t] as compressed rows
    turn: Array  # [m, k] U / S

    @property
    def dim(self) -> int:
        """Columns of :meth:`transform`."""
        return int(self.turn.shape[1]) + 1

    @cached_property
    def key(self) -> str:
        """32 hex digits over all that decides the features."""
        state = blake2b(TFIDF_VERSION.encode(), digest_size=16)
        state.update(json.dumps(self.terms).encode())
        for array in (self.idf, *self.rows, self.turn):
            state.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
        return state.hexdigest()

    def transform(self, texts: Sequence[Text]) -> Array:
        """``[n, dim]`` coordinates, rows of length 1; a text that shares no term with the training texts is the last.

        Takes ``4 n (dim + m)`` bytes; give many texts in batches.
        """
        if not len(texts):
            return np.zeros((0, self.dim), np.float32)
        rows = self._weighted(texts)
        inside = ((rows @ self._spanning.T).toarray().astype(np.float32)) @ self.turn
        outside = np.sqrt(np.maximum(1.0 - np.einsum("nd,nd->n", inside, inside), 0.0))
        outside[outside < _OUTSIDE] = 0.0  # rounding, of rows that lie in the span
        return np.concatenate([inside, outside[:, None]], axis=1).astype(np.float32)

    @cached_property
    def _words(self) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer

        return CountVectorizer(vocabulary={term: at for at, term in enumerate(self.terms[0])}, **_WORDS)

    @cached_property
    def _spanning(self) -> sp.csr_array:
        import scipy.sparse as sp

        return sp.csr_array(self.rows, shape=(len(self.turn), len(self.idf)))

    def _weighted(self, texts: Sequence[Text]) -> sp.csr_array:
        joined = [_joined(text) for text in texts]
        words = [self._words.transform(joined)] if self.terms[0] else []
        return _unit_rows([*words, _runs.counts(joined, self.terms[1])], self.idf)


def fit(texts: Sequence[Text], *, most: int = MOST) -> Tfidf:
    """Terms and weights of training texts; nothing is random, and no label is asked for.

    Words and pairs of words, and runs of 3 to 5 characters within word bounds, in lower case: the ones in the most
    texts, from :data:`_MANY` texts on only those in two or more. Pairs of texts are joined by a line end.
    At most ``most`` texts, evenly drawn, span the coordinates.

    Raises :class:`DataError` where no text holds a term.

    >>> tfidf = fit(["a red cat", "the red dog", "a blue dog"])
    >>> X = tfidf.transform(["red dog", "42"])
    >>> X.shape, (X**2).sum(axis=1).round(3).tolist()
    ((2, 4), [1.0, 1.0])
    """
    joined = [_joined(text) for text in texts]
    least = 2 if len(texts) >= _MANY else 1
    words, word_counts = _words(joined, least=least)
    runs = _runs.vocabulary(joined, least=least, most=CHARACTERS)
    if not words and not runs:
        raise DataError("the texts hold no words and no runs of characters", given=f"{len(texts)} texts")
    counts = [*word_counts, _runs.counts(joined, runs)]
    frequency = np.concatenate([np.diff(count.tocsc().indptr) for count in counts])
    idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
    drawn = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), most)).round().astype(np.int64))
    rows = _unit_rows([count[drawn] for count in counts], idf)
    parts = (rows.data.astype(np.float32), rows.indices.astype(np.int32), rows.indptr.astype(np.int32))
    return Tfidf(terms=(words, runs), idf=idf, rows=parts, turn=_turn((rows @ rows.T).toarray()))


def _words(texts: Sequence[str], *, least: int) -> tuple[tuple[str, ...], list[Any]]:
    """Words and pairs of words, and their counts ``[n, t]``; neither where there are none."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectoriser = CountVectorizer(**_WORDS)
    try:
        found = vectoriser.fit_transform(texts).tocsc()
    except ValueError:  # scikit-learn's word for an empty vocabulary
        return (), []
    frequency = np.diff(found.indptr)
    kept = np.flatnonzero(frequency >= least)
    kept = np.sort(kept[np.argsort(-frequency[kept], kind="stable")][:WORDS])
    if not len(kept):
        return (), []
    return tuple(vectoriser.get_feature_names_out()[kept].tolist()), [found[:, kept].tocsr()]


def save(tfidf: Tfidf, folder: Path) -> None:
    """Write ``tfidf.json`` (the terms) and ``tfidf.safetensors`` (numbers) into an existing folder."""
    from safetensors.numpy import save_file

    content = {"version": TFIDF_VERSION, **dict(zip(_KINDS, tfidf.terms, strict=True))}
    (folder / _TERMS).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    data, indices, starts = tfidf.rows
    arrays = {"idf": tfidf.idf, "turn": tfidf.turn, "data": data, "indices": indices, "starts": starts}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / _ARRAYS)


def load(folder: Path) -> Tfidf:
    """What :func:`save` wrote. Raises :class:`RunError` where it is not there, damaged or of another version."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        content = json.loads((folder / _TERMS).read_text(encoding="utf-8"))
        arrays = load_file(folder / _ARRAYS)
        terms = tuple(tuple(content[kind]) for kind in _KINDS)
        version = content["version"]
        rows = (arrays["data"], arrays["indices"], arrays["starts"])
        tfidf = Tfidf(terms=terms, idf=arrays["idf"], rows=rows, turn=arrays["turn"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError("the words of the classical features cannot be read", given=f"{folder} ({error})") from error
    if version != TFIDF_VERSION or len(tfidf.idf) != sum(map(len, terms)) or len(rows[2]) != len(tfidf.turn) + 1:
        raise RunError("the words of the classical features are from another version", given=f"{folder}: {version}")
    return tfidf


_OUTSIDE = 2e-3  # length that float32 may leave of nothing: the root of its resolution, four times over


def _joined(text: Text) -> str:
    return (text if isinstance(text, str) else "\n".join(text))[:LONGEST]


def _unit_rows(counts: Sequence[Any], idf: Array) -> sp.csr_array:
    """``(1 + log count) idf``, each kind of terms scaled to length 1 in each row, then the row to length 1."""
    import scipy.sparse as sp
    from sklearn.preprocessing import normalize

    blocks, start = [], 0
    for count in counts:
        stop = start + count.shape[1]
        block = sp.csr_array(count, dtype=np.float32)
        block.data = np.log(block.data) + 1
        blocks.append(normalize(block.multiply(idf[None, start:stop]).tocsr()))
        start = stop
    return sp.csr_array(normalize(sp.hstack(blocks, format="csr")))


def _turn(gram: NDArray[np.floating[Any]]) -> Array:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):  # beside other processes its threads wait for each other
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
    kept = np.flatnonzero(values > _LEAST * values[-1])[::-1]
    turn: Array = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return turn
