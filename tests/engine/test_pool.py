"""Opening many networks: what fails is left out with its reason, what costs too much waits."""

from __future__ import annotations

import pytest

from headway import backbones
from headway.budget import Deadline
from headway.engine import pool as pool_module
from headway.engine.ir import key_of
from headway.engine.pool import Member, open_network, open_pool
from headway.errors import ModelError, OptionError, WeightsMissing

NAMES = ["random:test_efficientnet@1", "random:test_efficientnet@2", "random:test_efficientnet@3"]


@pytest.fixture
def specs():
    return [backbones.open(name, offline=True).spec for name in NAMES]


@pytest.fixture
def opened(monkeypatch, tiny_ir):
    """Opening costs nothing and is written down."""
    names = []

    def pretend(backbone, *, device, cache):
        names.append(backbone.spec.id)
        return Member(spec=backbone.spec, backbone=backbone, ir=tiny_ir, frozen=None, seconds=1.0)

    monkeypatch.setattr(pool_module, "open_network", pretend)
    return names


def _load(spec):
    return backbones.open(spec, offline=True)


def _convert(spec, cache):
    folder = cache / key_of(_load(spec))
    folder.mkdir(parents=True)
    (folder / "ir.json").write_text("{}")


def test_all_are_opened_in_the_order_that_was_asked_for(specs, opened, tmp_path):
    _convert(specs[2], tmp_path)
    heard = []
    pool = open_pool(
        specs, load=_load, device="cpu", cache=tmp_path, deadline=Deadline(1e6), progress=lambda *x: heard.append(x)
    )
    assert opened == [specs[2].id, specs[0].id, specs[1].id]  # what is converted first
    assert [m.spec for m in pool.members] == specs
    assert pool.left_out == {}
    assert heard == [("open models", i, 3) for i in (1, 2, 3)]


def test_where_time_is_short_only_the_first_is_converted(specs, opened, tmp_path):
    pool = open_pool(specs, load=_load, device="cpu", cache=tmp_path, deadline=Deadline(2.0))
    assert opened == [specs[0].id]
    assert len(pool.left_out) == 1  # all three have one name
    assert "budget" in pool.left_out[specs[1].name]


def test_what_is_converted_is_opened_however_short_the_time(specs, opened, tmp_path):
    for spec in specs:
        _convert(spec, tmp_path)
    pool = open_pool(specs, load=_load, device="cpu", cache=tmp_path, deadline=Deadline(0.001))
    assert len(pool.members) == 3


def test_one_that_cannot_be_had_is_left_out_with_its_reason(specs, opened, tmp_path):
    def load(spec):
        if spec is specs[1]:
            raise ModelError("it is broken")
        return _load(spec)

    pool = open_pool(specs, load=load, device="cpu", cache=tmp_path, deadline=Deadline(1e6))
    assert [m.spec for m in pool.members] == [specs[0], specs[2]]
    assert pool.left_out == {specs[1].name: "it is broken."}


def test_none_at_all_is_the_first_failure_and_missing_files_are_all_listed(specs, opened, tmp_path):
    def missing(spec):
        raise WeightsMissing(f"no file of {spec.id}")

    def torn(spec):
        raise WeightsMissing("no file") if spec is specs[0] else ModelError("it is broken")

    with pytest.raises(WeightsMissing) as found:
        open_pool(specs, load=missing, device="cpu", cache=tmp_path, deadline=Deadline(60.0))
    assert all(spec.id in str(found.value) for spec in specs)
    with pytest.raises(WeightsMissing, match=r"^no file\.$"):
        open_pool(specs, load=torn, device="cpu", cache=tmp_path, deadline=Deadline(60.0))
    with pytest.raises(ModelError, match="no model to open"):
        open_pool([], load=missing, device="cpu", cache=tmp_path, deadline=Deadline(60.0))


def test_devices(tiny, tiny_ir, monkeypatch):
    member = open_network(tiny, device="cpu", cache=tiny_ir.folder.parent)
    assert member.ir == tiny_ir
    assert member.frozen.engine.startswith("openvino")
    with pytest.raises(OptionError, match="auto, cpu, cuda"):
        open_network(tiny, device="tpu", cache=tiny_ir.folder.parent)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(OptionError, match="CUDA"):
        open_network(tiny, device="cuda", cache=tiny_ir.folder.parent)
    monkeypatch.setattr(pool_module, "which", lambda _: "/usr/bin/nvidia-smi")  # a driver that does not work
    assert open_network(tiny, device="auto", cache=tiny_ir.folder.parent).frozen.engine.startswith("openvino")
