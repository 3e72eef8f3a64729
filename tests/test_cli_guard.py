"""Errors to messages and exit codes, and text that is safe to print."""

from __future__ import annotations

import doctest
import json
import time
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from headway.cli import _demo, _fit, _predictions, _screen
from headway.cli._guard import guarded
from headway.errors import DataError, HeadwayError, PackageClientError, StorageError


def _code(error: BaseException) -> int:
    @guarded
    def command() -> None:
        raise error

    try:
        command()
    except typer.Exit as left:
        return left.exit_code
    return 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("the data are off", given="x"), 2),
        (StorageError("the disk is full"), 2),
        (HeadwayError("a part is missing"), 1),
        (ValueError("boom"), 1),
        (MemoryError(), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWAY_DEBUG", raising=False)
    assert _code(error) == code
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    assert str(error) in err
    assert ("HEADWAY_DEBUG=1" in err) == (code == 1 and not isinstance(error, HeadwayError))


def test_debugging_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_DEBUG", "1")
    assert _code(ValueError("boom")) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_exit_on_purpose_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(typer.Exit(7)) == 7
    assert capsys.readouterr().err == ""


@given(st.text(st.characters(), max_size=30))
def test_plain_text_never_moves_the_cursor(text: str) -> None:
    shown = _screen.plain(text)
    assert all(c.isprintable() or c == "\u200d" for c in shown)
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


@given(st.text(max_size=20))
def test_no_item_begins_a_formula(name: str) -> None:
    shown = _predictions.as_item(name)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert Path(shown or ".") == Path(name or ".")  # the same file


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_numeric_labels_stay_numbers(number: float) -> None:
    assert _predictions.as_label(str(number)) == str(number)
    assert _predictions.as_label(f"+{number}") == f"+{number}"


@pytest.mark.parametrize("label", ["=1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd()", "\t=1"])
def test_labels_that_could_run_are_defused(label: str) -> None:
    assert _predictions.as_label(label) == f"'{label}"


def test_json_holds_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    _screen.say_json({"a": float("nan"), "b": [float("inf"), 1.5], "é\ud800": "ü"})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"a": None, "b": [None, 1.5], "é\ud800": "ü"}


def test_predictions_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("old")
    with pytest.raises(KeyError), _predictions.writer(str(tmp_path / "p.csv")) as file:
        file.write("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert (tmp_path / "p.csv").read_text() == "old"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--out"), _predictions.writer(str(tmp_path / "file" / "p.csv")):
        pass


def test_the_demo_takes_what_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def build(name: str, to: Path, *, offline: bool) -> Path:
        tried.append(name)
        if name != "digits":
            raise PackageClientError("apt-get is missing")
        to.mkdir(parents=True)
        (to / "README.txt").write_text("")
        return to

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("headway.samples.build", build)
    assert _demo._sample(None, offline=False) == Path("samples/digits")
    assert tried == ["clip13", "mnist5k", "digits"]
    assert "apt-get is missing" in capsys.readouterr().out
    assert _demo._sample("digits", offline=False) == Path("samples/digits")
    assert len(tried) == 3  # built once


def test_the_budget_counts_from_the_start_of_the_process() -> None:
    from headway.cli.app import _started
    from headway.recipe.session import process_age

    deadline = _started("60s")
    assert deadline.started == pytest.approx(time.monotonic() - process_age(), abs=0.1)
    assert deadline.elapsed >= process_age() - 0.1 > 0


@pytest.mark.parametrize("module", [_screen, _predictions, _fit])
def test_examples(module: object) -> None:
    assert doctest.testmod(module)[0] == 0  # type: ignore[arg-type]


@pytest.mark.slow
def test_demo(tmp_path: Path, fresh_cache: Path) -> None:
    import shlex
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "headway", "demo", "digits", "--budget", "40s"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    last = shlex.split(done.stdout.splitlines()[-1])
    assert last[:3] == ["Try:", "headway", "predict"]
    again = subprocess.run(
        [sys.executable, "-m", *last[1:]], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert again.stdout.startswith("item,prediction,probability")
