"""Real data sets as plain folders and tables: ``available()`` lists them, ``build(name, to)`` writes one.

A module here is a family of data sets and declares ``SAMPLES``, a tuple of :class:`Sample`.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from headway import fetch, plugins
from headway.errors import DataError, OptionError, StorageError, did_you_mean
from headway.samples._sample import Sample, Sources

__all__ = ["Sample", "Sources", "available", "build"]


def available() -> tuple[Sample, ...]:
    """Every data set that can be built, sorted by name. Fetches nothing.

    >>> [sample.name for sample in available() if sample.name.startswith("clip")]
    ['clip13']
    """
    found = [sample for plugin in plugins.names("samples") for sample in plugins.load("samples", plugin).SAMPLES]
    return tuple(sorted(found, key=lambda sample: sample.name))


def build(name: str, to: Path, *, offline: bool = False) -> Path:
    """Write the data set into the folder ``to``, which must be absent or empty, and return it.

    The folder appears whole or not at all. What package clients bring is kept in :func:`headway.fetch.cache_dir`;
    with ``offline`` nothing else is used. Raises :class:`OptionError` (unknown name), :class:`DataError` (the folder
    is taken), :class:`StorageError`, and what :mod:`headway.fetch` raises.
    """
    sample = _find(name)
    to = Path(to).absolute()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise DataError(
            f"the sample {name} needs an empty folder and this one is taken",
            given=to,
            todo="Name another folder with --to, or delete this one",
        )
    partial = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(parents=True)
        sample.build(partial, Sources(cache=fetch.cache_dir(), offline=offline))
        (partial / "README.txt").write_text(_readme(sample), encoding="utf-8")
        partial.replace(to)
    except OSError as error:
        raise StorageError(
            f"cannot write the sample {name}: {error.strerror or error}",
            given=error.filename or to,
            todo="Free some space, or name another folder with --to",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return to


def _find(name: str) -> Sample:
    known = {sample.name: sample for sample in available()}
    if name not in known:
        raise OptionError(
            f"there is no sample data set {name!r}", allowed=", ".join(known), todo=did_you_mean(name, known)
        )
    return known[name]


def _readme(sample: Sample) -> str:
    return (
        f"{sample.name}: {sample.description}\n\n"
        f"Items:    {sample.items}\n"
        f"Modality: {sample.modality}\n"
        f"Task:     {sample.task}\n"
        f"Source:   {sample.source}\n"
        f"Licence:  {sample.licence}\n\n"
        f"Written by `headway samples {sample.name} --to DIR`.\n"
    )
