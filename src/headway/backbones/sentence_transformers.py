"""``sentence_transformers:`` networks for sentences, as sentence-transformers saves them.

``sentence_transformers:ORG/NAME`` or a local folder with ``modules.json``: a transformer, its pooling, and dense layers
or normalisation on that. Its pooling mode, its longest text, its lower-casing and its default prompt are honoured.
Reimers & Gurevych 2019, "Sentence-BERT".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.backbones import _checkpoint
from headway.backbones import transformers as transformers_source
from headway.backbones._network import Dense, Network, Pooling, TextFrame
from headway.errors import ModelError, WeightsRefused
from headway.types import BackboneSpec, TextInput

if TYPE_CHECKING:
    from torch import nn

_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "sqrt",
    "pooling_mode_weightedmean_tokens": "weighted",
    "pooling_mode_lasttoken": "last",
}
_BY_NAME: dict[str, Pooling] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "sqrt",
    "weightedmean": "weighted",
    "lasttoken": "last",
}
_ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU")
_SETTINGS = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json")


def candidates(modality: str, *, offline: bool) -> Sequence[BackboneSpec]:  # noqa: ARG001 (every source takes it)
    """The hub's sentence networks that are on this machine; what else the hub has is not asked."""
    if modality != "text":
        return ()
    found = _checkpoint.in_hub_cache(having="modules.json")
    return tuple(transformers_source.unopened("sentence_transformers", name) for name in found)


def load(name: str, *, offline: bool) -> Network:
    """A name of the hub or a folder, optionally ``@`` and the first digits of its ``weights_key``.

    Raises what ``transformers:`` does, and :class:`ModelError` for parts that Headway does not have.
    """
    found = _checkpoint.find("sentence_transformers", name, offline=offline)
    parts = _parts(found.folder)
    if not parts or parts[0][0] != "Transformer" or [kind for kind, _ in parts].count("Pooling") != 1:
        raise _odd(found.name, ", ".join(kind for kind, _ in parts))
    below = found.folder / parts[0][1]
    pooling = next(_pooling(found.folder / path, found.name) for kind, path in parts if kind == "Pooling")
    after = [(kind, path) for kind, path in parts[1:] if kind != "Pooling"]
    kinds = [kind for kind, _ in after]
    if kinds != ["Dense"] * kinds.count("Dense") + ["Normalize"] * (kinds[-1:] == ["Normalize"]):
        raise _odd(found.name, ", ".join(kind for kind, _ in parts))
    layers = [found.folder / path for kind, path in after if kind == "Dense"]
    text = TextFrame(
        config="",
        width=0,
        pooling=pooling,
        dense=tuple(_dense(folder, found.name) for folder in layers),
        normalise=kinds[-1:] == ["Normalize"],
    )
    inner = replace(found, folder=below, revision="")
    network = transformers_source.opened(
        inner, source="sentence_transformers", text=text, expects=_expects(found.folder, below, pooling, found.name)
    )
    files = [*_checkpoint.weight_files(below), *(_weights(folder) for folder in layers)]
    key = _checkpoint.weights_key(found.folder, files, frame=(network.frame, network.frame.text))
    _checkpoint.check_revision(found, key)
    spec = replace(network.spec, revision=key[:12], licence=transformers_source.licence(found))
    loaded = partial(_loaded, network, tuple(layers)) if layers else network.load
    return replace(network, spec=spec, weights_key=key, load=loaded)


def _parts(folder: Path) -> list[tuple[str, str]]:
    """``(kind, path)`` of each module. Only the library's own are known: another's would be its own code."""
    parts = []
    for part in _checkpoint.read_json(folder / "modules.json"):
        kind = str(part.get("type", ""))
        if not kind.startswith("sentence_transformers."):
            raise ModelError(
                f"{folder.name} would need its own code to be run (trust_remote_code)",
                given=kind,
                allowed="modules of sentence_transformers",
                todo="Headway never runs code out of a checkpoint: take another model",
            )
        parts.append((kind.rpartition(".")[2], str(part.get("path", ""))))
    return parts


def _odd(name: str, given: str) -> ModelError:
    return ModelError(
        f"{name} has parts that Headway does not have",
        given=given or "no modules",
        allowed="Transformer, Pooling, then Dense layers, then Normalize",
        todo="Take its transformer alone: transformers:" + name,
    )


def _pooling(folder: Path, name: str) -> Pooling:
    facts = _checkpoint.read_json(folder / "config.json")
    if not facts.get("include_prompt", True):
        raise ModelError(f"{name} leaves its prompt out of the pooling", todo="Take its transformer alone")
    mode = facts.get("pooling_mode")
    modes = [how for key, how in _POOLINGS.items() if facts.get(key)]
    if mode is not None:
        modes = [_BY_NAME[m] for m in ([mode] if isinstance(mode, str) else mode) if m in _BY_NAME]
    if len(modes) != 1:
        raise ModelError(f"{name} joins several poolings", given=", ".join(modes) or "none", allowed="exactly one")
    return modes[0]


def _dense(folder: Path, name: str) -> Dense:
    facts = _checkpoint.read_json(folder / "config.json")
    activation = str(facts.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise ModelError(
            f"{name} has an activation that is not known", given=activation, allowed=", ".join(_ACTIVATIONS)
        )
    return Dense(int(facts["in_features"]), int(facts["out_features"]), bool(facts.get("bias", True)), activation)


def _expects(folder: Path, below: Path, pooling: Pooling, name: str) -> TextInput:
    settings: dict[str, Any] = {}
    for file in _SETTINGS:
        if (below / file).is_file():
            settings = _checkpoint.read_json(below / file)
    config = _checkpoint.read_json(below / "config.json")
    limit = settings.get("max_seq_length")
    own = folder / "config_sentence_transformers.json"
    facts = _checkpoint.read_json(own) if own.is_file() else {}
    prompt = facts.get("default_prompt_name")
    prompts = facts.get("prompts") or {}
    if prompt is not None and prompt not in prompts:
        raise ModelError(
            f"{name} has no prompt of the name it uses", given=prompt, allowed=", ".join(prompts) or "none"
        )
    return TextInput(
        tokens=int(limit) if limit else _checkpoint.longest(below, config),
        pooling=pooling,
        prefix=prompts[prompt] if prompt is not None else "",
        lower=bool(settings.get("do_lower_case")),
    )


def _weights(folder: Path) -> Path:
    return next((p for p in (folder / "model.safetensors", folder / "pytorch_model.bin") if p.is_file()), folder)


def _loaded(network: Network, layers: tuple[Path, ...]) -> nn.Module:
    """The transformer with its dense layers, whose weights lie in folders of their own."""
    from headway.backbones.timm import read_tensors

    net: Any = network.load()
    for layer, folder in zip(net.dense, layers, strict=True):
        tensors = {name.removeprefix("linear."): value for name, value in read_tensors(_weights(folder)).items()}
        try:
            layer[0].load_state_dict(tensors)
        except RuntimeError as error:
            raise WeightsRefused(
                f"a dense layer of {network.spec.arch} does not fit", given=str(error).splitlines()[-1].strip()
            ) from None
    result: nn.Module = net.eval()
    return result
