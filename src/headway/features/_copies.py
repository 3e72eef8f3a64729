"""Rows of equal content: each is computed once, and what is said of it holds for all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headway.types import ByteArray, IntArray


def first_of_each(digests: ByteArray, order: IntArray) -> IntArray:
    """``order`` without rows whose content came before."""
    _, first = np.unique(_heads(digests)[order], return_index=True)
    kept: IntArray = order[np.sort(first)].astype(np.int64)
    return kept


def copies_of(rows: IntArray, digests: ByteArray) -> IntArray:
    """All rows whose content is that of one of ``rows``."""
    heads = _heads(digests)
    return np.flatnonzero(np.isin(heads, heads[rows]))


def _heads(digests: ByteArray) -> NDArray[np.bytes_]:
    """Digests as strings of 16 bytes, which sort fast; equal exactly where the digests are."""
    heads: NDArray[np.bytes_] = np.ascontiguousarray(digests).view("S16")[:, 0]
    return heads


def to_all_rows(bad: Mapping[int, str], digests: ByteArray) -> dict[int, str]:
    return {int(copy): reason for row, reason in bad.items() for copy in copies_of(np.array([row]), digests)}
