"""PyTorch's own forward pass gives what the converted network gives."""

from __future__ import annotations

import numpy as np
import pytest

from headway import backbones
from headway.engine import frozen
from headway.engine.ir import prepare, probe_images
from headway.engine.torch_engine import eager


def _same(backbone, ir, images):
    compiled = frozen._compile(ir, "f32", cache=None, batch=4)
    slow = eager(backbone, ir, batch=4)
    assert (slow.stages, slow.dims, slow.view) == (
        compiled.stages,
        compiled.dims,
        compiled.view,
    )
    batches = [images[:3], images[3:]]
    for ours, theirs in zip(slow.forward(batches), compiled.forward(batches), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=2e-2 * np.abs(b).max())


def test_eager_is_the_ir_in_f32(tiny, tiny_ir):
    _same(tiny, tiny_ir, probe_images(tiny.spec.input))


@pytest.mark.samples
def test_eager_is_the_ir_in_f32_where_channels_are_reversed(weights_cache):
    """SqueezeNet's weights expect Caffe's BGR order."""
    backbone = backbones.open("packaged:squeezenet1_1.in1k", offline=False)
    assert backbone.spec.input.channels == "bgr"
    _same(backbone, prepare(backbone, cache=weights_cache / "networks"), probe_images(backbone.spec.input))


def test_eagers_items_do_not_depend_on_their_batch(tiny, tiny_ir):
    images = probe_images(tiny.spec.input)
    network = eager(tiny, tiny_ir, batch=4)
    (together,) = network.forward([images])
    for row in range(len(images)):
        (alone,) = network.forward([images[row : row + 1]])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a[0], b[row], atol=1e-4 * np.abs(b).max())


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs CUDA")
def test_compiled_on_cuda_agrees_with_eager(tiny, tiny_ir):
    from headway.engine.torch_engine import compiled_cuda

    network = compiled_cuda(tiny, tiny_ir, batch=4)
    assert frozen.agreement(network, tiny_ir) >= frozen.TOLERANCE["bf16"]
