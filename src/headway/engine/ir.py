"""From a backbone to OpenVINO's intermediate representation, once, with what eager said kept beside it.

An IR folder holds ``model.xml`` and ``model.bin`` (uint8 ``[n, h, w, 3]`` RGB in, or ids and mask ``[n, L]`` of any n
and L; one pooled ``[n, d_s]`` output a stage), ``ir.json``, and ``probe.safetensors``: a batch of inputs with the eager
outputs for it, so that any machine can check its own compiled network against eager without torch. That of a text
network holds its ``tokenizer.json`` too.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.engine import _text
from headway.engine._graph import convert
from headway.errors import ModelError, StorageError
from headway.seeds import seed_of
from headway.types import Backbone, BackboneSpec, ByteArray, ImageInput, ImageView, TextInput, TextView, View

if TYPE_CHECKING:
    import openvino
    from torch import nn

FORMAT = "1"  # raised when the graph that is written changes, so that old folders are not found again
PROBE_ITEMS = 4
ABANDONED_SECONDS = 3600.0  # a half-converted network that old is nobody's any more
_SCRATCH = ".new-"
WEIGHT_FILES = ("model.xml", "model.bin", "ir.json", "probe.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class IR:
    """A converted network on disk. ``dims`` are the columns of each stage, ``key`` names weights and graph."""

    folder: Path
    key: str
    name: str
    stages: tuple[str, ...]
    dims: tuple[int, ...]
    view: View

    @property
    def files(self) -> tuple[str, ...]:
        """What the folder holds, by name."""
        return (*WEIGHT_FILES, _text.TOKENIZER) if isinstance(self.view, TextView) else WEIGHT_FILES


def key_of(backbone: Backbone) -> str:
    """32 hex digits: the same for the same weights, stages and input, whatever the backbone is called."""
    facts: tuple[object, ...] = (FORMAT, backbone.weights_key, backbone.stages, asdict(backbone.spec.input))
    if isinstance(backbone.spec.input, TextInput):
        facts += (_text.digest_of(_text.tokenizer_of(backbone)),)
    return blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def prepare(backbone: Backbone, *, cache: Path) -> IR:
    """The IR of a backbone, from ``cache`` where it is there; otherwise converted (which needs torch) and kept.

    Raises:
        ModelError: the network's operations cannot be converted.
        StorageError: the cache cannot be written.
    """
    folder = cache / key_of(backbone)
    if not (folder / "ir.json").exists():
        try:
            _convert_into(backbone, folder)
        except OSError as error:
            raise StorageError(
                "a converted network cannot be written",
                given=f"{cache} ({error.strerror or error})",
                todo="Free some space, or set HEADWAY_CACHE to a folder that can be written",
            ) from error
    return read(folder)


def _convert_into(backbone: Backbone, folder: Path) -> None:
    """Write beside, then rename: a reader sees the whole folder or none."""
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob(f"{_SCRATCH}*"):  # what a killed process left
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    scratch = Path(mkdtemp(dir=cache, prefix=_SCRATCH))
    try:
        _write(backbone, scratch)
        _publish(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read(folder: Path) -> IR:
    """Open an IR folder that :func:`prepare` or a run wrote."""
    try:
        facts = json.loads((folder / "ir.json").read_text("utf-8"))
        return IR(
            folder=folder,
            key=facts["key"],
            name=facts["name"],
            stages=tuple(facts["stages"]),
            dims=tuple(facts["dims"]),
            view=_view(facts, folder),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(folder, error) from error


def _view(facts: dict[str, Any], folder: Path) -> View:
    """Facts of images are as they were before there were texts, so that either version reads the other's."""
    if "tokens" not in facts:
        return ImageView(height=facts["height"], width=facts["width"], interpolation=facts["interpolation"])
    return TextView(
        digest=facts["tokenizer"],
        tokens=facts["tokens"],
        prefix=facts["prefix"],
        lower=facts["lower"],
        tokenizer=folder / _text.TOKENIZER,
    )


def unreadable(folder: Path, error: Exception) -> ModelError:
    return ModelError(
        "a converted network cannot be read",
        given=f"{folder} ({str(error).strip().splitlines()[-1]})",
        todo="In the cache, delete that folder and try again; in a run, fit again",
    )


def _publish(scratch: Path, folder: Path) -> None:
    """Rename into place; when another process was faster, its folder is as good as ours."""
    try:
        scratch.rename(folder)
    except OSError:
        if (folder / "ir.json").exists():
            return
        shutil.rmtree(folder, ignore_errors=True)  # somebody took its parts away
        scratch.rename(folder)


def _write(backbone: Backbone, folder: Path) -> None:
    import openvino as ov
    from safetensors.numpy import save_file

    spec = backbone.spec
    module = backbone.module().eval()
    if isinstance(spec.input, TextInput):
        model, probe, view = _text.converted(module, backbone, folder)
    else:
        model, probe, view = _image(module, spec.name, spec.input)
    try:
        ov.save_model(model, folder / "model.xml", compress_to_fp16=True)
    except RuntimeError as error:  # how OpenVINO reports a full disk
        raise OSError(str(error)) from error
    save_file(probe, folder / "probe.safetensors")
    facts = {
        "key": key_of(backbone),
        "name": spec.id,
        "stages": backbone.stages,
        "dims": [probe[name].shape[1] for name in probe if name.startswith("output.")],
        **view,
    }
    (folder / "ir.json").write_text(json.dumps(facts, indent=1), "utf-8")  # last: its presence says the rest is whole


def _image(
    module: nn.Module, name: str, expects: ImageInput
) -> tuple[openvino.Model, dict[str, NDArray[Any]], dict[str, object]]:
    """The graph of an image network, its probe batch with eager's outputs, and the facts of its view."""
    import torch

    images = probe_images(expects)
    with torch.inference_mode():
        expected = [out.float().numpy() for out in module(torch.from_numpy(normalise(images, expects)))]
    model = _take_pixels(convert(module, (torch.zeros(2, 3, expects.height, expects.width),), name=name), expects)
    outputs = {f"output.{i}": np.ascontiguousarray(out) for i, out in enumerate(expected)}
    view = asdict(ImageView(height=expects.height, width=expects.width, interpolation=expects.interpolation))
    return model, {"images": images, **outputs}, view


def _take_pixels(model: openvino.Model, expects: ImageInput) -> openvino.Model:
    """Put normalisation and layout into the graph, where they are fused into the first convolution."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    model.reshape([-1, 3, expects.height, expects.width])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    chain = steps.input().preprocess().convert_element_type(ov.Type.f32)
    if expects.channels == "bgr":
        chain = chain.reverse_channels()
    chain.mean(list(expects.mean)).scale(list(expects.std))
    return steps.build()


def normalise(images: ByteArray, expects: ImageInput) -> NDArray[np.float32]:
    """uint8 ``[n, h, w, 3]`` RGB to the float ``[n, 3, h, w]`` that the bare network takes."""
    pixels = images[..., ::-1] if expects.channels == "bgr" else images
    scaled = (pixels.astype(np.float32) - np.array(expects.mean, np.float32)) / np.array(expects.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def pixels_of(spec: BackboneSpec) -> ImageInput:
    """What an image network expects.

    Raises:
        ModelError: the network takes texts.
    """
    if not isinstance(spec.input, ImageInput):
        raise ModelError(f"{spec.name} takes texts", todo="Only networks of images are cut and tuned")
    return spec.input


def probe_images(expects: ImageInput) -> ByteArray:
    """Four pictures with structure at every scale, as photographs have; the same on every machine."""
    rng = np.random.default_rng(seed_of("probe", expects.height, expects.width))
    shape = (PROBE_ITEMS, expects.height, expects.width, 3)
    total: NDArray[Any] = np.zeros(shape)
    for cells in (2, 5, 14, 56):
        coarse = rng.normal(size=(PROBE_ITEMS, cells, cells, 3))
        rows = np.arange(shape[1]) * cells // shape[1]
        columns = np.arange(shape[2]) * cells // shape[2]
        total += coarse[:, rows][:, :, columns] / np.sqrt(cells)
    images: ByteArray = np.clip(128 + 70 * total, 0, 255).astype(np.uint8)
    return images
