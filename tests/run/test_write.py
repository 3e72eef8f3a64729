"""A run folder is whole or says that it is not; what is in the way is refused; a killed writer's remains go."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from headway import backbones
from headway.engine.ir import WEIGHT_FILES
from headway.errors import RunError, StorageError
from headway.run import open_run
from headway.run.model import NetworkPart
from headway.run.write import append, finish, save_model, start, write_json
from headway.types import Record

PLAN = {"data": "a fingerprint", "models": ["*"], "seed": 0}
RECORD = Record(
    arm="transfer",
    backbone="a\u2028b\x85c",
    method="ridge",
    params={"penalty": 0.1, "é": "ü"},
    split="val",
    fold=1,
    seed=0,
    metric="accuracy",
    value=0.123456789012345678,
    n_train=10,
    seconds=0.5,
)


def test_a_run_is_unfinished_until_its_manifest_is_there(tmp_path, classical_model):
    out = tmp_path / "a" / "run"
    start(out, PLAN)
    with pytest.raises(RunError, match="not finished"):
        open_run(out)
    append(out, [RECORD])
    save_model(out, classical_model)
    with pytest.raises(RunError, match="not finished"):
        open_run(out)
    finish(out, {"classes": ["dark"]})
    assert open_run(out).classes == ("dark",)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "model", "plan.json", "records.jsonl"]


def test_records_come_back_as_they_were(tmp_path):
    start(tmp_path / "run", PLAN)
    append(tmp_path / "run", [RECORD, RECORD])
    append(tmp_path / "run", [RECORD])
    finish(tmp_path / "run", {})
    assert open_run(tmp_path / "run").records() == [RECORD] * 3


def test_taking_up_starts_the_records_anew(tmp_path):
    for _ in range(2):
        start(tmp_path, PLAN)
        append(tmp_path, [RECORD])
    assert (tmp_path / "records.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("change", [{"data": "another"}, {"models": []}, {"seed": 1}])
def test_another_plan_is_refused(change, tmp_path):
    start(tmp_path, PLAN)
    kept = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(RunError, match="other data, models or seed"):
        start(tmp_path, {**PLAN, **change})
    assert (tmp_path / "plan.json").read_bytes() == kept


def test_folders_with_something_else_are_refused(tmp_path):
    finished = tmp_path / "finished"
    start(finished, PLAN)
    finish(finished, {})
    with pytest.raises(RunError, match="finished run"):
        start(finished, PLAN)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/photo.jpg").write_bytes(b"dear to me")
    with pytest.raises(RunError, match="holds no run"):
        start(tmp_path / "holiday", PLAN)
    assert [path.name for path in (tmp_path / "holiday").iterdir()] == ["photo.jpg"]
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/plan.json").write_text("{")
    with pytest.raises(RunError):
        start(tmp_path / "torn", PLAN)


def test_what_a_killed_writer_left_is_taken_away(tmp_path, classical_model):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".plan.json.4711").write_text("{")  # killed while the very first file was written
    start(out, PLAN)
    (out / f".model.{os.getpid()}").mkdir()
    (out / f".model.{os.getpid()}" / "half").write_text("half")
    (out / ".model.4711").mkdir()
    (out / ".manifest.json.4711").write_text("{")
    start(out, PLAN)
    save_model(out, classical_model)
    assert sorted(path.name for path in out.iterdir()) == ["model", "plan.json"]


def test_a_model_folder_holds_what_predicting_needs(tmp_path, network_model, ir):
    backbone = backbones.open("random:test_efficientnet", offline=True)
    with_weights = NetworkPart(ir=ir, stages=(2, 5), backbone=backbone)
    model = replace(network_model, networks=(with_weights, network_model.networks[1]))
    start(tmp_path / "run", PLAN)
    save_model(tmp_path / "run", model)
    folder = tmp_path / "run/model"
    assert {path.name for path in (folder / "networks/1").iterdir()} == set(WEIGHT_FILES)
    assert {path.name for path in (folder / "networks/0").iterdir()} == {*WEIGHT_FILES, "weights.safetensors"}
    weights = load_file(folder / "networks/0/weights.safetensors")
    state = backbone.state()
    assert set(weights) == set(state)
    assert all(np.array_equal(weights[name], state[name]) for name in state)
    head = load_file(folder / "head.safetensors")
    for name in ("mean", "scale", "weight", "bias"):
        np.testing.assert_array_equal(head[name], getattr(model.head, name))
    facts = json.loads((folder / "model.json").read_text())
    assert facts["blocks"] == list(model.head.blocks)
    assert [network["stages"] for network in facts["networks"]] == [[2, 5], [1]]


def test_a_model_is_replaced_whole(tmp_path, classical_model, network_model):
    start(tmp_path, PLAN)
    save_model(tmp_path, network_model)
    save_model(tmp_path, classical_model)
    assert not (tmp_path / "model/networks").exists()


def _full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["start", "append", "save_model", "finish"])
def test_a_full_disk_is_a_storage_error_that_leaves_no_half_file(step, tmp_path, classical_model, monkeypatch):
    out = tmp_path / "run"
    start(out, PLAN)
    before = sorted(path.name for path in out.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr("headway.run.write.os.fsync", _full)
        patch.setattr("safetensors.numpy.save_file", _full)
        if step == "append":
            patch.setattr(Path, "open", _full)
        with pytest.raises(StorageError, match="No space left") as found:
            {
                "start": lambda: start(out, PLAN),
                "append": lambda: append(out, [RECORD]),
                "save_model": lambda: save_model(out, classical_model),
                "finish": lambda: finish(out, {}),
            }[step]()
    assert found.value.exit_code == 2
    assert "--out" in str(found.value)
    assert sorted(path.name for path in out.rglob("*")) == before


def test_json_appears_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
