"""Checkpoints are whole or not there, exact, and nothing of them is unpickled."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from headway.engine import checkpoint

TENSORS = {
    "model/w": torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "model/n": torch.tensor(7),
    "optimiser/step/w": torch.tensor(3.0),
    "kept/h": torch.randn(2, dtype=torch.bfloat16),
}


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "deep" / "run.safetensors"
    facts = {"share": 0.1 + 0.2, "name": "ü", "inf": float("inf"), "list": [1, None]}
    checkpoint.save(path, tensors=TENSORS, facts=facts)
    found = checkpoint.load(path)
    assert {name: found.facts[name] for name in facts} == facts
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())
    assert found.part("model").keys() == {"w", "n"} and found.part("optimiser").keys() == {"step/w"}
    assert [file.name for file in path.parent.iterdir()] == ["run.safetensors"]


def test_tensors_that_share_memory_are_saved_each(tmp_path):
    one = torch.arange(4.0)
    checkpoint.save(tmp_path / "c", tensors={"a": one, "b": one, "half": one[:2]}, facts={})
    found = checkpoint.load(tmp_path / "c").tensors
    assert torch.equal(found["a"], one) and torch.equal(found["b"], one) and torch.equal(found["half"], one[:2])


def test_a_refusing_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c"
    checkpoint.save(path, tensors=TENSORS, facts={"number": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, tensors=TENSORS, facts={"number": 2})
    assert checkpoint.load(path).facts["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_what_is_no_checkpoint_is_none(tmp_path):
    path = tmp_path / "c"
    assert checkpoint.load(path) is None
    checkpoint.save(path, tensors=TENSORS, facts={})
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        b"",
        b"\x80\x04pickle",
        whole.replace(b'\\"format\\": 1', b'\\"format\\": 9'),
    ):
        assert damaged != whole
        path.write_bytes(damaged)
        assert checkpoint.load(path) is None
    path.unlink()
    torch.save(dict(TENSORS), path)
    assert checkpoint.load(path) is None


def test_half_written_files_of_killed_processes_are_swept(tmp_path):
    (tmp_path / ".c.12345").write_bytes(b"half")
    (tmp_path / ".other.12345").write_bytes(b"half")
    checkpoint.save(tmp_path / "c", tensors=TENSORS, facts={})
    assert sorted(file.name for file in tmp_path.iterdir()) == [".other.12345", "c"]


def test_fingerprints_differ_with_settings_names_values_and_layout_does_not_count():
    base = checkpoint.fingerprint("a", TENSORS.items())
    assert base == checkpoint.fingerprint("a", [(name, t.contiguous()) for name, t in TENSORS.items()])
    changed = {**TENSORS, "model/n": torch.tensor(8)}
    renamed = {name.replace("w", "v"): tensor for name, tensor in TENSORS.items()}
    others = {
        checkpoint.fingerprint("b", TENSORS.items()),
        checkpoint.fingerprint("a", changed.items()),
        checkpoint.fingerprint("a", renamed.items()),
    }
    assert len(others | {base}) == 4
