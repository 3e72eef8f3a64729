"""Conversion happens once, whole or not at all, and tells nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway import backbones
from headway.engine import ir as ir_module
from headway.engine.ir import WEIGHT_FILES, key_of, normalise, prepare, probe_images, read
from headway.errors import ModelError, StorageError

PREPARE = """
import sys
from pathlib import Path
from headway import backbones
from headway.engine.ir import prepare
prepare(backbones.open("random:test_efficientnet", offline=True), cache=Path(sys.argv[1]))
"""
LISTEN = """
import sys
heard = []
def hook(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.", "http.client")):
        heard.append(event)
    elif event in ("os.fork", "subprocess.Popen", "os.posix_spawn"):
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith("openvino_telemetry"):
                heard.append("telemetry: " + event)
            frame = frame.f_back
sys.addaudithook(hook)
"""


@pytest.fixture
def converted(monkeypatch, tiny_ir):
    """Conversion costs nothing: it is a copy."""

    def copy(_, folder):
        shutil.copytree(tiny_ir.folder, folder, dirs_exist_ok=True)

    monkeypatch.setattr(ir_module, "_write", copy)


def _run(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def _finish(process):
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def test_an_ir_folder_holds_all_that_its_readers_need(tiny, tiny_ir):
    assert {path.name for path in tiny_ir.folder.iterdir()} == set(WEIGHT_FILES)
    assert read(tiny_ir.folder) == tiny_ir
    assert (tiny_ir.name, tiny_ir.stages, tiny_ir.dims) == (tiny.spec.id, tiny.stages, tiny.dims)
    assert tiny_ir.key == key_of(tiny) == tiny_ir.folder.name


def test_what_is_converted_is_not_converted_again(tiny, tiny_ir, monkeypatch):
    monkeypatch.setattr(ir_module, "_write", lambda *_: pytest.fail("a second conversion"))
    assert prepare(tiny, cache=tiny_ir.folder.parent) == tiny_ir


def test_the_key_names_weights_and_input_and_not_the_name(tiny):
    other = backbones.open("random:test_efficientnet@1", offline=True)
    renamed = replace(tiny, spec=replace(tiny.spec, arch="another"))
    smaller = replace(tiny, spec=replace(tiny.spec, input=replace(tiny.spec.input, height=96)))
    assert key_of(renamed) == key_of(tiny)
    assert len({key_of(tiny), key_of(other), key_of(smaller)}) == 3


def test_conversion_touches_no_network_and_reports_to_nobody(tmp_path):
    """``openvino.convert_model`` would report usage from a process that it forks."""
    _finish(_run(LISTEN + PREPARE + "assert not heard, heard", tmp_path))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_conversion_leaves_nothing(error, tiny, tmp_path, monkeypatch):
    write = Path.write_text

    def interrupted(self, *arguments, **options):
        if self.name == "ir.json":
            raise error
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", interrupted)
    with pytest.raises(error):
        prepare(tiny, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_conversion_leaves_no_half_network_and_its_remains_go(tiny, converted, tmp_path):
    waits = "import headway.engine.ir as m, time\nm._publish = lambda *_: time.sleep(99)\n"
    process = _run(waits + PREPARE, tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".new-*/ir.json")):
        assert process.poll() is None and time.monotonic() < deadline, "it never came to the end of converting"
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not list(tmp_path.glob("[!.]*"))
    (remains,) = tmp_path.iterdir()
    prepare(tiny, cache=tmp_path)
    assert remains.exists()  # another process may be at work in it
    shutil.rmtree(tmp_path / key_of(tiny))
    os.utime(remains, (time.time() - 2 * 86400,) * 2)
    prepare(tiny, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [key_of(tiny)]


def test_two_processes_convert_the_same_network_at_once(tiny, tmp_path):
    both = [_run(PREPARE, tmp_path), _run(PREPARE, tmp_path)]
    for process in both:
        _finish(process)
    assert [path.name for path in tmp_path.iterdir()] == [key_of(tiny)]
    assert read(tmp_path / key_of(tiny)).dims == tiny.dims


def test_a_folder_that_lost_its_description_is_made_again(tiny, tiny_ir, converted, tmp_path):
    shutil.copytree(tiny_ir.folder, tmp_path / key_of(tiny))
    (tmp_path / key_of(tiny) / "ir.json").unlink()
    assert prepare(tiny, cache=tmp_path).dims == tiny.dims
    assert [path.name for path in tmp_path.iterdir()] == [key_of(tiny)]


def test_no_room_for_a_converted_network_is_a_storage_error(tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="HEADWAY_CACHE"):
        prepare(tiny, cache=tmp_path / "file")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "a"}'])
def test_a_damaged_description_is_a_model_error_that_says_what_to_do(content, tmp_path):
    (tmp_path / "ir.json").write_text(content)
    with pytest.raises(ModelError, match="delete that folder"):
        read(tmp_path)


def test_a_network_that_cannot_be_converted_is_a_model_error(tiny, tmp_path):
    import torch

    class Odd(torch.nn.Module):
        def features(self, x):
            return torch.special.bessel_j0(x)  # which OpenVINO does not have

    odd = replace(tiny, load=Odd, cuts=(), frame=replace(tiny.frame, trunk=True))
    with pytest.raises(ModelError, match="cannot be converted"):
        prepare(odd, cache=tmp_path)
    assert list(tmp_path.glob("*")) == []


def test_normalise_is_the_textbook_formula(tiny):
    images = probe_images(tiny.spec.input)[:2]
    expects = replace(tiny.spec.input, channels="bgr", mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    found = normalise(images, expects)
    assert found.shape == (2, 3, *images.shape[1:3])
    blue = images[..., 2].astype(np.float64)
    np.testing.assert_allclose(found[:, 0], (blue - 1.0) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(normalise(images, replace(expects, channels="rgb"))[:, 2], (blue - 3.0) / 8.0, rtol=1e-6)


def test_the_probe_is_the_same_everywhere_and_uses_the_whole_range(tiny):
    first, second = probe_images(tiny.spec.input), probe_images(tiny.spec.input)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8
    assert first.min() < 20 and first.max() > 235
    assert len({image.tobytes() for image in first}) == len(first) == 4
