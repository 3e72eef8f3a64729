"""Data from Python: arrays of pixels, and lists of arrays, PIL images, encoded bytes or paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from headway.data._items import IMAGE_SUFFIXES, TEXT_SUFFIXES, Items, Wanted, is_file
from headway.data._sequences import TASKS
from headway.data._tagged import tags_of
from headway.data._texts import modality_of
from headway.errors import DataError
from headway.types import ByteArray, Source

_PROBED = 200  # strings asked whether they are files
_ALLOWED = "an array [n, h, w] or [n, h, w, 3], or a list of arrays, PIL images, encoded bytes, paths or texts"


def items(data: object, wanted: Wanted) -> Items:
    """``(X, y)``, or X alone where no labels are wanted."""
    labelled = wanted.labelled
    X, y = data if isinstance(data, tuple) and len(data) == 2 and _is_many(data[0]) else (data, None)
    if labelled and y is None:
        raise DataError("the data have no labels", given=type(data).__name__, allowed="a path, or (X, y)")
    if not _is_many(X):
        raise DataError("this is no data set", given=type(X).__name__, allowed=_ALLOWED)
    texts = _texts_of(X, wanted)
    if texts is not None:
        return _of_texts(texts, y, wanted)
    sources: list[Source]
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUS":
        sources = [*_stack(X)]
    else:
        sources = [_source(x, row) for row, x in enumerate(cast("Sequence[object]", X))]
    labels = None if y is None else _labels(y, len(sources))
    names = [str(s) if isinstance(s, Path) else f"row {row}" for row, s in enumerate(sources)]
    items = Items(name="arrays", names=names, sources=sources, labels=labels)
    if any(isinstance(source, Path) for source in sources):
        items.modality = wanted.modality or modality_of(names, Path())
    return items


def _texts_of(X: Any, wanted: Wanted) -> list[Source] | None:
    """The texts, pairs or lists of tokens that these are, or ``None`` where they are not.

    Strings are paths where one of them is a file, or all end as images' or texts' names do.
    """
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUS":
        return None
    given = X.tolist() if isinstance(X, np.ndarray) else list(X)
    if not given or (wanted.modality != "text" and not all(map(_is_written, given))):
        return None
    whole = [x for x in given if isinstance(x, str)]
    if len(whole) == len(given) and wanted.task not in TASKS and _are_paths(whole):
        return None
    return [_written(x, row, wanted) for row, x in enumerate(given)]


def _is_written(x: object) -> bool:
    return isinstance(x, str) or (isinstance(x, list | tuple) and len(x) > 0 and all(isinstance(p, str) for p in x))


def _are_paths(texts: list[str]) -> bool:
    named = all(text.lower().endswith((*IMAGE_SUFFIXES, *TEXT_SUFFIXES)) for text in texts)
    return named or any(is_file(Path(text)) for text in texts[:_PROBED])


def _written(x: object, row: int, wanted: Wanted) -> Source:
    if isinstance(x, str | bytes):
        return x
    if isinstance(x, os.PathLike):
        return Path(x)
    if x is None or x != x:
        return ""
    if isinstance(x, list | tuple | np.ndarray) and all(isinstance(part, str) for part in x):
        if wanted.task == "tagging" or len(x) == 2:
            return tuple(x)
        raise DataError(
            f"item {row} is neither a text nor a pair", given=f"{len(x)} texts", allowed="a text, or two of them"
        )
    raise DataError(
        f"item {row} is no text", given=type(x).__name__, allowed="a text, a pair of texts, bytes or a path"
    )


def _of_texts(texts: list[Source], y: Any, wanted: Wanted) -> Items:
    labels = None if y is None else _labels(y, len(texts))
    if labels is not None and wanted.task == "tagging":
        labels = [None if tags is None else tags_of(tags) for tags in labels]
    names = [str(text) if isinstance(text, Path) else f"row {row}" for row, text in enumerate(texts)]
    return Items(name="arrays", names=names, sources=texts, labels=labels, modality="text")


def _is_many(X: object) -> bool:
    return isinstance(X, np.ndarray) or (isinstance(X, Sequence) and not isinstance(X, str | bytes))


def _labels(y: Any, n: int) -> list[Any]:
    column = np.asarray(y) if hasattr(y, "__array__") else y
    if isinstance(column, np.ndarray) and column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    table = isinstance(column, np.ndarray) and column.ndim == 2 and column.dtype.kind in "bif"
    if (isinstance(column, np.ndarray) and column.ndim != 1 and not table) or len(column) != n:
        given = f"{n} items and labels of shape {getattr(column, 'shape', (len(column),))}"
        raise DataError(
            "there must be one label an item", given=given, allowed="as many labels as items, or [n, C] of 0 and 1"
        )
    if table and hasattr(y, "columns"):  # a data frame: its columns are the labels' names
        return [dict(zip(map(str, y.columns), row.tolist(), strict=True)) for row in column]
    return list(column)


def _stack(X: np.ndarray[Any, Any]) -> list[ByteArray]:
    if X.ndim not in (3, 4) or (X.ndim == 4 and X.shape[3] not in (1, 3)) or 0 in X.shape:
        raise DataError("the array is no stack of images", given=f"shape {X.shape}", allowed=_ALLOWED)
    # One scale for the whole stack: a dark image of a bright set must stay dark.
    return [_rgb(image) for image in to_bytes(X)]


def _rgb(image: ByteArray) -> ByteArray:
    planes = image if image.ndim == 3 else image[..., None]
    return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)))


def _source(x: object, row: int) -> Source:
    if isinstance(x, str | os.PathLike):
        return Path(x)
    if isinstance(x, bytes):
        return x
    if hasattr(x, "has_transparency_data"):  # a PIL image, recognised without importing PIL
        from headway.modalities.image import from_pillow

        return from_pillow(x)
    array = np.asarray(x)
    if array.ndim in (2, 3) and (array.ndim == 2 or array.shape[2] in (1, 3)) and array.size and array.dtype != object:
        return _rgb(to_bytes(array))
    raise DataError(f"item {row} is no image", given=f"{type(x).__name__}, shape {array.shape}", allowed=_ALLOWED)


def to_bytes(X: np.ndarray[Any, Any]) -> ByteArray:
    """Pixels as uint8: uint8 as it is, bool as 0 and 255, floats in 0..1 times 255, numbers in 0..255 rounded.

    >>> to_bytes(np.array([0.0, 0.5, 1.0])).tolist(), to_bytes(np.array([0, 7])).tolist()
    ([0, 128, 255], [0, 7])
    """
    if X.dtype == np.uint8:
        return X
    low, high = (float(X.min()), float(X.max())) if X.dtype.kind in "biuf" else (np.nan, np.nan)
    if not (low >= 0 and high <= 255):  # also refuses NaN
        raise DataError(
            "the pixels are out of range",
            given=f"{X.dtype} from {low:g} to {high:g}",
            allowed="0..255, or floats in 0..1",
        )
    scale = 255.0 if X.dtype.kind == "b" or (X.dtype.kind == "f" and high <= 1) else 1.0
    return np.rint(X * scale).astype(np.uint8)
