"""The commands when something is in the way: wrong input, Ctrl-C, readers that leave, hostile names."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Headway = Callable[..., "subprocess.CompletedProcess[str]"]


BAD = {
    "no data": ["fit", "no-such-folder"],
    "budget": ["fit", ".", "--budget", "soon"],
    "seed": ["fit", ".", "--seed", "-1"],
    "device": ["rank", ".", "--device", "tpu"],
    "option": ["fit", ".", "--nonsense"],
    "command": ["nonsense"],
    "no run": ["predict", ".", "a.png"],
    "model": ["models", "info", "packaged:nonsense"],
    "source": ["models", "list", "--source", "nonsense"],
    "sample": ["samples", "nonsense"],
    "demo": ["demo", "trees"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_what_the_user_can_mend_is_one_message(headway: Headway, arguments: list[str], tmp_path: Path) -> None:
    done = headway(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("Error: ") == 1 and "Traceback" not in done.stderr


def test_ctrl_c_and_the_same_command_again(
    headway: Headway, environment: dict[str, str], digit_folder: Path, tmp_path: Path
) -> None:
    arguments = [
        "fit",
        str(digit_folder),
        "--models",
        "*lite0*",
        "--method",
        "probe",
        "--out",
        str(tmp_path / "run"),
        "--seed",
        "5",
    ]
    started = subprocess.Popen(
        [sys.executable, "-m", "headway", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run" / "plan.json").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "The same command takes the run up again" in said and "Traceback" not in said
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert headway(*arguments).returncode == 0


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str], fitted: tuple[Path, Any]) -> None:
    command = [sys.executable, "-m", "headway", "models", "list", "--json"]
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None and started.stderr is not None
    started.stdout.close()
    assert started.stderr.read() == b""
    started.stderr.close()
    assert started.wait(timeout=60) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_progress_where_somebody_looks(environment: dict[str, str], digit_folder: Path, fresh_cache: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "headway", "rank", str(digit_folder), "--models", "*lite0*"]
    started = subprocess.Popen(
        command,
        env={**environment, "HEADWAY_CACHE": str(fresh_cache), "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    assert started.stdout is not None
    with started.stdout:
        printed = started.stdout.read()
    assert started.wait(timeout=60) == 0
    assert b"embed" in seen and b"of 300 s" in seen
    assert b"\x1b" not in printed


def test_hostile_names(headway: Headway, digit_folder: Path, tmp_path: Path) -> None:
    r"""Markup, control characters, emoji and bytes that are no text: shown, never obeyed, also by an ASCII terminal."""
    names = [b"[red]\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb", b"=cmd|x", b"caf\xe9\x1b[31m"]
    for row, path in enumerate(sorted(digit_folder.rglob("*.png"))[:36]):
        folder = os.path.join(os.fsencode(tmp_path), b"data", names[row // 12])
        os.makedirs(folder, exist_ok=True)
        shutil.copy(path, os.path.join(folder, [b"a\n%d.png", b"-x\x1b[2J%d.png", b"=1+%d.png"][row % 3] % row))
    (tmp_path / "data" / "=cmd|x" / "[red]broken.png").write_bytes(b"\x89PNG\r\n\x1a\nzzzz")
    for number, more in enumerate(({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})):
        done = headway(
            "fit", "data", "--models", "*lite0*", "--method", "probe", "--out", f"run{number}", cwd=tmp_path, **more
        )
        assert done.returncode == 0, done.stderr
        assert "[red]broken.png" in done.stdout and "\x1b" not in done.stdout + done.stderr
        assert done.stdout.isascii() == bool(more)
        shown = headway("predict", f"run{number}", "data", cwd=tmp_path, **more)
        assert shown.returncode == 0 and "[red]broken.png" in shown.stderr
        rows = list(csv.reader(io.StringIO(shown.stdout)))
        assert len(rows) == 37
        for row in rows:
            assert not row[0].startswith(("=", "-", "+", "@")) and not row[1].startswith("=")
            assert row[0].isprintable() or "\u200d" in row[0]
        assert rows[0][3] == "'=cmd|x"
        named = headway("predict", f"run{number}", os.fsdecode(b"data/caf\xe9\x1b[31m"), cwd=tmp_path, **more)
        assert named.returncode == 0 and named.stdout.count("\n") == 13
