"""Split any network after a named module: what lies below as a network of its own, what lies above likewise.

The part above is the network with stubs in it, in place of everything that had finished by the end of the cut module.
The cut module's gives the activation that was passed in, the others give zeros that take no memory. The network's own
forward pass then runs, so the part above keeps the network's control flow and the names of its parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.engine._blocks import blocks, freeze_unused, order_of
from headway.engine._trace import Inputs, Run, Trace, rebuilt, tensors, watch
from headway.errors import ModelError

TOLERANCE = 1e-4  # of the greatest value: what the order of additions may change in float32


class Prefix(nn.Module):
    """``forward(*inputs)`` is ``(activation,)``: the network's first part, run no further than the cut."""

    def __init__(self, net: nn.Module, cut: str, *, run: Run, names: tuple[str, ...]) -> None:
        super().__init__()
        self.net, self.run, self.names = net, run, names
        net.get_submodule(cut).register_forward_hook(_stop)

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        try:
            self.run(self.net, dict(zip(self.names, inputs, strict=True)))
        except _Reached as reached:
            return (reached.activation,)
        raise ModelError("the network did not come to where it is cut")


class Suffix(nn.Module):
    """``forward(activation [n, ...], *kept)`` is the embedding ``[n, d]``.

    ``kept`` are the inputs that the upper part needs besides, such as an attention mask, in the order of ``kept``.
    """

    def __init__(
        self, net: nn.Module, *, run: Run, slot: _Slot, example: Inputs, kept: tuple[str, ...], per_item: int
    ) -> None:
        super().__init__()
        self.net, self.run, self.slot, self.kept, self.per_item = net, run, slot, kept, per_item
        self.shapes = {name: (tuple(t.shape[1:]), t.dtype) for name, t in example.items() if name not in kept}

    def forward(self, x: Tensor, *kept: Tensor) -> Tensor:
        n = x.shape[0] // self.per_item
        inputs = {name: _nothing((n, *shape), dtype, x) for name, (shape, dtype) in self.shapes.items()}
        self.slot.activation, self.slot.n = x, n
        try:
            return self.run(self.net, {**inputs, **dict(zip(self.kept, kept, strict=True))})
        finally:
            self.slot.activation = None


class Whole(nn.Module):
    """A network of which nothing is frozen: ``forward(*inputs)`` is the embedding ``[n, d]``."""

    def __init__(self, net: nn.Module, *, run: Run, names: tuple[str, ...]) -> None:
        super().__init__()
        self.net, self.run, self.names = net, run, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(self.net, dict(zip(self.names, inputs, strict=True)))


def prefix(net: nn.Module, cut: str, *, run: Run, names: tuple[str, ...]) -> Prefix:
    """What lies below the end of the module called ``cut``, in eval mode; ``net`` itself is taken and changed."""
    _named(net, cut)
    return Prefix(net, cut, run=run, names=names).eval()


def suffix(
    net: nn.Module, cut: str, *, run: Run, example: Inputs, kept: tuple[str, ...] = ()
) -> tuple[Suffix, tuple[str, ...]]:
    """What lies above the end of the module called ``cut``, and the names of its blocks (see :func:`blocks`).

    ``net`` itself is taken and changed. ``example`` holds at least two items. Parameters that the upper part does not
    use become buffers: nothing below the cut can be trained.

    Raises:
        ModelError: there is no such module, it does not run exactly once, or what the two parts give together is not
            what the whole gives, as when a skip connection passes by the cut.
    """
    at = _named(net.eval(), cut)
    n = len(next(iter(example.values())))
    caught: list[Tensor] = []
    handle = at.register_forward_hook(partial(_catch, caught))
    seen = watch(net, run, example)
    handle.remove()
    if len(caught) != 1 or caught[0].shape[0] % n:
        raise cannot(cut, "the module does not run exactly once, or its output is not one activation an item")
    expected, order, slot = seen.output.detach(), order_of(net, seen), _Slot()
    _replace(net, at, seen, _with_one_more(net, run, example), slot=slot, n=n)
    body = Suffix(net, run=run, slot=slot, example=example, kept=kept, per_item=len(caught[0]) // n)
    found = _checked(body, cut, caught[0], [example[name] for name in kept], expected=expected)
    freeze_unused(net, found)
    if not any(True for _ in net.parameters()):
        raise cannot(cut, "nothing above it can be trained")
    return body, tuple(f"net.{name}" for name in blocks(net, cut, order))


def _checked(body: Suffix, cut: str, activation: Tensor, rest: list[Tensor], *, expected: Tensor) -> Tensor:
    """The body's own answer, once it is what the whole network gave."""
    given = activation.clone()
    try:
        found = _tried(body, given, rest)
    except (RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise cannot(cut, f"the part above does not run by itself: {str(error).splitlines()[0]}") from error
    body.slot.copies = not torch.equal(given, activation)
    apart = float((found - expected).detach().abs().max() / expected.abs().max().clamp(min=1e-30))
    if not apart <= TOLERANCE:
        raise cannot(cut, f"the two parts give something else than the whole: {apart:.1e} of its greatest value apart")
    return found


def _tried(body: Suffix, activation: Tensor, rest: list[Tensor]) -> Tensor:
    with torch.enable_grad():
        try:
            found: Tensor = body(activation, *rest)
        except RuntimeError:  # zeros without memory cannot be written to, as what runs on them may want
            body.slot.writable = True
            found = body(activation, *rest)
    return found


def _with_one_more(net: nn.Module, run: Run, example: Inputs) -> dict[str, list[tuple[int, ...]]]:
    """The shapes of every module's outputs for one item more, by the module's name."""
    more = {name: torch.cat([tensor, tensor[:1]]) for name, tensor in example.items()}
    double = _weightless(net)
    try:  # shapes alone, at no cost
        with torch.device("meta"):
            trace = watch(double, run, {name: tensor.to("meta") for name, tensor in more.items()})
    except (RuntimeError, NotImplementedError):  # a network that looks at values
        double = copy.deepcopy(net)
        trace = watch(double, run, more)
    found = ((name, trace.of(module)) for name, module in double.named_modules(remove_duplicate=False))
    return {name: [tuple(t.shape) for t in tensors(seen.output)] for name, seen in found if seen is not None}


def whole(net: nn.Module, *, run: Run, example: Inputs) -> tuple[Whole, tuple[str, ...]]:
    """The network itself as a body, and its blocks; ``net`` itself is taken and changed."""
    seen = watch(net.eval(), run, example)
    freeze_unused(net, seen.output)
    order = order_of(net, seen)
    return Whole(net, run=run, names=tuple(example)), tuple(f"net.{name}" for name in blocks(net, None, order))


def _weightless(net: nn.Module) -> nn.Module:
    """A copy on ``"meta"``, made without copying any number."""
    held = [*net.parameters(), *net.buffers()]
    return copy.deepcopy(net, {id(tensor): tensor.to("meta") for tensor in held})


def cannot(cut: str, why: str, todo: str = "") -> ModelError:
    return ModelError("the network cannot be cut there", given=f"{cut} ({why})", todo=todo)


def _named(net: nn.Module, cut: str) -> nn.Module:
    try:
        if cut:
            return net.get_submodule(cut)
    except AttributeError:
        pass
    raise cannot(cut, "it has no module of that name")


# --- stubs --------------------------------------------------------------------------------------


class _Reached(Exception):
    """Ends a forward pass at the cut."""

    def __init__(self, activation: Tensor) -> None:
        self.activation = activation


def _stop(_module: nn.Module, _args: Any, output: Any) -> None:
    raise _Reached(next(tensor for tensor in tensors(output) if tensor.is_floating_point()))


def _catch(caught: list[Tensor], _module: nn.Module, _args: Any, output: Any) -> None:
    """Taken as soon as it is there: what follows may write into it."""
    found = [tensor for tensor in tensors(output) if tensor.is_floating_point() and tensor.ndim]
    caught.append(found[0].detach().clone() if found else torch.zeros(1))


class _Slot:
    """What a pass through the part above is about: shared by the body and its stubs."""

    def __init__(self) -> None:
        self.activation: Tensor | None = None
        self.n = 0
        self.copies = False  # whether what follows the cut writes into the activation
        self.writable = False  # whether something writes into what stubs give


class _Stub(nn.Module):
    """Gives what the replaced module gave, in structure: the activation, constants as they were, zeros elsewhere.

    Attributes that a network reads from its parts, such as sizes and types, are those of the replaced module, which is
    kept without its weights and is no part of the network any more.
    """

    def __init__(self, replaced: nn.Module, outputs: Any, slot: _Slot) -> None:
        super().__init__()
        self.outputs, self.slot = outputs, slot
        _empty(replaced)
        self.__dict__["replaced"] = replaced

    def __getattr__(self, name: str) -> Any:
        if "replaced" not in self.__dict__:
            return super().__getattr__(name)
        return getattr(self.__dict__["replaced"], name)

    def forward(self, *_args: Any, **_options: Any) -> Any:
        return _filled(self.outputs, self.slot)


def _empty(replaced: nn.Module) -> None:
    """Take a module's parameters away; what stands in their place has their shape and type, and no memory."""
    for module in replaced.modules():
        for name, tensor in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            setattr(module, name, _nothing(tuple(tensor.shape), tensor.dtype, tensor))


class _Zeros:
    """A tensor of ``per_item * n`` rows of zeros."""

    def __init__(self, per_item: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.per_item, self.shape, self.dtype = per_item, shape, dtype


class _Activation:
    """The place of the activation in an output."""


def _filled(outputs: Any, slot: _Slot) -> Any:
    assert slot.activation is not None
    if isinstance(outputs, _Activation):
        return slot.activation.clone() if slot.copies else slot.activation
    if isinstance(outputs, _Zeros):
        zeros = _nothing((outputs.per_item * slot.n, *outputs.shape), outputs.dtype, slot.activation)
        return zeros.contiguous() if slot.writable else zeros
    if isinstance(outputs, Tensor):
        return outputs.to(slot.activation.device, copy=slot.writable)
    if isinstance(outputs, Mapping):
        parts = {key: _filled(value, slot) for key, value in outputs.items()}
        return type(outputs)(**parts) if hasattr(outputs, "to_tuple") else parts
    if isinstance(outputs, tuple | list):
        parts_ = [_filled(value, slot) for value in outputs]
        return type(outputs)(*parts_) if hasattr(outputs, "_fields") else type(outputs)(parts_)
    return outputs


def _nothing(shape: tuple[int, ...], dtype: torch.dtype, like: Tensor) -> Tensor:
    return torch.zeros((1,) * len(shape), dtype=dtype, device=like.device).expand(shape)


def _replace(
    net: nn.Module, at: nn.Module, seen: Trace, more: Mapping[str, list[tuple[int, ...]]], *, slot: _Slot, n: int
) -> None:
    """Put a stub in place of the outermost modules that had finished when ``at`` finished."""
    end = seen.seen[id(at)].ended

    def visit(parent: nn.Module, path: str) -> None:
        for name, child in parent.named_children():
            facts = seen.of(child)
            if facts is None or facts.ended > end:
                visit(child, f"{path}{name}.")
            else:
                outputs = _plan(facts.output, more[f"{path}{name}"], n=n, given=child is at)
                setattr(parent, name, _Stub(child, outputs, slot))

    visit(net, "")


def _plan(output: Any, more: list[tuple[int, ...]], *, n: int, given: bool) -> Any:
    """An output's structure with what a stub gives in place of each tensor; ``more`` are shapes for ``n + 1`` items."""
    others = iter(more)
    todo = [given]

    def one(tensor: Tensor) -> Any:
        if next(others) == tuple(tensor.shape):  # the same whatever the number of items: a constant
            return tensor.detach().clone()
        if todo[0] and tensor.is_floating_point():
            todo[0] = False
            return _Activation()
        return _Zeros(tensor.shape[0] // n, tuple(tensor.shape[1:]), tensor.dtype)

    return rebuilt(output, one)
