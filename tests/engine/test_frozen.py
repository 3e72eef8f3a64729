"""The compiled forward pass against eager, and what happens where the two part."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from headway import backbones
from headway.engine import frozen
from headway.engine.frozen import BATCH, TOLERANCE, agreement, compile_frozen
from headway.engine.ir import normalise, prepare
from headway.engine.torch_engine import eager
from headway.errors import ModelError

PRECISIONS = [
    "f32",
    pytest.param(
        "bf16", marks=pytest.mark.skipif("bf16" not in frozen._precisions(), reason="this processor has no bf16")
    ),
]


def _pictures(ir, n, *, seed=0):
    """Smooth and noisy pictures: a gradient, and noise of a strength of its own, for each."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, ir.view.width)[None, None, :, None] * rng.uniform(-200, 200, (n, 1, 1, 3))
    noise = rng.normal(size=(n, ir.view.height, ir.view.width, 3)) * rng.uniform(1, 60, (n, 1, 1, 1))
    return np.clip(rng.uniform(60, 200, (n, 1, 1, 3)) + ramp + noise, 0, 255).astype(np.uint8)


def _all(network, images, *, size=None):
    """All stages side by side ``[n, d]``, sent in batches of ``size``."""
    size = size or network.batch
    parts = network.forward(images[i : i + size] for i in range(0, len(images), size))
    return np.concatenate([np.concatenate(stages, axis=1) for stages in parts])


def _eager_says(backbone, images):
    import torch

    with torch.no_grad():
        outs = backbone.module().eval()(torch.from_numpy(normalise(images, backbone.spec.input)))
    return [out.numpy() for out in outs]


def _least_cosine(found, expected):
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(1) / norms).min())


@pytest.mark.samples
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_real_network_agrees_with_eager_on_the_probe_batch_and_beyond(precision, weights_cache):
    backbone = backbones.open("packaged:efficientnet_lite0.in1k", offline=False)
    ir = prepare(backbone, cache=weights_cache / "networks")
    network = frozen._compile(ir, precision, cache=None, batch=5)
    assert agreement(network, ir) >= TOLERANCE[precision]
    images = _pictures(ir, 5)
    (stages,) = network.forward([images])
    for found, expected, width in zip(stages, _eager_says(backbone, images), backbone.dims, strict=True):
        assert found.dtype == np.float32
        assert found.shape == expected.shape == (5, width)
        assert _least_cosine(found, expected) >= TOLERANCE[precision]
        if precision == "f32":  # the weights are kept in half precision, which is what this allows for
            assert np.abs(found - expected).max() <= 2e-2 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
def test_every_kind_of_network_agrees_with_eager(name, tmp_path):
    backbone = backbones.open(f"random:{name}", offline=True)
    ir = prepare(backbone, cache=tmp_path)
    images = _pictures(ir, 3)
    (stages,) = frozen._compile(ir, "f32", cache=None, batch=4).forward([images])
    for found, expected in zip(stages, _eager_says(backbone, images), strict=True):
        np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_items_features_depend_on_nothing_but_the_item(precision, tiny_ir):
    network = frozen._compile(tiny_ir, precision, cache=None, batch=8)
    images = _pictures(tiny_ir, 21)
    together = _all(network, images)
    order = np.random.default_rng(1).permutation(21)
    np.testing.assert_array_equal(_all(network, images[order]), together[order])
    for size in (1, 3, 7):
        np.testing.assert_array_equal(_all(network, images, size=size), together)
    again = frozen._compile(tiny_ir, precision, cache=None, batch=8)
    np.testing.assert_array_equal(_all(again, images), together)


@pytest.mark.samples
def test_a_real_networks_features_depend_on_nothing_but_the_item(weights_cache):
    backbone = backbones.open("packaged:efficientnet_lite0.in1k", offline=False)
    network = compile_frozen(prepare(backbone, cache=weights_cache / "networks"), cache=weights_cache / "networks")
    images = _pictures(network, BATCH + 3)
    together = _all(network, images)
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_array_equal(_all(network, images[order]), together[order])
    np.testing.assert_array_equal(_all(network, images[:3], size=1), together[:3])


def test_outputs_come_in_the_order_of_the_batches_however_many_fly(tiny_ir):
    network = frozen._compile(tiny_ir, "f32", cache=None, batch=2)
    images = _pictures(tiny_ir, 40)
    (alone,) = frozen._compile(tiny_ir, "f32", cache=None, batch=40).forward([images])
    np.testing.assert_allclose(_all(network, images), np.concatenate(alone, axis=1), atol=1e-3)
    assert list(network.forward([])) == []


def test_a_caller_may_stop_early_and_start_again(tiny_ir):
    network = frozen._compile(tiny_ir, "f32", cache=None, batch=2)
    images = _pictures(tiny_ir, 20)
    expected = _all(network, images)
    for _ in range(5):
        stopped = network.forward(images[i : i + 2] for i in range(0, 20, 2))
        next(stopped)
        stopped.close()
        np.testing.assert_array_equal(_all(network, images), expected)


def _doctored(ir, folder, change):
    """A copy of an IR beside which eager is said to have said something else."""
    shutil.copytree(ir.folder, folder)
    probe = load_file(folder / "probe.safetensors")
    probe["output.1"] = np.ascontiguousarray(change(probe["output.1"]))
    save_file(probe, folder / "probe.safetensors")
    return replace(ir, folder=folder)


def test_a_network_that_disagrees_with_eager_is_run_by_eager(tiny, tiny_ir, tmp_path):
    ir = _doctored(tiny_ir, tmp_path / "doctored", lambda out: out[:, ::-1])
    network = compile_frozen(ir, eager=lambda: eager(tiny, ir))
    assert network.engine.startswith("torch")
    tried = frozen._precisions()
    assert [f.check for f in network.findings] == ["engine-parity"] * len(tried)
    for finding, precision in zip(network.findings, tried, strict=True):
        assert finding.severity == "warn"
        assert ir.name in finding.message
        assert precision in finding.message
        assert "cosine" in finding.evidence[0]
    images = _pictures(ir, 3)
    for found, expected in zip(next(network.forward([images])), _eager_says(tiny, images), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_where_there_is_no_eager_the_disagreement_is_said_all_the_same(tiny_ir, tmp_path):
    ir = _doctored(tiny_ir, tmp_path / "doctored", lambda out: -out)
    network = compile_frozen(ir)
    assert network.engine.endswith("f32")
    assert len(network.findings) == len(frozen._precisions())


def test_a_sound_network_has_no_findings(tiny_ir):
    network = compile_frozen(tiny_ir)
    assert network.findings == ()
    assert network.engine.endswith(frozen._precisions()[0])


@pytest.mark.parametrize("stage", [0, 1, -1])
def test_a_network_that_gives_nan_in_any_stage_does_not_agree(stage, tiny_ir):
    network = frozen._compile(tiny_ir, "f32", cache=None, batch=4)
    sound = list(network.forward([load_file(tiny_ir.folder / "probe.safetensors")["images"]]))

    class Sick:
        batch = 4

        def forward(self, batches):
            outputs = [out.copy() for out in sound[0]]
            outputs[stage][2, 3] = np.nan
            yield tuple(outputs)

    assert not agreement(Sick(), tiny_ir) >= 0


def test_what_was_checked_once_is_not_checked_again(tiny_ir, tmp_path):
    cache = tmp_path / "cache"
    first = compile_frozen(tiny_ir, cache=cache)
    no_probe = _doctored(tiny_ir, tmp_path / "copy", lambda out: out)
    (no_probe.folder / "probe.safetensors").unlink()
    second = compile_frozen(no_probe, cache=cache)
    assert (second.key, second.engine) == (first.key, first.engine)
    with pytest.raises(FileNotFoundError):
        compile_frozen(no_probe, cache=tmp_path / "another")


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tiny_ir, tmp_path):
    (tmp_path / "file").write_text("in the way")
    network = compile_frozen(tiny_ir, cache=tmp_path / "file")
    images = _pictures(tiny_ir, 3)
    np.testing.assert_array_equal(_all(network, images), _all(compile_frozen(tiny_ir), images))


def test_blobs_that_cannot_be_written_are_no_reason_to_fail(tiny_ir, tmp_path):
    (tmp_path / "compiled").mkdir()
    for precision in frozen._precisions():
        key = frozen._compile(tiny_ir, precision, cache=None, batch=BATCH).key
        (tmp_path / "compiled" / key).write_text("in the way")
    assert compile_frozen(tiny_ir, cache=tmp_path).findings == ()


def test_damaged_blobs_are_compiled_again(tiny_ir, tmp_path):
    images = _pictures(tiny_ir, 3)
    expected = _all(compile_frozen(tiny_ir, cache=tmp_path), images)
    blobs = list((tmp_path / "compiled").rglob("*.blob"))
    assert blobs
    for damage in (lambda b: b[: len(b) // 2], lambda b: b"", _flipped):
        for blob in blobs:
            _overwrite(blob, damage(blob.read_bytes()))
        np.testing.assert_array_equal(_all(compile_frozen(tiny_ir, cache=tmp_path), images), expected)


def _overwrite(path, content):
    path.chmod(0o644)  # OpenVINO writes them read-only, which stops everybody but root
    path.write_bytes(content)


def _flipped(content):
    """One bit of the weights, in a blob of the right length: OpenVINO reads it without a word."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :]


def test_a_sound_blob_is_used_again_and_one_without_a_checksum_is_not(tiny_ir, tmp_path):
    compile_frozen(tiny_ir, cache=tmp_path)
    blobs = {blob: blob.stat().st_mtime_ns for blob in (tmp_path / "compiled").rglob("*.blob")}
    compile_frozen(tiny_ir, cache=tmp_path)
    assert {blob: blob.stat().st_mtime_ns for blob in blobs} == blobs
    (first, *_) = blobs
    first.with_suffix(".crc32").unlink()
    compile_frozen(tiny_ir, cache=tmp_path)
    assert first.stat().st_mtime_ns > blobs[first]
    assert first.with_suffix(".crc32").is_file()


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_damaged_network_is_a_model_error_that_says_what_to_do(name, tiny_ir, tmp_path):
    ir = _doctored(tiny_ir, tmp_path / "copy", lambda out: out)
    whole = (ir.folder / name).read_bytes()
    (ir.folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="delete that folder"):
        compile_frozen(ir)


def test_a_damaged_record_of_a_check_is_made_again(tiny_ir, tmp_path):
    compile_frozen(tiny_ir, cache=tmp_path)
    (record,) = (tmp_path / "agreement").iterdir()
    whole = record.read_text()
    record.write_text(whole[:9])
    compile_frozen(tiny_ir, cache=tmp_path)
    assert record.read_text() == whole


def test_keys_tell_precisions_batches_and_engines_apart(tiny, tiny_ir):
    networks = [
        frozen._compile(tiny_ir, "f32", cache=None, batch=2),
        frozen._compile(tiny_ir, "f32", cache=None, batch=4),
        eager(tiny, tiny_ir, batch=4),
        frozen._compile(replace(tiny_ir, key="other weights"), "f32", cache=None, batch=4),
    ]
    assert len({network.key for network in networks}) == 4
    assert frozen._compile(tiny_ir, "f32", cache=None, batch=4).key == networks[1].key
