"""Text networks in two: after a layer, whatever the length of the texts.

An image network is cut for one size. Here the part above keeps the network's own forward pass, so masks and positions
are made anew for every length; what had finished by the end of the cut layer is replaced by stubs that give the
activation. What has no parameters runs on, as it may say where a position lies. :mod:`headway.engine.cut` is the door.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headway.backbones import _text
from headway.backbones._network import Network
from headway.engine import _stub
from headway.engine._blocks import blocks, freeze_unused, order_of
from headway.engine._trace import Inputs, Trace, rebuilt, tensors, watch
from headway.engine.packed import ids_and_mask, states_and_mask
from headway.types import TextInput

LENGTHS = ((9, 5), (30, 18))  # tokens of the texts on which a cut is checked: two batches
NAMES = ("input_ids", "attention_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer after which a text network can be cut; ``below`` is the share of the layers up to it."""

    name: str
    below: float
    params_above: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPrefix:
    """The part of a text network up to the end of a layer: a :class:`headway.engine.tokenwise.TokenNetwork`."""

    network: Network
    cut: str

    @property
    def name(self) -> str:
        return f"{self.network.spec.id} up to {self.cut}"

    @property
    def weights_key(self) -> str:
        return self.network.weights_key

    @property
    def stages(self) -> tuple[str, ...]:
        return (f"{self.cut}, not pooled",)

    @property
    def tokens(self) -> int:
        expects = self.network.spec.input
        assert isinstance(expects, TextInput)
        return expects.tokens

    def tokenizer(self) -> Path:
        return self.network.tokenizer()

    def module(self) -> nn.Module:
        """``(input_ids, attention_mask)``, int64 ``[n, L]``, to ``([n, L, d],)``."""
        return _stub.prefix(self.network.load(), self.cut, run=run, names=NAMES)


class TextSuffix(nn.Module):
    """What :func:`headway.engine.packed.packed_states` packed, ``[n, L, d + 1]``, to the embedding ``[n, dim]``."""

    def __init__(self, net: nn.Module, given: _Given) -> None:
        super().__init__()
        self.net, self.given = net, given

    def forward(self, packed: Tensor) -> Tensor:
        states, mask = states_and_mask(packed)
        self.given.activation = states
        try:
            return run(self.net, {NAMES[0]: torch.zeros_like(mask), NAMES[1]: mask})
        finally:
            self.given.activation = None


class TextWhole(nn.Module):
    """What :func:`headway.engine.packed.packed_ids` packed, ``[n, L]``, to the embedding ``[n, dim]``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, packed: Tensor) -> Tensor:
        return run(self.net, dict(zip(NAMES, ids_and_mask(packed), strict=True)))


def run(net: Any, inputs: Inputs) -> Tensor:
    """A text network's embedding ``[n, dim]``."""
    said: Tensor = net(*(inputs[name] for name in NAMES))
    return said


def layers(network: Network) -> tuple[Layer, ...]:
    """All layers but the last, input side first; found without weights. None where layers share their weights."""
    if not network.cuts or network.frame.library != "transformers":
        return ()
    net = _text.build(network.frame, device="meta")
    home = network.cuts[0].module.rpartition(".")[0]
    depth = len(list(net.get_submodule(home).children()))
    sizes = [(name, parameter.numel()) for name, parameter in net.named_parameters()]
    found = []
    for number in range(depth - 1):
        name = f"{home}.{number}"
        last = max(i for i, (owner, _) in enumerate(sizes) if owner.startswith(f"{name}."))
        above = sum(size for _, size in sizes[last + 1 :])  # parameters are listed input side first
        found.append(Layer(name=name, below=(number + 1) / depth, params_above=above))
    return tuple(found)


def above(network: Network, cut: str | None) -> tuple[nn.Module, tuple[str, ...]]:
    """The part above a layer, or all of a text network, to train; and the names of its blocks.

    Raises :class:`headway.errors.ModelError` where the two parts would not give what the whole gives.
    """
    net = network.load().eval()
    examples = [_example(lengths, network) for lengths in LENGTHS]
    if cut is None:
        seen = watch(net, run, examples[0])
        freeze_unused(net, seen.output)
        order = order_of(net, seen)
        inside = network.cuts[-1].module if network.cuts else None  # so that every layer is a block
        return TextWhole(net), _named(blocks(net, inside, order))
    with torch.no_grad():
        expected = [run(net, example) for example in examples]
        below = [_states(net, cut, example) for example in examples]
    seen, given = watch(net, run, examples[0]), _Given()
    order = order_of(net, seen)
    _replace(net, cut, seen, given)
    body = TextSuffix(net, given)
    for example, states, said in zip(examples, below, expected, strict=True):
        found = _checked(body, cut, states, example[NAMES[1]], expected=said)
    freeze_unused(net, found)
    if not any(True for _ in net.parameters()):
        raise _stub.cannot(cut, "nothing above it can be trained")
    return body, _named(blocks(net, cut, order))


def _named(found: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"net.{name}" for name in found)


def _example(lengths: tuple[int, ...], network: Network) -> dict[str, Tensor]:
    """Texts of these lengths, cut off where the network reads no further."""
    expects = network.spec.input
    assert isinstance(expects, TextInput)
    cut_off = [min(length, expects.tokens) for length in lengths]
    mask = (torch.arange(max(cut_off)) < torch.tensor(cut_off)[:, None]).long()
    ids = 4 + torch.arange(mask.numel()).reshape(mask.shape) % 7
    return {NAMES[0]: ids * mask, NAMES[1]: mask}


def _states(net: nn.Module, cut: str, example: Inputs) -> Tensor:
    caught: list[Tensor] = []
    try:
        handle = net.get_submodule(cut).register_forward_hook(lambda _m, _a, out: caught.extend(tensors(out)[:1]))
    except AttributeError:
        raise _stub.cannot(cut, "it has no module of that name") from None
    run(net, example)
    handle.remove()
    n, length = example[NAMES[1]].shape
    if len(caught) != 1 or caught[0].ndim != 3 or tuple(caught[0].shape[:2]) != (n, length):
        raise _stub.cannot(cut, "the module does not give one state a token, once")
    return caught[0].clone()


def _checked(body: TextSuffix, cut: str, states: Tensor, mask: Tensor, *, expected: Tensor) -> Tensor:
    packed = torch.cat([states, mask.to(states.dtype)[..., None]], dim=2)
    try:
        with torch.enable_grad():
            found: Tensor = body(packed)
    except (RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise _stub.cannot(cut, f"the part above does not run by itself: {str(error).splitlines()[0]}") from error
    apart = float((found - expected).detach().abs().max() / expected.abs().max().clamp(min=1e-30))
    if not apart <= _stub.TOLERANCE:
        raise _stub.cannot(cut, f"the two parts give something else than the whole: {apart:.1e} apart")
    return found


# --- stubs --------------------------------------------------------------------------------------


class _Given:
    """The activation of a pass that is under way: shared by the body and its stubs."""

    def __init__(self) -> None:
        self.activation: Tensor | None = None


class _Stub(nn.Module):
    """Gives the activation in the structure of what the replaced module gave.

    Attributes that a network reads from its parts, such as a layer's kind of attention, are the replaced module's.
    """

    def __init__(self, replaced: nn.Module, outputs: Any, given: _Given) -> None:
        super().__init__()
        self.outputs, self.given = outputs, given
        for module in replaced.modules():
            for name, _ in list(module.named_parameters(recurse=False)):
                delattr(module, name)
        self.__dict__["replaced"] = replaced

    def __getattr__(self, name: str) -> Any:
        if "replaced" not in self.__dict__:
            return super().__getattr__(name)
        return getattr(self.__dict__["replaced"], name)

    def forward(self, *_args: Any, **_options: Any) -> Any:
        return rebuilt(self.outputs, self._one)

    def _one(self, width: Tensor) -> Tensor:
        given = self.given.activation
        assert given is not None
        columns = len(width)
        return given if columns == given.shape[2] else given.new_zeros(1, 1, 1).expand(*given.shape[:2], columns)


def _replace(net: nn.Module, cut: str, seen: Trace, given: _Given) -> None:
    """Put stubs for the outermost modules with parameters that had finished when the cut layer finished."""
    end = seen.seen[id(net.get_submodule(cut))].ended

    def visit(parent: nn.Module) -> None:
        for name, child in parent.named_children():
            facts = seen.of(child)
            if facts is None or facts.ended > end:
                visit(child)
            elif not any(True for _ in child.parameters()):
                continue  # rotary positions, dropout
            elif _a_state_a_token(facts.output):
                outputs = rebuilt(facts.output, lambda tensor: tensor.new_empty(tensor.shape[2]).detach())
                setattr(parent, name, _Stub(child, outputs, given))
            else:  # relative positions, that layers on both sides share: as they are, for good
                _fixed(child)

    visit(net)


def _a_state_a_token(output: Any) -> bool:
    found = tensors(output)
    return bool(found) and all(t.is_floating_point() and t.ndim == 3 and t.shape[1] == LENGTHS[0][0] for t in found)


def _fixed(module: nn.Module) -> None:
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())
