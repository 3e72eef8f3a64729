"""``timm:`` every architecture of timm, with weights from its hub or from a local file.

``timm:resnet50.a1_in1k`` names an architecture and which of its pretrained weights; ``timm:resnet50`` means timm's
default ones; ``timm:resnet50@/some/file.safetensors`` takes the weights from a file (``.safetensors``, or ``.pth``,
which is never unpickled). Importing timm imports torch, so everything here costs that import.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.backbones._network import Frame, Network
from headway.backbones._torchvision import prepare
from headway.errors import ModelError, WeightsMissing, WeightsRefused, did_you_mean
from headway.fetch import hub
from headway.types import BackboneSpec, ImageInput

if TYPE_CHECKING:
    from torch import Tensor, nn

HUB = "hub"  # the revision of weights that have not been looked at yet
UNTAGGED = "default"  # the weights of an architecture that timm has none of
_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


def candidates(modality: str, *, offline: bool) -> Sequence[BackboneSpec]:  # noqa: ARG001 (every source takes it)
    """Every pretrained network that timm knows; which of them are on this machine is not looked up.

    ``dim`` and ``params`` are 0 here, because timm knows them only of a network that is built: see :func:`describe`.
    """
    if modality != "image":
        return ()
    prepare()
    import timm

    configs = [(name, timm.get_pretrained_cfg(name)) for name in timm.list_models(pretrained=True)]
    return tuple(_spec(config, name) for name, config in configs if config is not None and config.input_size[0] == 3)


def describe(name: str) -> BackboneSpec:
    """The spec of a name with ``dim`` and ``params``: the network is built without memory for its weights.

    >>> spec = describe("resnet18.a1_in1k")
    >>> spec.dim, spec.params
    (512, 11176512)
    """
    return _network(name.partition("@")[0]).spec


def load(name: str, *, offline: bool) -> Network:
    """``ARCH``, ``ARCH.WEIGHTS``, either with ``@FILE`` or ``@`` and the first digits of the weights' SHA-256.

    Weights from the hub are downloaded now, because their checksum is part of what the network is called. Raises
    :class:`ModelError` (unknown name, hub out of reach), :class:`WeightsMissing` (``offline`` and not in the hub's
    cache), :class:`WeightsRefused` (another checksum than the one named, tensors that do not fit, unsafe file).
    """
    plain, _, revision = name.partition("@")
    network = _network(plain)
    if _is_file(revision):
        path = Path(revision).expanduser().absolute()
        if not path.is_file():
            raise WeightsMissing("the weights file is not there", given=path, todo="Check the path after the @")
        shown = str(path)
    else:
        path = _from_hub(plain, offline=offline)
        shown = ""
    checksum = _sha256(path)
    if revision not in ("", HUB) and not shown and not checksum.startswith(revision):
        raise WeightsRefused(f"the weights of timm:{plain} are others now", given=checksum[:12], allowed=revision)
    return _with(network, revision=shown or checksum[:12], weights_key=checksum, load=partial(_filled, plain, path))


def architecture(name: str) -> Network:
    """A network of timm without any weights: ``load`` is for the caller to set."""
    return _network(name)


def _with(network: Network, *, revision: str, weights_key: str, load: Any) -> Network:
    return replace(network, spec=replace(network.spec, revision=revision), weights_key=weights_key, load=load)


def _network(plain: str) -> Network:
    from headway.backbones._staged import build, probe

    config = _config(plain)
    frame = Frame(library="timm", arch=plain.partition(".")[0])
    spec = _spec(config, plain)
    expects = spec.input
    assert isinstance(expects, ImageInput)
    try:
        cuts, dim, params = probe(frame, height=expects.height, width=expects.width)
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"timm's {frame.arch} cannot be used as a feature extractor: {str(error).splitlines()[0]}"
        ) from error
    spec = replace(spec, dim=dim, params=params)
    return Network(spec=spec, weights_key="", cuts=cuts, frame=frame, load=partial(build, frame))


def _config(plain: str) -> Any:
    prepare()
    import timm

    arch, _, tag = plain.partition(".")
    if not timm.is_model(arch):
        raise ModelError(f"timm has no architecture {arch!r}", todo=did_you_mean(arch, timm.list_models()))
    tags = [name.partition(".")[2] for name in timm.list_models(f"{arch}.*", pretrained=True)]
    default = timm.get_pretrained_cfg(arch)
    if tag in ("", default.tag or UNTAGGED):  # what a spec calls an architecture without weights is no tag of timm's
        return default
    if tag not in tags:
        raise ModelError(
            f"timm knows no weights {tag!r} of {arch}", allowed=", ".join(tags) or "none", todo=did_you_mean(tag, tags)
        )
    return timm.get_pretrained_cfg(plain)


def _spec(config: Any, plain: str) -> BackboneSpec:
    arch, _, tag = plain.partition(".")
    _, height, width = config.input_size
    mean, std = (tuple(255.0 * float(v) for v in values) for values in (config.mean, config.std))
    return BackboneSpec(
        source="timm",
        arch=arch,
        weights=tag or config.tag or UNTAGGED,
        revision=HUB,
        modality="image",
        dim=0,
        params=0,
        licence=config.license or "unknown",
        input=ImageInput(
            height=height,
            width=width,
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        ),
    )


# --- finding the file ---------------------------------------------------------------------------


def _is_file(revision: str) -> bool:
    return revision.endswith(_FILE_ENDINGS) or "/" in revision or "\\" in revision


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_hub(plain: str, *, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    config = _config(plain)
    repository = config.hf_hub_id
    if not repository:
        raise ModelError(
            f"timm has no weights of {plain} on its hub",
            todo=f"Name a file: timm:{plain}@/path/to/file.safetensors, or take random:{plain}",
        )
    files = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    for file in files:
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return Path(found)
    todo = f"Run it once without --offline, or name a file: timm:{plain}@/path/to/file.safetensors"
    if offline:
        raise WeightsMissing(f"offline, and a file is not here: {files[0]} of huggingface.co/{repository}", todo=todo)
    if reason := hub.trouble():
        raise _unreachable(plain, repository, files[0], reason)
    for file in files:
        try:
            return Path(hf_hub_download(repository, file))
        except LocalEntryNotFoundError as error:
            raise _unreachable(plain, repository, file, str(error)) from error
        except EntryNotFoundError:
            continue  # the hub has no such file: the weights may be there in the other form
        except (OSError, HfHubHTTPError) as error:
            raise _unreachable(plain, repository, file, str(error)) from error
    raise ModelError(f"huggingface.co/{repository} holds none of {', '.join(files)}", todo=todo)


def _unreachable(plain: str, repository: str, file: str, reason: str) -> ModelError:
    return ModelError(
        f"the hub did not deliver {file} of huggingface.co/{repository}",
        given=reason.splitlines()[0].rstrip("."),
        todo=f"Check the network, or name a file: timm:{plain}@/path/to/file.safetensors",
    )


# --- reading it ---------------------------------------------------------------------------------


def _filled(plain: str, path: Path) -> nn.Module:
    """The network with a file's weights, through timm's own loader, so that foreign layouts it knows are understood.

    Built with as many classes as the file has, because timm loads strictly only then; the head is dropped after.
    """
    import timm

    tensors = read_tensors(path)
    config = _config(plain)
    classes = _classes(plain, config, tensors)
    overlay = {"state_dict": dict(tensors), "num_classes": classes, "label_offset": 0, "source": None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's remarks on its older names are no news for the user
            net: Any = timm.create_model(
                plain.partition(".")[0],
                pretrained=True,
                pretrained_cfg=config,
                pretrained_cfg_overlay=overlay,
                num_classes=classes,
            )
    except (RuntimeError, KeyError, AttributeError, IndexError, TypeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WeightsRefused(
            f"{path.name} does not fit timm's {plain}",
            given=" ".join(lines[1:] or lines)[:400],
            todo="Check that the file belongs to this architecture",
        ) from error
    net.reset_classifier(0)
    result: nn.Module = net.eval()
    return result


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file; nothing in it is executed. Raises :class:`WeightsRefused`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch doubts odd pickle protocols before it refuses them
                content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise WeightsRefused(
            f"{path.name} is not a safe file of tensors",
            given=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            allowed="safetensors, or a torch file of tensors alone",
            todo="Do not open it with pickle or weights_only=False: a pickle can run any program",
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise WeightsRefused(f"{path.name} holds other things than tensors", allowed="a dictionary of tensors")
    for name, tensor in content.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsRefused(f"{path.name}: the tensor {name} has values that are not finite")
    return {str(name): tensor for name, tensor in content.items()}


def _classes(plain: str, config: Any, tensors: Mapping[str, Tensor]) -> int:
    heads = config.classifier or ()
    for head in (heads,) if isinstance(heads, str) else heads:
        if f"{head}.weight" in tensors:
            return int(tensors[f"{head}.weight"].shape[0])
    from headway.backbones._staged import build

    headless = build(Frame(library="timm", arch=plain.partition(".")[0]), device="meta").state_dict()
    return 0 if headless.keys() <= tensors.keys() else int(config.num_classes)
