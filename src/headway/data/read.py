"""The only reader: folders, tables, saved Hugging Face data sets and arrays become one :class:`Dataset`."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from headway import plugins
from headway.data import _folder
from headway.data._items import IMAGE_SUFFIXES, SHOWN, Items, Wanted, warning
from headway.data._task import AUTO, checked_task, task_of
from headway.data.dataset import fingerprint
from headway.data.health import numbered
from headway.data.index import ContentIndex, contents
from headway.errors import DataError, OptionError
from headway.modalities import image
from headway.modalities._source import display_name
from headway.tasks._labels import is_many, missing
from headway.types import ByteArray, Dataset, Finding, IntArray, Part, Targets

_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson")


def read(
    data: object,
    *,
    label: str | Sequence[str] | None = None,
    group: str | None = None,
    labelled: bool = True,
    task: str = AUTO,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    index: ContentIndex | None = None,
) -> Dataset:
    """Items, labels and content hashes of any data set that Headway knows.

    ``data`` is one of

    - a folder with a folder a class; or with ``train/``, ``val/``, ``test/`` and the classes in each;
    - a CSV, TSV, Parquet or JSON-lines table of paths and labels: the path column is the one whose values are files,
      relative to the table's folder; ``label`` and ``group`` name columns; a ``split`` column gives parts. Several
      ``label`` columns hold 0 and 1: labels that an item has or has not;
    - a folder saved by Hugging Face ``datasets`` (``save_to_disk``), or one with ``metadata.csv`` or ``.jsonl``;
    - a folder of the Hugging Face hub: ``train-00000-of-00002.parquet`` and so on, in it or in its ``data/``;
    - ``(X, y)``: X an array ``[n, h, w]`` or ``[n, h, w, 3]`` (uint8, or float in 0..1 or 0..255), or a list of
      arrays, PIL images, encoded bytes or paths; y one label an item, or a list of labels, or a table ``[n, C]`` of
      0 and 1;
    - with ``labelled=False`` also files, folders, globs and lists of these, and X alone.

    Files that cannot be opened, are empty or are no images are left out and named in a finding, unless ``strict``.
    Damage further inside shows when they are decoded. ``index`` remembers content hashes of unchanged files.
    ``task`` is "classification", "multilabel", "regression", or "auto": classification unless the labels unmistakably
    ask for another (:func:`headway.data._task.task_of`). ``classes`` are those of a model that is to be judged by the
    data: targets then count in them, and one will do.

    Raises :class:`DataError` where nothing usable is left or, with ``strict``, where any item is bad, and
    :class:`OptionError` for a column that is not there or not clear.

    >>> data = read((np.zeros((4, 8, 8), np.uint8), ["a", "a", "b", "b"]))
    >>> data.names[:2], data.classes, data.targets.tolist()
    (('row 0', 'row 1'), ('a', 'b'), [0, 0, 1, 1])
    """
    columns = (label,) if isinstance(label, str) else tuple(label or ())
    known = tuple(classes or ()) if task == "multilabel" else ()
    items = _items(data, Wanted(label=columns, group=group, labelled=labelled, known=known))
    if not labelled:
        items.labels = None
    return _dataset(items, task=checked_task(task), classes=classes, strict=strict, index=index)


def _items(data: object, wanted: Wanted) -> Items:
    if not isinstance(data, str | os.PathLike):
        from headway.data import _arrays

        return _arrays.items(data, labelled=wanted.labelled)
    path = Path(data)
    if path.is_dir():
        return _of_folder(path, wanted)
    if path.is_file():
        if path.suffix.lower() in _TABLES:
            from headway.data import _table

            return _table.items(path, wanted)
        if not wanted.labelled:
            return Items(name=path.name, names=[str(data)], sources=[path])
    # glob, because Path.glob takes no absolute patterns.
    found = sorted(glob.glob(str(data), recursive=True), key=os.fsencode) if not wanted.labelled else []  # noqa: PTH207
    if not found:
        raise DataError(
            "there is no data set here" if not path.exists() else "a single file is no data set",
            given=display_name(path),
            allowed="a folder with a folder a class, a CSV, TSV, Parquet or JSONL table, a saved Hugging Face data set",
            todo="Check the path",
        )
    from headway.data import _arrays

    return _arrays.items(found, labelled=False)


def _of_folder(path: Path, wanted: Wanted) -> Items:
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        given = f"{display_name(path)} ({error.strerror or error})"
        raise DataError("the folder cannot be read", given=given, todo="Check its permissions") from error
    from headway.data import _table

    if names & {"dataset_dict.json", "dataset_info.json", "state.json"} or _table.shards(path):
        return _table.saved(path, wanted)
    for metadata in ("metadata.csv", "metadata.jsonl", "metadata.parquet"):
        if metadata in names:
            return _table.items(path / metadata, wanted)
    return _folder.labelled(path) if wanted.labelled else _folder.unlabelled(path)


def _dataset(
    items: Items, *, task: str, classes: Sequence[str] | None, strict: bool, index: ContentIndex | None
) -> Dataset:
    task, decided = _decided(items, task)
    digests, bad, ignored = _hashed(items, index)
    findings = [*items.findings, *_bad_items(items, bad, strict)]
    if ignored:
        message = f"{len(ignored)} files are not images and were left alone."
        shown = tuple(display_name(items.names[row]) for row in ignored[:SHOWN])
        findings.append(Finding(check="not_images", severity="note", message=message, evidence=shown))
    unusable = {*bad, *ignored}
    unlabelled = _without_label(items, unusable, task)
    if unlabelled:
        message = f"{len(unlabelled)} items have no label and were left out."
        findings.append(warning("missing_labels", message, [display_name(items.names[row]) for row in unlabelled]))
        unusable.update(unlabelled)
    keep = [row for row in range(len(items.names)) if row not in unusable]
    if not keep:
        reasons = "; ".join(f.message for f in findings) or "it is empty"
        raise DataError("the data set has no usable items", given=f"{display_name(items.name)}: {reasons}")
    return _encoded(items, keep, digests[keep], [*findings, *decided], task, classes)


def _decided(items: Items, task: str) -> tuple[str, tuple[Finding, ...]]:
    """The task, and what the user should know of the decision."""
    if items.labels is None:
        return "classification" if task == AUTO else task, ()
    if items.listed:
        return task_of(items.labels, task)
    if task not in (AUTO, "classification"):
        raise OptionError(
            "a folder a class gives one class an item",
            given=f"the task {task!r}",
            allowed="classification",
            todo="Give a table of paths and labels",
        )
    return "classification", ()


def _encoded(
    items: Items, keep: list[int], digests: ByteArray, findings: list[Finding], task: str, known: Sequence[str] | None
) -> Dataset:
    targets: Targets | None = None
    classes: tuple[str, ...] = ()
    if items.labels is not None:
        kind = plugins.load("tasks", task)
        labels = [items.labels[row] for row in keep]
        encoded = kind.encode(labels) if known is None else kind.encode_as(labels, known)
        targets, classes = encoded.targets, encoded.classes
        findings = [*findings, *encoded.findings]
    groups = None if items.groups is None else _group_numbers([items.groups[row] for row in keep])
    parts: tuple[Part | None, ...] | None = None
    if items.parts is not None and any(items.parts[row] for row in keep):
        parts = tuple(items.parts[row] for row in keep)
    return Dataset(
        name=display_name(items.name),
        modality="image",
        task=task,
        names=tuple(display_name(items.names[row]) for row in keep),
        sources=tuple(items.sources[row] for row in keep),
        digests=digests,
        targets=targets,
        classes=classes,
        groups=groups,
        parts=parts,
        findings=tuple(findings),
        fingerprint=fingerprint(digests, targets=targets, classes=classes, groups=groups, parts=parts),
    )


def _hashed(items: Items, index: ContentIndex | None) -> tuple[ByteArray, dict[int, str], list[int]]:
    """Digests ``[n, 16]``, the reason why each bad item is bad, and the rows of files that were never meant."""
    files = [(row, str(source)) for row, source in enumerate(items.sources) if isinstance(source, Path)]
    digests = np.zeros((len(items.names), 16), np.uint8)
    bad: dict[int, str] = {}
    ignored: list[int] = []
    for row, source in enumerate(items.sources):
        if not isinstance(source, Path):
            digests[row] = np.frombuffer(_digest(source), np.uint8)
            if isinstance(source, bytes) and not image.sniff(source):
                bad[row] = "is not an image" if source else "is empty"
    found = contents([path for _, path in files], wanted=image.sniff, index=index)
    good = [(row, content.digest) for (row, _), content in zip(files, found, strict=True) if content.digest]
    if good:
        digests[[row for row, _ in good]] = np.frombuffer(b"".join(d for _, d in good), np.uint8).reshape(-1, 16)
    if len(good) == len(files):
        return digests, bad, ignored
    for (row, path), content in zip(files, found, strict=True):
        if content.digest is None:
            if not items.listed and not content.error and not path.lower().endswith(IMAGE_SUFFIXES):
                ignored.append(row)
            else:
                bad[row] = content.error or ("is not an image" if content.head else "is empty (zero bytes)")
    return digests, bad, ignored


def _digest(source: bytes | ByteArray) -> bytes:
    state = blake2b(digest_size=16)
    if isinstance(source, np.ndarray):  # pixels alone would make a 2 x 8 image equal to a 4 x 4 one
        state.update(repr(source.shape).encode())
        source = source.tobytes()
    state.update(source)
    return state.digest()


def _bad_items(items: Items, bad: dict[int, str], strict: bool) -> list[Finding]:
    if not bad:
        return []
    shown = [f"{display_name(items.names[row])} {reason}" for row, reason in list(bad.items())[:SHOWN]]
    if strict:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"{len(bad)} items cannot be used",
            given="; ".join(shown) + more,
            todo="Mend or remove them, or do not ask for strict",
        )
    return [warning("bad_items", f"{len(bad)} items cannot be used and were left out.", shown)]


def _without_label(items: Items, unusable: set[int], task: str) -> list[int]:
    if items.labels is None:
        return []
    if task == "multilabel" and not any(map(is_many, items.labels)):
        return []  # an empty text has no labels: a table of text cannot say it otherwise
    return [row for row, label in enumerate(items.labels) if row not in unusable and missing(label)]


def _group_numbers(groups: Sequence[Any]) -> IntArray:
    """Equal values are one group; an item without a group is a group of its own."""
    known: dict[object, int] = {}
    rows = [len(groups) + row if missing(g) else known.setdefault(g, len(known)) for row, g in enumerate(groups)]
    return numbered(np.array(rows, np.int64))
