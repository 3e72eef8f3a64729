"""``transformers:`` text encoders, decoders and encoder-decoders of transformers, of which the encoder is taken.

``transformers:google/bert-mini`` names a model of the hub, ``transformers:/some/folder`` a local one,
``transformers:/some/model.gguf`` a GGUF file. Weights are read from safetensors, or from torch files without
unpickling; a checkpoint that would need its own code is refused.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from headway.backbones import _checkpoint
from headway.backbones._checkpoint import PRETRAINED, Found
from headway.backbones._hugging_face import quiet
from headway.backbones._network import Frame, Network, Pooling, TextFrame
from headway.errors import ModelError, WeightsRefused
from headway.types import BackboneSpec, TextInput

if TYPE_CHECKING:
    from torch import nn


def candidates(modality: str, *, offline: bool) -> Sequence[BackboneSpec]:  # noqa: ARG001 (every source takes it)
    """The models of the hub that are on this machine; what else the hub has is not asked. Sizes are not looked up."""
    if modality != "text":
        return ()
    listed = _checkpoint.in_hub_cache(having="config.json")
    sentences = set(_checkpoint.in_hub_cache(having="modules.json"))
    return tuple(unopened("transformers", name) for name in listed if name not in sentences)


def load(name: str, *, offline: bool) -> Network:
    """A name of the hub, a folder or a GGUF file, optionally ``@`` and the first digits of its ``weights_key``.

    Raises :class:`ModelError` (unknown, remote code, another network's tokenizer), :class:`WeightsMissing`,
    :class:`WeightsRefused` (weights that do not fit, an unsafe file, others than those named).
    """
    return opened(_checkpoint.find("transformers", name, offline=offline), source="transformers")


def opened(found: Found, *, source: str, text: TextFrame | None = None, expects: TextInput | None = None) -> Network:
    """The network in a folder; ``text`` and ``expects`` say what pools it, where that is not left to the model's kind.

    An encoder's embedding is the mean of its last states, a decoder's the last state.
    """
    from headway.backbones._text import build, cuts_of

    config = _config(found)
    facts = json.loads(json.dumps(config.to_diff_dict(), sort_keys=True, default=str))
    reads_ahead = not _is_decoder(config)
    own: Pooling = "mean" if reads_ahead else "last"
    text = text or TextFrame(config="", width=config.hidden_size, pooling=own)
    wanted: tuple[Pooling, ...] = ("cls", "mean") if reads_ahead else ("mean", "last")
    further = tuple(how for how in wanted if how != text.pooling or text.dense)
    text = replace(text, config=json.dumps(facts, sort_keys=True), width=config.hidden_size, poolings=further)
    frame = Frame(library="transformers", arch=config.model_type, text=text)
    tokens = _checkpoint.longest(found.folder, config.to_dict())
    expects = expects or TextInput(tokens=tokens, pooling=text.pooling)
    files = [found.folder / found.file] if found.file else _checkpoint.weight_files(found.folder)
    key = _checkpoint.weights_key(found.folder, files, frame=(frame, text))
    _checkpoint.check_revision(found, key)
    net = build(frame, device="meta")
    pad = config.pad_token_id if reads_ahead else None
    words = partial(_checkpoint.tokenizer, found, rows=int(config.vocab_size), check_pad=pad)
    words()  # another network's tokenizer is found out now
    spec = replace(
        unopened(source, found.name),
        revision=key[:12],
        dim=text.dense[-1].outputs if text.dense else text.width,
        params=sum(p.numel() for p in net.parameters()),
        licence=licence(found),
        input=expects,
    )
    return Network(
        spec=spec,
        weights_key=key,
        cuts=cuts_of(net, text.width),
        frame=frame,
        load=partial(_loaded, found, frame),
        words=words,
    )


def unopened(source: str, name: str) -> BackboneSpec:
    return BackboneSpec(
        source=source,
        arch=name,
        weights=PRETRAINED,
        revision="hub",
        modality="text",
        dim=0,
        params=0,
        licence="unknown",
        input=TextInput(tokens=_checkpoint.MOST_TOKENS, pooling="mean"),
    )


def _config(found: Found) -> Any:
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        from transformers import MODEL_MAPPING, AutoConfig

        if found.file and not found.file.endswith(".gguf"):
            raise ModelError("this file is no checkpoint", given=found.name, allowed="a folder, or a .gguf file")
        if found.file:
            try:
                config = AutoConfig.from_pretrained(found.folder, gguf_file=found.file)
            except (ValueError, OSError, KeyError, IndexError, ImportError) as error:
                raise ModelError("the GGUF file cannot be read", given=f"{found.name} ({error})") from None
        else:
            facts = _checkpoint.read_json(found.folder / "config.json")
            _checkpoint.refuse_code(facts, found.name)
            config = AutoConfig.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    if type(config) not in MODEL_MAPPING or not isinstance(getattr(config, "vocab_size", None), int):
        raise ModelError(f"{found.name} is no text model", given=f"model_type {config.model_type!r}")
    return config


def _is_decoder(config: Any) -> bool:
    """Whether a position sees only what lies before it."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    return (causal or bool(getattr(config, "is_decoder", False))) and not config.is_encoder_decoder


def _loaded(found: Found, frame: Frame) -> nn.Module:
    """Through transformers' own loader, which knows the layouts of older checkpoints; nothing may be missing."""
    import torch

    from headway.backbones import _text

    assert frame.text is not None
    try:
        with quiet(), contextlib.redirect_stderr(io.StringIO()):  # its reader of GGUF files draws bars of its own
            config = _text.configured(frame.text)
            kind = _text.model_class(config)
            options = {"gguf_file": found.file} if found.file else {"config": config, "trust_remote_code": False}
            model, facts = kind.from_pretrained(
                found.folder,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                attn_implementation="sdpa",
                **_text.without_pooler(kind),
                **options,
            )
    except (pickle.UnpicklingError, RuntimeError, ValueError, OSError, KeyError) as error:
        raise WeightsRefused(
            f"the weights of {found.name} cannot be loaded",
            given=(str(error).strip().splitlines() or [type(error).__name__])[0][:300],
            allowed="safetensors, or a torch file of tensors alone, of the shapes in config.json",
        ) from None
    absent = sorted(map(str, facts["missing_keys"]))
    if absent or facts["mismatched_keys"]:
        raise WeightsRefused(
            f"the weights of {found.name} do not fit its config.json",
            given=", ".join(absent[:3]) or str(sorted(facts["mismatched_keys"])[:3]),
        )
    return _text.wrapped(model, config, frame.text)


def licence(found: Found) -> str:
    """What the model card's first lines say."""
    path = found.folder / "README.md"
    if path.is_file():
        for line in path.read_text("utf-8", "replace").splitlines()[:60]:
            if line.startswith("license:"):
                return line.partition(":")[2].strip().strip("\"'") or "unknown"
    return "unknown"
