"""``headway compare`` and the screens of the ladder, from manifests written by hand: whole ones, old ones, odd ones."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from headway.cli import main
from headway.cli._compare import show_comparison
from headway.cli._ladder_screen import data_value_lines, show_curves, show_data_value, show_depth, show_ladder
from headway.cli._show import show_run
from headway.run.model import FORMAT, MANIFEST

LITE0 = "packaged:efficientnet_lite0.in1k"
SCRATCH = {
    "arm": "scratch",
    "backbone": LITE0,
    "method": "scratch",
    "cut": None,
    "test": {"value": 0.2, "low": 0.15, "high": 0.25},
    "gain": {"value": 0.0, "low": 0.0, "high": 0.0},
    "seconds": 40.0,
    "trainable": 3371012,
}
TUNED = {
    "arm": "transfer",
    "backbone": LITE0,
    "method": "partial",
    "cut": "blocks.4",
    "test": {"value": 0.716, "low": 0.68, "high": 0.75},
    "gain": {"value": 0.516, "low": 0.471, "high": 0.553},
    "seconds": 33.14,
    "trainable": 2712340,
}
VERDICT = {"metric": "balanced_accuracy"}
SCREENS = (show_depth, show_ladder, show_data_value, show_curves)


def written(folder: Path, **manifest: Any) -> Path:
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, **manifest}), "utf-8")
    return folder


def shown(show: Any, content: Any, width: int = 120) -> str:
    file = io.StringIO()
    show(content, Console(file=file, width=width, markup=False, emoji=False, highlight=False))
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``headway compare ...`` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headway", "compare", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


# --- the command ----------------------------------------------------------------------------------


def test_the_table_has_gain_time_and_parameters(compare: Any, tmp_path: Path) -> None:
    code, out, err = compare(written(tmp_path / "run", verdict=VERDICT, comparison=[TUNED, SCRATCH]))
    assert (code, err) == (0, "")
    text = words(out)
    assert "Balanced accuracy on the test set, in points" in text
    for cell in ("71.6 [68.0, 75.0]", "+51.6 [+47.1, +55.3]", "33.1", "2.71 M", "20.0 [15.0, 25.0]", "3.37 M"):
        assert cell in text
    assert "run" not in text.split("model")[0].split()
    assert "\x1b" not in out


def test_several_runs_stand_side_by_side_by_name(compare: Any, tmp_path: Path) -> None:
    one = written(tmp_path / "one", verdict=VERDICT, comparison=[TUNED, SCRATCH])
    two = written(tmp_path / "two", verdict=VERDICT, comparison=[SCRATCH])
    code, out, _ = compare(one, two, one)
    rows = [line.strip() for line in out.splitlines()]
    assert code == 0 and words(out).count("2.71 M") == 1 and words(out).count("3.37 M") == 2
    assert rows.index(next(r for r in rows if "2.71 M" in r)) < rows.index(next(r for r in rows if "3.37 M" in r))
    code, out, _ = compare(one, two, "--json")
    assert [row["run"] for row in json.loads(out)] == [str(one), str(one), str(two)]


def test_json_is_the_manifest_with_the_runs_name(compare: Any, tmp_path: Path) -> None:
    run = written(tmp_path / "run", verdict=VERDICT, comparison=[TUNED, SCRATCH])
    code, out, err = compare(run, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == [
        {"run": str(run), "task": "classification", "metric": "balanced_accuracy", **row} for row in (TUNED, SCRATCH)
    ]


def test_without_scratch_there_is_a_dash_and_one_note(compare: Any, tmp_path: Path) -> None:
    run = written(tmp_path / "run", verdict=VERDICT, comparison=[{**TUNED, "gain": None}])
    code, out, err = compare(run)
    assert code == 0 and " – " in out and "71.6" in out
    assert err.count("\n") == 1 and "no model was trained from scratch" in err and str(run) in err


@pytest.mark.parametrize("more", [{}, {"comparison": None}, {"comparison": []}, {"comparison": "none"}])
def test_runs_of_before_are_told_in_one_message(compare: Any, tmp_path: Path, more: dict[str, Any]) -> None:
    run = written(tmp_path / "run", verdict=VERDICT, **more)
    code, out, err = compare(run)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "no comparison" in err and str(run) in err and "Fit again" in err


def test_a_run_of_before_beside_a_new_one_is_left_out_aloud(compare: Any, tmp_path: Path) -> None:
    old, new = written(tmp_path / "old"), written(tmp_path / "new", comparison=[TUNED, SCRATCH])
    code, out, err = compare(old, new)
    assert code == 0 and "71.6" in out
    assert "Left out" in err and str(old) in err and err.count("\n") == 1


def test_no_run_is_the_users_error(compare: Any, tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        code, out, err = compare(place)
        assert (code, out) == (2, "") and "Traceback" not in err and "no run" in err
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MANIFEST).write_text("{", "utf-8")
    assert compare(tmp_path / "broken")[0] == 2
    assert compare()[0] == 2


def test_names_are_shown_and_never_obeyed(compare: Any, tmp_path: Path) -> None:
    evil = {**TUNED, "backbone": "a[red]\x1b[2Jb\nc", "method": "m\x07"}
    code, out, _ = compare(written(tmp_path / "run", comparison=[evil, SCRATCH]))
    assert code == 0 and "\x1b" not in out and "\x07" not in out and "a[red]\\x1b" in out.replace(" ", "")


@pytest.mark.parametrize("width", [120, 80, 40, 20])
def test_no_number_is_cut_however_narrow_the_terminal(width: int) -> None:
    rows = [{"run": "a/long/path/of/a/run", **TUNED}, {"run": "other", **SCRATCH}]
    text = shown(show_comparison, rows, width)
    for cell in ("71.6 [68.0, 75.0]", "+51.6 [+47.1, +55.3]", "33.1", "2.71 M"):
        assert cell in text
    ladder = shown(show_ladder, MANIFEST_OF_ALL, width)
    assert "12.1 → 10.3" in ladder and "+5.0 → +1.2" in ladder


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"arm": None, "test": 0.5, "gain": "much", "seconds": "long", "trainable": True},
        {"test": {"value": None, "low": 0}, "gain": {"value": 0.1}, "seconds": math.nan, "cut": 3},
    ],
)
def test_odd_rows_give_dashes(odd: dict[str, Any]) -> None:
    text = shown(show_comparison, [{"run": "r", **odd}])
    assert "–" in text and "nan" not in text


# --- the ladder's screens -------------------------------------------------------------------------


def _rung(rung: str, state: str, why: str = "", **more: Any) -> dict[str, Any]:
    predicted = {"seconds": more.pop("predicted_seconds", None), "gain": more.pop("predicted_gain", None)}
    return {"rung": rung, "backbone": LITE0, "method": rung, "predicted": predicted, "state": state, "why": why, **more}


MANIFEST_OF_ALL: dict[str, Any] = {
    "depth": [
        {"backbone": LITE0, "stage": "blocks.3", "validation": 0.701, "low": 0.65, "high": 0.75, "frozen_share": 0.61},
        {"backbone": LITE0, "stage": "blocks.6", "validation": 0.65, "trainable": 412672, "seconds": 0.0213},
        {"backbone": "other", "stage": "pool", "validation": 0.5},
    ],
    "ladder": [
        _rung("kNN", "climbed", validation=0.61, seconds=1.25),
        _rung(
            "partial", "climbed", cut="blocks.4", predicted_seconds=12.14, predicted_gain=0.05,
            seconds=10.31, validation=0.672, gain=0.012,
        ),
        _rung("full", "skipped", "it did not fit the budget", predicted_seconds=112.0, predicted_gain=0.05),
    ],
    "data_value": {
        "metric": "balanced_accuracy",
        "points": [{"n": 16, "value": 0.4, "low": 0.3, "high": 0.5}, {"n": 1260, "value": 0.66}],
        "more": {"labels": 100, "value": 0.012, "low": 0.003, "high": 0.024},
        "catch_up": {"labels": 24312.7, "low": 1123, "high": 340000},
    },
    "curves": [
        {
            "backbone": LITE0,
            "method": "partial",
            "cut": "blocks.4",
            "epochs": [
                {"number": i, "train_loss": 2.0 / (i + 1), "val_loss": 1 + i / 10, "val_score": 0.6 + i / 100}
                for i in range(12)
            ],
        }
    ],
    "findings": [
        {"check": "overfitting", "severity": "warn", "message": "validation turned after epoch 4", "evidence": []},
        {"check": "duplicates", "severity": "note", "message": "something else", "evidence": []},
    ],
}  # fmt: skip


def test_depth_shows_a_table_a_network() -> None:
    text = words(shown(show_depth, MANIFEST_OF_ALL))
    assert text.count("a probe on each stage of") == 2
    assert "blocks.3 70.1 [65.0, 75.0] 61 % – –" in text
    assert "blocks.6 65.0 – 413 k 0.02" in text


def test_the_ladder_shows_what_was_predicted_and_what_came() -> None:
    text = words(shown(show_ladder, MANIFEST_OF_ALL, 200))
    assert f"kNN {LITE0} kNN 1.2 61.0 – climbed" in text
    assert f"partial {LITE0} partial above blocks.4 12.1 → 10.3 67.2 +5.0 → +1.2 climbed" in text
    assert f"full {LITE0} full 112.0 → – – +5.0 → – skipped: it did not fit the budget" in text


def test_the_worth_of_labels_is_two_sentences() -> None:
    lines = data_value_lines(MANIFEST_OF_ALL)
    assert lines == [
        "By labels: 40.0 with 16, 66.0 with 1,260 (points of balanced accuracy, validation).",
        "100 more labels would bring +1.2 [+0.3, +2.4] points of balanced accuracy.",
        "Training from scratch would need about 24,000 labels [1,100 to 340,000] to reach what transfer has now.",
    ]
    assert shown(show_data_value, MANIFEST_OF_ALL, 40).splitlines() == lines


@pytest.mark.parametrize("high", [None, math.inf])
def test_an_open_interval_is_said_to_be_open(high: float | None) -> None:
    later = {"labels": 900, "low": 450, "high": high}
    (said,) = [line for line in data_value_lines({"data_value": {"catch_up": later}}) if "scratch" in line]
    assert "[450 or more]" in said


def test_why_scratch_does_not_catch_up_is_said() -> None:
    def said(**later: Any) -> str:
        return data_value_lines({"data_value": {"catch_up": {"labels": None, "low": None, "high": None, **later}}})[-1]

    assert said(beyond=14200, why="by the curve") == (
        "Training from scratch would not catch up with 14,200 labels either."
    )
    assert said(beyond=None, why="it is at chance") == (
        "When training from scratch would catch up cannot be told: it is at chance."
    )


def test_what_cannot_be_told_is_said() -> None:
    lines = data_value_lines({"data_value": {"more": None, "catch_up": None, "why": "3 numbers of labels are too few"}})
    assert len(lines) == 2 and all("cannot be told" in line for line in lines)
    assert "3 numbers of labels are too few" in lines[0]
    assert data_value_lines({"data_value": None}) == data_value_lines({}) == []


def test_curves_rise_and_fall_and_warn() -> None:
    lines = shown(show_curves, MANIFEST_OF_ALL).splitlines()
    assert lines[0] == f"Training: partial above blocks.4 on {LITE0}, 12 epochs"
    falls, rises, score = (line.split()[2] for line in lines[1:4])
    assert falls[0] == rises[-1] == score[-1] == "█" and falls[-1] == rises[0] == "▁"
    assert len(falls) == len(rises) == 12 and list(rises) == sorted(rises)
    assert "2.000 to 0.167" in lines[1] and "60.0 to 71.0" in lines[3]
    assert lines[4:] == ["Warning: validation turned after epoch 4"]


def test_long_and_broken_trainings_stay_short() -> None:
    losses = [1.0, math.nan, None, "x", *([0.5] * 500)]
    curve = {"epochs": [{"train_loss": loss} for loss in losses]}
    lines = shown(show_curves, {"curves": [curve]}).splitlines()
    assert len(lines) == 2 and len(lines[1]) < 100 and "validation" not in lines[1]
    assert shown(show_curves, {"curves": [{"epochs": [{}]}]}).count("\n") == 1


@pytest.mark.parametrize("show", SCREENS)
def test_runs_of_before_show_nothing(show: Any) -> None:
    for manifest in ({}, {"depth": None, "ladder": None, "data_value": None, "curves": None, "findings": None}):
        assert shown(show, manifest) == ""


@pytest.mark.parametrize("show", SCREENS)
def test_rows_without_their_keys_do_not_stop_a_screen(show: Any) -> None:
    manifest = {"depth": [{}, 3], "ladder": [{}, {"predicted": 3}], "data_value": {}, "curves": [{}, None]}
    assert "None" not in shown(show, manifest)


def test_the_ladder_has_one_line_for_the_best_frozen_rung_of_a_kind() -> None:
    probes = [_rung("probe", "climbed", validation=value) for value in (0.501, 0.703, 0.602)]
    tuned = [_rung("partial", "skipped", predicted_gain=0.01, validation=value) for value in (0.111, 0.222)]
    text = shown(show_ladder, {"ladder": [_rung("kNN", "climbed", validation=0.4), *probes, *tuned]})
    assert [value in text for value in ("40.0", "50.1", "70.3", "60.2", "11.1", "22.2")] == [
        True,
        False,
        True,
        False,
        True,
        True,
    ]
    assert text.index("40.0") < text.index("70.3") < text.index("11.1")


def test_a_run_says_a_warning_of_overfitting_once(capsys: pytest.CaptureFixture[str]) -> None:
    arm = {"value": 0.5, "low": 0.4, "high": 0.6}
    chosen = {"arm": "transfer", "features": "a", "method": "ridge", "backbones": ["a"]}
    findings = [
        {"check": check, "severity": "warn", "message": f"about {check}", "evidence": []}
        for check in ("overfitting", "near-copies")
    ]
    manifest = {
        "task": "classification", "ranking": [], "contenders": [], "cut": {}, "findings": findings, "chosen": chosen,
        "verdict": {"metric": "accuracy", "outcome": "helps", "advice": "", "arms": {"transfer": arm, "prior": arm},
                    "against": "prior", "effect": 0.1, "low": 0.0, "high": 0.2, "p": 0.5},
        "data": {"train": 10, "test": 5}, "timings": {"total": 1.0},
    }  # fmt: skip
    show_run(SimpleNamespace(manifest=manifest, path=Path("run")))  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert (out.count("about overfitting"), out.count("about near-copies")) == (1, 1)
