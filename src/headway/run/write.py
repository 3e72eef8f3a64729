"""Writing a run folder: each file whole or not at all, the manifest last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from headway import plugins
from headway.errors import RunError, StorageError
from headway.run.model import FORMAT, LEARNT, MANIFEST, MODEL, PLAN, RECORDS, WORK, Model
from headway.types import Backbone, Record


def start(out: Path, plan: Mapping[str, Any]) -> None:
    """Make a run folder, or take up the unfinished one of the same plan.

    Raises:
        RunError: the folder holds something else.
        StorageError: it cannot be written.
    """
    wanted = json.loads(json.dumps(plan))
    try:
        if (out / MANIFEST).exists():
            raise RunError("a finished run is already there", given=out, todo="Choose another --out, or delete it")
        _sweep(out)
        if (out / PLAN).exists() and _plan(out) != wanted:
            raise RunError(
                "an unfinished run of other data, models or seed is already there",
                given=out,
                todo="Choose another --out, delete it, or repeat the command that began it to take it up again",
            )
        if out.exists() and not (out / PLAN).exists() and any(out.iterdir()):
            raise RunError("the folder is not empty and holds no run", given=out, todo="Choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / PLAN, wanted)
        (out / RECORDS).unlink(
            missing_ok=True
        )  # what was computed lies in the feature store; records are quick to redo
    except OSError as error:
        raise unwritable(out, error) from error


def _plan(out: Path) -> object:
    try:
        return json.loads((out / PLAN).read_text("utf-8"))
    except ValueError as error:
        raise RunError("the plan of an unfinished run cannot be read", given=out / PLAN, todo="Delete it") from error


def _sweep(out: Path) -> None:
    """Take away what a killed process left half-written."""
    for name in (PLAN, MANIFEST, MODEL):
        for scratch in out.glob(f".{name}.*"):
            if scratch.is_dir():
                shutil.rmtree(scratch)
            else:
                scratch.unlink()


def append(out: Path, records: Iterable[Record]) -> None:
    """Add records to ``records.jsonl``."""
    lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    try:
        with (out / RECORDS).open("a", encoding="utf-8") as file:
            file.write(lines)
    except OSError as error:
        raise unwritable(out, error) from error


def save_model(out: Path, model: Model) -> None:
    """Write ``RUN/model``, whole or not at all."""
    from safetensors.numpy import save_file

    scratch = out / f".{MODEL}.{os.getpid()}"
    try:
        scratch.mkdir()
        for number, part in enumerate(model.networks):
            folder = scratch / "networks" / str(number)
            folder.mkdir(parents=True)
            for name in part.ir.files:
                shutil.copyfile(part.ir.folder / name, folder / name)
            if part.backbone is not None:
                _save_weights(part.backbone, folder / "weights.safetensors")
        if model.learnt is not None:
            (scratch / LEARNT).mkdir()
            plugins.load("modalities", model.modality).save_classical(model.learnt, scratch / LEARNT)
        head = model.head
        arrays = {name: np.ascontiguousarray(getattr(head, name)) for name in ("mean", "scale", "weight", "bias")}
        if head.thresholds is not None:
            arrays["thresholds"] = np.ascontiguousarray(head.thresholds)
        save_file(arrays, scratch / "head.safetensors")
        write_json(scratch / "model.json", _model_facts(model))
        shutil.rmtree(out / MODEL, ignore_errors=True)
        scratch.rename(out / MODEL)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def finish(out: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest: from now on the run is whole."""
    try:
        write_json(out / MANIFEST, {"format": FORMAT, **manifest})
        shutil.rmtree(out / WORK, ignore_errors=True)
    except OSError as error:
        raise unwritable(out, error) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON, whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _save_weights(backbone: Backbone, path: Path) -> None:
    """The network's weights in safetensors, without building it where its file is in the cache."""
    from safetensors.numpy import save_file

    kept = backbone.weights_file()
    if kept is not None:
        shutil.copyfile(kept, path)
    else:
        # Not ascontiguousarray, which makes a list of a single number.
        save_file({name: np.asarray(array, order="C") for name, array in backbone.state().items()}, path)


def _model_facts(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "modality": model.modality,
        "task": model.task,
        "classes": list(model.classes),
        "classical": model.classical,
        "networks": [{"name": part.ir.name, "stages": list(part.stages)} for part in model.networks],
        "blocks": list(model.head.blocks),
        "unit_blocks": model.head.unit_blocks,
        "temperature": model.head.temperature,
        "link": model.head.link,
    }


def unwritable(out: Path, error: OSError) -> StorageError:
    """What is said where the run folder refuses to be written."""
    return StorageError(
        "the run folder cannot be written",
        given=f"{out} ({error.strerror or error})",
        todo="Free some space, or name another folder with --out; computed features are kept and will be used again",
    )
