"""Debian packages through stand-ins for apt-get and dpkg-deb. No network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headway import fetch
from headway.errors import PackageClientError

APT = """#!/bin/sh
echo "$@" >> "{log}"
case "$1" in
download) {download} ;;
update) {update} ;;
esac
"""
DPKG = """#!/bin/sh
test "$1" = -x && test "$(cat "$2")" = archive || exit 2
mkdir -p "$3/usr/share/toy" && echo content > "$3/usr/share/toy/file"
"""
BRING = "echo archive > toy_1_all.deb"


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Stand-ins for apt-get and dpkg-deb, in front of the path; call it with the shell that each verb runs."""

    def install(download: str, update: str = "true") -> Path:
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        log = tmp_path / "log"
        for name, text in {"apt-get": APT.format(log=log, download=download, update=update), "dpkg-deb": DPKG}.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        return log

    return install


def test_a_debian_package_becomes_a_tree(debian, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    log = debian(BRING)
    tree = fetch.from_debian("toy", cache=tmp_path / "cache", offline=False)
    assert (tree / "usr/share/toy/file").read_text() == "content\n"
    assert fetch.from_debian("toy", cache=tmp_path / "cache", offline=True) == tree
    assert log.read_text().split() == ["download", "--quiet", "toy"], "one call, and none to update"
    assert [p.name for p in (tmp_path / "cache/partial").iterdir()] == ["debian-toy.lock"]


def test_missing_lists_are_fetched_into_the_cache(debian, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    known = tmp_path / "updated"
    log = debian(f"test -e {known} && {BRING} || {{ echo 'E: Unable to locate package toy' >&2; exit 100; }}",
                 f"touch {known}")  # fmt: skip
    cache = tmp_path / "cache"
    assert (fetch.from_debian("toy", cache=cache, offline=False) / "usr/share/toy/file").exists()
    first, update, second = log.read_text().splitlines()
    assert "Dir::" not in first
    for line in (update, second):
        assert f"Dir::State={cache}" in line
        assert f"Dir::Cache={cache}" in line


def test_apt_get_failing_is_quoted(debian, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    debian("echo 'E: Unable to locate package toy' >&2; echo 'W: note' >&2; exit 100")
    with pytest.raises(PackageClientError, match=r"apt-get failed.*E: Unable to locate package toy"):
        fetch.from_debian("toy", cache=tmp_path / "cache", offline=False)
    assert not (tmp_path / "cache/debian").exists()
    assert [p.name for p in (tmp_path / "cache/partial").iterdir()] == ["debian-toy.lock"]


def test_a_broken_archive_leaves_no_tree(debian, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    debian("echo truncated > toy_1_all.deb")
    with pytest.raises(PackageClientError, match="dpkg-deb failed"):
        fetch.from_debian("toy", cache=tmp_path / "cache", offline=False)
    assert not (tmp_path / "cache/debian").exists()


def test_no_debian_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackageClientError, match=r"no apt-get.*Debian or Ubuntu"):
        fetch.from_debian("toy", cache=tmp_path / "cache", offline=False)
