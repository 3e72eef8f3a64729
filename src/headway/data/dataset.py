"""Data sets as values: fingerprint, rows taken, rows dropped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import cast

import numpy as np
from numpy.typing import NDArray

from headway.errors import DataError
from headway.types import ByteArray, Dataset, Finding, IntArray, Part, Targets, TextTargets


def fingerprint(
    digests: ByteArray,
    *,
    targets: Targets | TextTargets | None,
    classes: Sequence[str],
    groups: IntArray | None = None,
    parts: Sequence[Part | None] | None = None,
) -> str:
    """32 hex digits over contents, targets, class names, groups and parts, in row order; names of files do not count.

    >>> fingerprint(np.zeros((1, 16), np.uint8), targets=None, classes=())
    'ae783e4a78d0f5e57f275956188ff2d2'
    """
    state = blake2b(digest_size=16)
    columns: list[bytes | None] = [
        np.ascontiguousarray(digests).tobytes(),
        None if targets is None else _bytes_of(targets),
        "\0".join(classes).encode("utf-8", "surrogateescape"),
        None if groups is None else groups.astype("<i8").tobytes(),
        None if parts is None else ",".join(part or "" for part in parts).encode(),
    ]
    for column in columns:  # each with its length, so that no two data sets run into the same bytes
        state.update(b"-" if column is None else len(column).to_bytes(8, "little") + column)
    return state.hexdigest()


def _bytes_of(targets: Targets | TextTargets) -> bytes:
    """Numbers and labels say what they are, so that no other task's targets have the same bytes."""
    if isinstance(targets, tuple) or targets.dtype.kind == "O":
        return b"texts" + json.dumps(list(targets)).encode()
    if targets.dtype.kind == "f":
        return b"numbers" + targets.astype("<f8").tobytes()
    return (b"" if targets.ndim == 1 else b"labels%d" % targets.shape[1]) + targets.astype("<i8").tobytes()


def take(dataset: Dataset, rows: NDArray[np.integer] | Sequence[int]) -> Dataset:
    """The given rows, in the given order, with the same classes and findings and a fingerprint of their own."""
    at = np.asarray(rows, np.int64)
    order = at.tolist()
    digests = dataset.digests[at]
    targets = _taken(dataset.targets, at)
    groups = None if dataset.groups is None else dataset.groups[at]
    parts = None if dataset.parts is None else tuple(dataset.parts[row] for row in order)
    return replace(
        dataset,
        names=tuple(dataset.names[row] for row in order),
        sources=tuple(dataset.sources[row] for row in order),
        digests=digests,
        targets=targets,
        groups=groups,
        parts=parts,
        fingerprint=fingerprint(digests, targets=targets, classes=dataset.classes, groups=groups, parts=parts),
    )


def _taken(targets: Targets | TextTargets | None, at: IntArray) -> Targets | TextTargets | None:
    if isinstance(targets, tuple):
        return cast("TextTargets", tuple(targets[row] for row in at.tolist()))
    return None if targets is None else targets[at]


def target_array(dataset: Dataset) -> Targets:
    """The targets as an array. Raises :class:`DataError` where there are none, or where they are texts or tags."""
    if dataset.targets is None or isinstance(dataset.targets, tuple):
        kind = "no labels" if dataset.targets is None else f"targets of the task {dataset.task}"
        raise DataError("this needs classes, labels or numbers to learn", given=f"{dataset.name} with {kind}")
    return dataset.targets


def target_codes(dataset: Dataset) -> IntArray:
    """Numbers ``[n]``, equal where the targets are equal; of whatever kind they are.

    Raises :class:`DataError` where there are none.
    """
    if isinstance(dataset.targets, tuple) or (dataset.targets is not None and dataset.targets.dtype.kind == "O"):
        known: dict[object, int] = {}
        return np.array([known.setdefault(target, len(known)) for target in dataset.targets], np.int64)
    codes: IntArray = np.unique(target_array(dataset), axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    return codes


def drop(dataset: Dataset, rows: NDArray[np.integer] | Sequence[int], finding: Finding) -> Dataset:
    """The data set without some rows, and the finding that says why."""
    keep = np.ones(len(dataset.names), bool)
    keep[np.asarray(rows, np.int64)] = False
    kept = take(dataset, np.flatnonzero(keep))
    return replace(kept, findings=(*dataset.findings, finding))
