"""A Hugging Face checkpoint, local or from the hub, and its tokenizer: found, hashed, checked, never run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.backbones._hugging_face import quiet
from headway.backbones.packaged._files import kept
from headway.backbones.packaged._words import bare
from headway.errors import ModelError, WeightsMissing, WeightsRefused
from headway.fetch import cache_dir, hub

PRETRAINED = "pretrained"  # what the weights of a checkpoint are called: ``transformers:google/bert-mini.pretrained``
MOST_TOKENS = 512  # of a network that would read more: attention grows with the square
_SPARE_ROWS = 0.9  # share of the embeddings that a vocabulary fills at least: they are rounded up, not by more
_NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt"]
_TORCH = ["*.json", "pytorch_model*.bin", "*.model", "*.txt"]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a checkpoint lies, what it is called, and the revision that was asked for."""

    folder: Path
    name: str
    revision: str
    file: str = ""  # a GGUF file in that folder


def find(source: str, name: str, *, offline: bool) -> Found:
    """The folder of ``NAME``, ``NAME.pretrained``, either with ``@REVISION``: a local folder or file, else the hub's.

    Raises :class:`ModelError` (no such folder, hub out of reach), :class:`WeightsMissing` (``offline``, not cached).
    """
    plain, _, revision = (name, "", "") if Path(name).expanduser().exists() else name.rpartition("@")
    plain, revision = (plain, revision) if plain else (name, "")
    plain = plain.removesuffix(f".{PRETRAINED}")
    path = Path(plain).expanduser()
    if path.is_file():
        return Found(path.parent.absolute(), str(path.absolute()), revision, path.name)
    if path.is_dir():
        return Found(path.absolute(), str(path.absolute()), revision)
    if path.is_absolute() or plain.startswith((".", "~")) or plain.count("/") > 1 or not plain:
        raise ModelError(
            f"there is no folder or file {plain!r}",
            todo=f"Check the path, or name a model of the hub: {source}:ORG/NAME",
        )
    return Found(_from_hub(source, plain, offline=offline), plain, revision)


def read_json(path: Path) -> Any:
    """A JSON file. Raises :class:`ModelError` where it is missing or none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise ModelError(
            f"the checkpoint has no readable {path.name}", given=f"{path} ({reason})", todo="Check the folder"
        ) from None


def refuse_code(config: Mapping[str, Any], name: str) -> None:
    """Raises :class:`ModelError` for an architecture that transformers does not have itself."""
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind in CONFIG_MAPPING:
        return
    if config.get("auto_map"):
        raise ModelError(
            f"{name} would need its own code to be run (trust_remote_code)",
            given=f"model_type {kind!r}, auto_map {config['auto_map']!r:.120}",
            allowed="architectures that transformers has itself",
            todo="Headway never runs code out of a checkpoint: take another model",
        )
    raise ModelError(f"transformers does not know the architecture of {name}", given=f"model_type {kind!r}")


def weights_key(folder: Path, files: Iterable[Path], *, frame: object) -> str:
    """Hex SHA-256 over what the weights' files hold and what is made of them."""
    total = hashlib.sha256(repr(frame).encode())
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return total.hexdigest()


def weight_files(folder: Path) -> Sequence[Path]:
    """The files of weights in a folder: safetensors, else torch's. Raises :class:`WeightsMissing`."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        if files := sorted(folder.glob(pattern)):
            return files
    raise WeightsMissing(
        "the checkpoint has no weights", given=folder, allowed="model*.safetensors or pytorch_model*.bin in it"
    )


def check_revision(found: Found, key: str) -> None:
    if found.revision and not key.startswith(found.revision):
        raise WeightsRefused(f"the weights of {found.name} are others now", given=key[:12], allowed=found.revision)


# --- tokenizer ----------------------------------------------------------------------------------


def tokenizer(found: Found, *, rows: int, check_pad: int | None) -> Path:
    """The checkpoint's tokenizer as ``tokenizer.json`` in the cache, checked against its network's embeddings.

    A checkpoint without ``tokenizer.json`` is converted by transformers. ``check_pad`` is the network's own number of
    the padding token, where that has to fit. Raises :class:`ModelError` for a tokenizer that is another network's.
    """
    from tokenizers import Tokenizer

    path = found.folder / "tokenizer.json"
    if path.is_file() and not found.file:
        try:
            words: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"the tokenizer of {found.name} cannot be read", given=str(error)) from None
    else:
        words = _without_strangers(_converted(found), rows)
    _check(words, found, rows=rows, check_pad=check_pad)
    content = bare(words)
    key = hashlib.sha256(content.encode()).hexdigest()
    path = cache_dir() / "weights" / f"{key}.tokenizer.json"
    return path if path.is_file() else kept(path, content)


def longest(folder: Path, config: Mapping[str, Any]) -> int:
    """Positions that a network reads: what the tokenizer's file and the configuration allow, and 512 at most."""
    path = folder / "tokenizer_config.json"
    limits = [
        MOST_TOKENS,
        int(read_json(path).get("model_max_length") or MOST_TOKENS) if path.is_file() else MOST_TOKENS,
    ]
    for name in ("max_position_embeddings", "n_positions"):
        if isinstance(config.get(name), int) and config[name] > 0 and config.get("model_type") not in ("t5", "mt5"):
            # RoBERTa and its kin count positions from behind the padding token's number
            shifted = config["model_type"] in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
            limits.append(config[name] - (1 + (config.get("pad_token_id") or 0) if shifted else 0))
    return min(limits)


def _converted(found: Found) -> Any:
    more = {"gguf_file": found.file} if found.file else {}
    try:
        with quiet():
            from transformers import AutoTokenizer

            made = AutoTokenizer.from_pretrained(
                found.folder, local_files_only=True, trust_remote_code=False, use_fast=True, **more
            )
        if not made.is_fast:
            raise ValueError(f"{type(made).__name__} has no fast form")
        return made.backend_tokenizer
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelError(
            f"{found.name} has no tokenizer that can be used",
            given=(str(error).strip().splitlines() or ["nothing"])[0][:200],
            allowed="tokenizer.json, or files that transformers converts to it",
            todo="Save it once with tokenizer.save_pretrained(FOLDER) of a fast tokenizer",
        ) from None


def _without_strangers(words: Any, rows: int) -> Any:
    """Without special tokens that the network has no embedding for: conversion adds those of the tokenizer's family."""
    from tokenizers import Tokenizer

    facts = json.loads(words.to_str())
    facts["added_tokens"] = [token for token in facts["added_tokens"] if token["id"] < rows or not token["special"]]
    return Tokenizer.from_str(json.dumps(facts))


def _check(words: Any, found: Found, *, rows: int, check_pad: int | None) -> None:
    vocabulary = words.get_vocab(with_added_tokens=True)
    most = max(vocabulary.values(), default=-1) + 1
    todo = "Take the tokenizer that was saved with these weights"
    if most > rows:
        raise ModelError(
            f"the tokenizer of {found.name} is not its network's",
            given=f"{most} tokens",
            allowed=f"at most the network's {rows} embeddings",
            todo=todo,
        )
    if most < _SPARE_ROWS * rows:
        raise ModelError(
            f"the tokenizer of {found.name} is not its network's",
            given=f"{most} tokens for {rows} embeddings",
            todo=todo,
        )
    named = _special_tokens(found.folder)
    missing = [token for token in named.values() if token not in vocabulary]
    if missing:
        raise ModelError(
            f"the tokenizer of {found.name} lacks special tokens", given=", ".join(sorted(set(missing))), todo=todo
        )
    pad = named.get("pad_token")
    if pad is not None and check_pad is not None and vocabulary[pad] != check_pad:
        raise ModelError(
            f"the tokenizer of {found.name} is not its network's",
            given=f"{pad} is token {vocabulary[pad]}",
            allowed=f"{check_pad}, as the network's configuration has it",
            todo=todo,
        )


def _special_tokens(folder: Path) -> dict[str, str]:
    """``{"cls_token": "[CLS]", ...}`` that the tokenizer's own files name."""
    found = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        facts = read_json(folder / name) if (folder / name).is_file() else {}
        for role in ("unk_token", "cls_token", "sep_token", "pad_token", "bos_token", "eos_token"):
            token = facts.get(role)
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                found[role] = token
    return found


# --- the hub ------------------------------------------------------------------------------------


def in_hub_cache(*, having: str) -> Sequence[str]:
    """Names of the hub's models on this machine whose folder has a file called ``having``; nothing is asked online."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return ()
    return sorted(
        repo.repo_id
        for repo in repos
        if repo.repo_type == "model"
        and any(having in {file.file_name for file in revision.files} for revision in repo.revisions)
    )


def _from_hub(source: str, name: str, *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    todo = f"Check the name and the network, or name a local folder: {source}:/path/to/folder"
    reason = "" if offline else hub.trouble()
    try:
        folder = Path(snapshot_download(name, allow_patterns=_NEEDED, local_files_only=offline or bool(reason)))
        if not offline and not reason and not list(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=_TORCH))
        return folder
    except HFValidationError:
        raise ModelError("no model can have this name", given=repr(name), allowed="ORG/NAME", todo=todo) from None
    except LocalEntryNotFoundError:
        if offline:
            raise WeightsMissing(f"offline, and huggingface.co/{name} is not here", todo=todo) from None
        raise ModelError(f"the hub did not deliver huggingface.co/{name}", given=reason or None, todo=todo) from None
    except (OSError, HfHubHTTPError) as error:
        raise ModelError(
            f"the hub did not deliver huggingface.co/{name}", given=str(error).splitlines()[0].rstrip("."), todo=todo
        ) from None
