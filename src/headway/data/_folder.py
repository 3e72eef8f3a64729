"""Folders: one a class, below ``train/``, ``val/``, ``test/`` where these are given; or simply all files."""

# ruff: noqa: PTH116, PTH118
# Plain strings: a Path for each of 50,000 files costs more than reading their folders.
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headway.data._items import IMAGE_SUFFIXES, Items, part_of, warning
from headway.errors import DataError
from headway.modalities._source import display_name
from headway.types import Finding, Part


def labelled(root: Path) -> Items:
    """Every file below a class folder, however deep, has that folder's name as its label."""
    walk = _Walk(str(root))
    tops = walk.children(walk.root)
    parts = {name: part_of(name) for name in tops.folders}
    items = Items(name=root.name, names=[], sources=[], labels=[], listed=False)
    if tops.folders and all(parts.values()) and _has_folders(walk, tops.folders):
        items.parts = []
        for name in tops.folders:
            beside = walk.children(os.path.join(walk.root, name))
            _add_classes(items, walk, os.path.join(walk.root, name), beside.folders, parts[name])
            tops.files += [os.path.join(name, file) for file in beside.files]
    else:
        _add_classes(items, walk, walk.root, tops.folders, None)
    if not items.names:
        raise DataError(
            "the folder holds no class folders with files",
            given=display_name(root),
            allowed="a folder a class, or train/, val/ and test/ with a folder a class in each; or a table",
            todo="Put each class's images into a folder named as the class",
        )
    items.findings += walk.findings()
    items.findings += _beside(tops.files)
    return items


def unlabelled(root: Path) -> Items:
    """Every file below a folder."""
    walk = _Walk(str(root))
    names = [path[len(walk.root) + 1 :] for path in walk.files(walk.root)]
    sources = [root / name for name in names]
    return Items(name=root.name, names=names, sources=list(sources), listed=False, findings=walk.findings())


def _add_classes(items: Items, walk: _Walk, root: str, folders: list[str], part: Part | None) -> None:
    for label in folders:
        for path in walk.files(os.path.join(root, label)):
            items.names.append(path[len(walk.root) + 1 :])
            items.sources.append(Path(path))
            if items.labels is not None:
                items.labels.append(label)
            if items.parts is not None:
                items.parts.append(part)


def _has_folders(walk: _Walk, folders: list[str]) -> bool:
    return all(walk.children(os.path.join(walk.root, name)).folders for name in folders)


def _beside(files: list[str]) -> list[Finding]:
    """Images that lie beside the class folders have no label; other files there are nobody's business."""
    lost = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
    if not lost:
        return []
    message = f"{len(lost)} images lie beside the class folders: they have no label and were left out."
    return [warning("images_without_class", message, [display_name(name) for name in lost])]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: as a file it is found not to exist
        return False


class _Children:
    """Names in one folder, sorted as bytes, so that the order is the same on every machine."""

    def __init__(self, folders: list[str], files: list[str]) -> None:
        self.folders = sorted(folders, key=os.fsencode)
        self.files = sorted(files, key=os.fsencode)


class _Walk:
    """Reads folders, follows links, and enters no folder from within itself; keeps what it could not read."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip(os.sep) or root
        self._unreadable: list[str] = []
        self._loops: list[str] = []

    def children(self, folder: str) -> _Children:
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if _is_folder(entry) else files).append(entry.name)
        except OSError as error:
            self._unreadable.append(f"{display_name(folder)} ({error.strerror or error})")
        return _Children(folders, files)

    def files(self, folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
        """Paths of all files below, each folder's own files first."""
        try:
            facts = os.stat(folder)
        except OSError as error:
            self._unreadable.append(f"{display_name(folder)} ({error.strerror or error})")
            return
        here = (facts.st_dev, facts.st_ino)
        if here in above:
            self._loops.append(display_name(folder))
            return
        inside = self.children(folder)
        for name in inside.files:
            yield f"{folder}{os.sep}{name}"
        for name in inside.folders:
            yield from self.files(f"{folder}{os.sep}{name}", (*above, here))

    def findings(self) -> list[Finding]:
        found = []
        if self._unreadable:
            message = f"{len(self._unreadable)} folders could not be read and were left out."
            found.append(warning("unreadable_folder", message, self._unreadable))
        if self._loops:
            message = f"{len(self._loops)} links lead back into a folder that holds them; they were not followed."
            found.append(warning("link_loop", message, self._loops))
        return found
