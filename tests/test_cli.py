"""The commands from end to end, each in a process of its own, as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Headway = Callable[..., "subprocess.CompletedProcess[str]"]
HEAVY = {"torch", "timm", "torchvision", "sklearn", "scipy", "polars", "transformers", "rich"}


def test_fit_prints_the_manifest_and_nothing_else(fitted: tuple[Path, Any]) -> None:
    run, printed = fitted
    assert printed == json.loads((run / "manifest.json").read_text("utf-8"))
    assert printed["classes"] == [str(digit) for digit in range(10)]
    assert printed["cut"] == {}


def test_fit_shows_ranking_verdict_and_next_step(headway: Headway, digit_folder: Path, tmp_path: Path) -> None:
    done = headway("fit", digit_folder, "--models", "*lite0*", "--method", "probe", "--out", tmp_path / "my run")
    assert done.returncode == 0 and done.stderr == ""
    heading, ranking, contenders, verdict = (
        done.stdout.index(text) for text in ("Ranking", "packaged:efficientnet_lite0.in1k", "Contenders", "Verdict")
    )
    assert heading < ranking < contenders < verdict
    assert "ridge" in done.stdout and "(kept)" in done.stdout
    assert any(words in done.stdout for words in ("Transfer helps", "Transfer harms", "Undecided", "no difference"))
    assert done.stdout.splitlines()[-1] == f"Next:  headway predict '{tmp_path}/my run' IMAGES --out predictions.csv"
    assert "\x1b" not in done.stdout


def test_fit_quiet_finds_a_folder_of_its_own(headway: Headway, digit_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / f"{digit_folder.name}-1").mkdir(parents=True)
    done = headway("fit", digit_folder, "--models", "*lite0*", "--method", "probe", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"runs/{digit_folder.name}-2\n", "")
    assert (tmp_path / done.stdout.strip() / "manifest.json").exists()


def test_a_failed_fit_leaves_no_folder(headway: Headway, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert headway("fit", "empty", cwd=tmp_path).returncode == 2
    assert list((tmp_path / "runs").iterdir()) == []


def test_rank_json(headway: Headway, digit_folder: Path) -> None:
    done = headway("rank", digit_folder, "--models", "*squeezenet*,*lite0*", "--json")
    assert done.returncode == 0 and done.stderr == ""
    lines = json.loads(done.stdout)
    assert len(lines) == 2 and {line["backbone"].partition(":")[0] for line in lines} == {"packaged"}
    for line in lines:
        assert list(line)[:6] == ["backbone", "score", "low", "high", "tie", "seconds"]
        assert {"loo_ridge", "loo_knn", "logme", "reg_hscore"} == set(list(line)[6:])
        assert line["low"] <= line["score"] == line["loo_ridge"] <= line["high"]
    assert [line["tie"] for line in lines] == sorted(line["tie"] for line in lines)


def test_rank_for_people(headway: Headway, digit_folder: Path) -> None:
    done = headway("rank", digit_folder, "--models", "*lite0*")
    assert done.returncode == 0
    assert "packaged:efficientnet_lite0.in1k" in done.stdout and "Ranked on 120 items" in done.stdout


def test_predict_and_evaluate_agree(headway: Headway, fitted: tuple[Path, Any], digit_folder: Path) -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

    run, manifest = fitted
    rows = list(csv.DictReader(io.StringIO(headway("predict", run, digit_folder).stdout)))
    assert len(rows) == 120 and list(rows[0]) == ["item", "prediction", "probability", *manifest["classes"]]
    P = np.array([[float(row[name]) for name in manifest["classes"]] for row in rows])
    said = [row["prediction"] for row in rows]
    truth = [row["item"].partition("/")[0] for row in rows]
    np.testing.assert_allclose(P.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(P.max(1), [float(row["probability"]) for row in rows])
    assert said == [manifest["classes"][i] for i in P.argmax(1)]
    found = json.loads(headway("evaluate", run, digit_folder, "--json").stdout)
    assert list(found) == ["n", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"]
    assert found["n"] == 120
    assert found["accuracy"] == pytest.approx(np.mean(np.array(said) == np.array(truth)))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(truth, P / P.sum(1, keepdims=True)), rel=1e-3)


def test_predict_writes_files_folders_and_files_together(
    headway: Headway, fitted: tuple[Path, Any], digit_folder: Path, tmp_path: Path
) -> None:
    one = sorted((digit_folder / "3").iterdir())[0]
    out = tmp_path / "deep" / "p.csv"
    done = headway("predict", fitted[0], one, digit_folder / "4", "--out", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8"))))
    assert [row["item"] for row in rows] == [str(one), *sorted(str(p) for p in (digit_folder / "4").iterdir())]
    assert os.listdir(out.parent) == ["p.csv"]


def test_evaluate_matches_classes_by_name(
    headway: Headway, fitted: tuple[Path, Any], digit_folder: Path, tmp_path: Path
) -> None:
    for name in ("7", "8"):  # by place these would be classes 0 and 1
        shutil.copytree(digit_folder / name, tmp_path / "two" / name)
    found = json.loads(headway("evaluate", fitted[0], tmp_path / "two", "--json").stdout)
    assert found["n"] == 24 and found["accuracy"] > 0.8
    (tmp_path / "two" / "8").rename(tmp_path / "two" / "eight")
    done = headway("evaluate", fitted[0], tmp_path / "two", "--json")
    assert done.returncode == 2 and done.stdout == ""
    assert "eight" in done.stderr and "Traceback" not in done.stderr


def test_evaluate_needs_neither_many_items_nor_classes(
    headway: Headway, fitted: tuple[Path, Any], digit_folder: Path, tmp_path: Path
) -> None:
    images = sorted((digit_folder / "7").iterdir())
    (tmp_path / "one" / "7").mkdir(parents=True)
    for count in (1, 5):
        for path in images[:count]:
            shutil.copy(path, tmp_path / "one" / "7" / path.name)
        found = json.loads(headway("evaluate", fitted[0], tmp_path / "one", "--json").stdout)
        assert found["n"] == count and found["accuracy"] == found["balanced_accuracy"]


@pytest.fixture(scope="module")
def network_run(fitted: tuple[Path, Any], weights_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ships a network, whatever the digits' verdict was: with a head of zeros, every class is as likely."""
    from headway import backbones
    from headway.engine.ir import prepare
    from headway.run.model import Model, NetworkPart
    from headway.run.write import finish, save_model, start
    from headway.types import LinearHead

    run = tmp_path_factory.mktemp("network") / "run"
    ir = prepare(backbones.open("packaged:efficientnet_lite0.in1k", offline=False), cache=weights_cache / "networks")
    flat = np.zeros(1280, np.float32)
    head = LinearHead(
        blocks=(1280,), unit_blocks=True, mean=flat, scale=flat + 1, weight=np.zeros((1280, 2), np.float32),
        bias=flat[:2],
    )  # fmt: skip
    part = NetworkPart(ir=ir, stages=(len(ir.stages) - 1,))
    start(run, {})
    save_model(run, Model(modality="image", task="classification", classes=("no", "yes"), head=head, networks=(part,)))
    finish(run, {"classes": ["no", "yes"]})
    return run


def _processor_seconds() -> float:
    """Of all processes that ended under this one: a busy neighbour slows the clock on the wall, and not this."""
    spent = os.times()
    return spent.children_user + spent.children_system


def test_predict_is_light_and_quick(environment: dict[str, str], network_run: Path, digit_folder: Path) -> None:
    image = sorted((digit_folder / "0").iterdir())[0]
    code = "import sys\nfrom headway.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)\n"
    command = [sys.executable, "-c", code, "predict", str(network_run), str(image)]
    seconds = []
    for _ in range(3):  # the first compiles the network for single images
        started = _processor_seconds()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        seconds.append(_processor_seconds() - started)
    assert done.stdout == f"item,prediction,probability,no,yes\n{image},no,0.5,0.5,0.5\n"
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "openvino" in loaded
    assert loaded & HEAVY == set()
    assert min(seconds) <= 1.5


def test_help_is_light_and_quick(environment: dict[str, str]) -> None:
    code = "import sys\nfrom headway.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)\n"
    for arguments in (["--help"], ["fit", "--help"], ["models", "list", "-h"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        assert not {name.partition(".")[0] for name in done.stderr.split()} & (HEAVY | {"numpy", "openvino"})
    seconds = []
    for _ in range(5):
        started = _processor_seconds()
        subprocess.run([sys.executable, "-m", "headway", "--help"], env=environment, capture_output=True, check=True)
        seconds.append(_processor_seconds() - started)
    assert min(seconds) <= 0.3


def test_import_is_lazy(environment: dict[str, str]) -> None:
    code = (
        "import sys, time; started = time.perf_counter(); import headway; spent = time.perf_counter() - started\n"
        "assert not {'numpy', 'typer', 'sklearn'} & set(sys.modules)\n"
        "assert set(headway.__all__) <= set(dir(headway)); print(spent)"
    )
    spent = [
        float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert (
        min(spent) < 0.2
    )  # a few milliseconds where the machine is idle; importing numpy alone takes a tenth of a second
    import headway

    for name in headway.__all__:
        assert getattr(headway, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = headway.nonsense


def test_samples_and_models(headway: Headway, tmp_path: Path) -> None:
    assert "clip13" in headway("samples").stdout
    built = headway("samples", "photos", cwd=tmp_path)
    assert built.returncode == 0 and (tmp_path / "samples" / "photos").is_dir()
    listed = json.loads(headway("models", "list", "--json").stdout)
    assert len(listed) == 8 and all(spec["name"].startswith("packaged:") for spec in listed)
    told = json.loads(headway("models", "info", "efficientnet_lite0.in1k", "--json").stdout)
    assert told["dim"] == 1280 and told["licence"] == "Apache-2.0"
    assert "packaged:vgg16.edges" in headway("models", "list").stdout
    assert "packaged:vit_small_patch14_dinov2" in headway("models", "search", "dinov2 small").stdout


def test_version(headway: Headway) -> None:
    from headway import __version__

    assert headway("--version").stdout == f"{__version__}\n"
