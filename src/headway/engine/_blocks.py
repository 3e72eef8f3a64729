"""What of a cut network can be trained: its parameters, and the blocks that layer-wise methods count by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.engine._trace import Trace, ancestors, leaves

OWN = "own_parameters"  # the child that holds what a module had as parameters of its own
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def freeze_unused(net: nn.Module, output: Tensor) -> None:
    """Parameters that ``output`` does not rest on become buffers: they are no one's to train."""
    used = leaves(ancestors(output))
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in used:
                delattr(module, name)
                module.register_buffer(name, parameter.detach())


def order_of(net: nn.Module, seen: Trace) -> dict[str, int]:
    """When each module ended, by name."""
    found = ((name, seen.of(module)) for name, module in net.named_modules(remove_duplicate=False))
    return {name: facts.ended for name, facts in found if facts is not None}


def blocks(net: nn.Module, cut: str | None, order: Mapping[str, int]) -> tuple[str, ...]:
    """Names of submodules that hold every parameter of ``net`` once, in the order in which they run.

    They are its children; of a plain list of modules, and of one in which the cut lies, the children in turn. What
    such a module has as parameters of its own moves into a child of it, so that there is a name for them.
    """
    found = list(_parts(net, "", cut or ""))

    def when(name: str) -> int:
        inside = [end for other, end in order.items() if other == name or other.startswith(f"{name}.")]
        return min(inside, default=-1)

    return tuple(sorted(found, key=when))


def _parts(module: nn.Module, path: str, cut: str) -> Iterator[str]:
    if _house(module):
        yield f"{path}{OWN}"
    inside = isinstance(module, _CONTAINERS)
    for name, child in module.named_children():
        if name == OWN or not any(True for _ in child.parameters()):
            continue
        full = f"{path}{name}"
        if cut.startswith(f"{full}.") or (not inside and _is_list(child)):
            yield from _parts(child, f"{full}.", cut)
        else:
            yield full


def _is_list(module: nn.Module) -> bool:
    """A plain container, or a module around nothing else than one."""
    children = list(module.children())
    return isinstance(module, _CONTAINERS) or (len(children) == 1 and isinstance(children[0], _CONTAINERS))


def _house(module: nn.Module) -> bool:
    """Move a module's own parameters into a child; its class then looks them up there."""
    names = [name for name, _ in module.named_parameters(recurse=False)]
    if not names:
        return False
    own = nn.Module()
    for name in names:
        own.register_parameter(name, module.get_parameter(name))
        delattr(module, name)
    module.add_module(OWN, own)
    kind = type(module)
    module.__class__ = type(kind.__name__, (kind,), {name: property(partial(_own, name)) for name in names})
    return True


def _own(name: str, module: nn.Module) -> nn.Parameter:
    return module.get_submodule(OWN).get_parameter(name)


def own_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """A body's state under the names that the network itself uses."""
    parts = ((name.split("."), value) for name, value in state.items())
    return {".".join(part for part in path[1:] if part != OWN): value for path, value in parts}
