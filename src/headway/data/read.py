"""The only reader: folders, tables, saved Hugging Face data sets and arrays become one :class:`Dataset`."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headway import plugins
from headway.data import _folder, _sequences, _tagged
from headway.data._hashing import bad_items, hashed, hashed_texts
from headway.data._items import SHOWN, Items, Wanted, warning
from headway.data._task import AUTO, checked_task, task_of
from headway.data._texts import modality_of
from headway.data.dataset import fingerprint
from headway.data.health import numbered
from headway.data.index import ContentIndex
from headway.errors import DataError, OptionError
from headway.modalities._source import display_name
from headway.tasks._labels import is_many, missing
from headway.types import ByteArray, Dataset, Finding, IntArray, Part, Targets, TextTargets

_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson")


def read(
    data: object,
    *,
    label: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    group: str | None = None,
    labelled: bool = True,
    task: str = AUTO,
    classes: Sequence[str] | None = None,
    modality: str | None = None,
    clean: Sequence[str] = (),
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

    Texts come as

    - a folder as above with ``.txt`` files, or files without a suffix;
    - a table whose cells they are: ``text`` names the column, or two for pairs; where it is unmistakable it is found;
    - ``(X, y)``, X a list of texts, or of pairs;
    - with ``task="seq2seq"`` a table with a column of texts to be written (``label``); with ``task="tagging"`` files
      with a token and its tag a line, or a table with a list of tokens and one of tags a row.

    Sources are then ``str``, or tuples of them; ``modality="text"`` says so where it is not plain. ``clean`` names what
    is done to the texts first (:data:`headway.modalities.text.CLEANINGS`); by default nothing.

    Items that cannot be opened, are empty or are of another kind are left out and named in a finding, unless
    ``strict``.
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
    texts = (text,) if isinstance(text, str) else tuple(text or ())
    wanted = Wanted(
        label=columns,
        group=group,
        labelled=labelled,
        known=tuple(classes or ()) if task == "multilabel" else (),
        text=texts,
        task=checked_task(task),
        modality=_checked_modality(modality, texts, task),
    )
    items = _items(data, wanted)
    if not labelled:
        items.labels = None
    if items.modality == "text":
        found = hashed_texts(items, cleaning=clean, every=modality == "text", tagged=task == "tagging")
    else:
        found = hashed(items, index)
    return _dataset(items, found, task=task, classes=classes, strict=strict)


def _checked_modality(modality: str | None, texts: tuple[str, ...], task: str) -> str | None:
    """The modality that is asked for, in so many words or by a task or a column; ``None``: what the data look like."""
    known = plugins.names("modalities")
    if modality is not None and modality not in known:
        raise OptionError("there is no such modality", given=repr(modality), allowed=", ".join(known))
    asked = "text" if texts or task in _sequences.TASKS else None
    if asked and modality not in (None, asked):
        raise OptionError(f"columns of texts and the task {task} are for texts", given=f"the modality {modality}")
    return asked or modality


def _items(data: object, wanted: Wanted) -> Items:
    if not isinstance(data, str | os.PathLike):
        from headway.data import _arrays

        return _arrays.items(data, wanted)
    path = Path(data)
    if path.is_dir():
        return _of_folder(path, wanted)
    if path.is_file():
        if path.suffix.lower() in _TABLES:
            from headway.data import _table

            if wanted.task == "tagging" and path.suffix.lower() in _tagged.SUFFIXES:
                return _tagged.column_file(path, wanted)
            lone = path.suffix.lower() == ".txt" and wanted.modality == "text" and not (wanted.labelled or wanted.text)
            if not lone:
                return _table.items(path, wanted)
        if wanted.task == "tagging" and path.suffix.lower() in _tagged.SUFFIXES:
            return _tagged.column_file(path, wanted)
        if not wanted.labelled:
            return _of_files(Items(name=path.name, names=[str(data)], sources=[path]), path.parent, wanted)
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

    return _arrays.items(found, wanted)


def _of_files(items: Items, root: Path, wanted: Wanted) -> Items:
    items.modality = wanted.modality or modality_of(items.names, root)
    return items


def _of_folder(path: Path, wanted: Wanted) -> Items:
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        given = f"{display_name(path)} ({error.strerror or error})"
        raise DataError("the folder cannot be read", given=given, todo="Check its permissions") from error
    from headway.data import _open_table, _table

    if names & {"dataset_dict.json", "dataset_info.json", "state.json"} or _open_table.shards(path):
        return _table.saved(path, wanted)
    for metadata in ("metadata.csv", "metadata.jsonl", "metadata.parquet"):
        if metadata in names:
            return _table.items(path / metadata, wanted)
    if wanted.task == "tagging":
        return _tagged.column_files(path, wanted)
    return _of_files(_folder.labelled(path) if wanted.labelled else _folder.unlabelled(path), path, wanted)


def _dataset(
    items: Items,
    found: tuple[ByteArray, dict[int, str], list[int]],
    *,
    task: str,
    classes: Sequence[str] | None,
    strict: bool,
) -> Dataset:
    task, decided = _decided(items, task)
    digests, bad, ignored = found
    findings = [*items.findings, *bad_items(items, bad, strict)]
    if ignored:
        message = f"{len(ignored)} files are not {items.modality}s and were left alone."
        shown = tuple(display_name(items.names[row]) for row in ignored[:SHOWN])
        findings.append(Finding(check=f"not_{items.modality}s", severity="note", message=message, evidence=shown))
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
    targets: Targets | TextTargets | None = None
    classes: tuple[str, ...] = ()
    if items.labels is not None and task in _sequences.TASKS and task not in plugins.names("tasks"):
        targets, classes = _sequences.encode([items.labels[row] for row in keep], task, known)
    elif items.labels is not None:
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
        modality=items.modality,
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
