"""One watched pass through a network: what ran when, what it gave, what it cost, and what its output rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

Inputs = Mapping[str, Tensor]
"""A network's inputs by name, each ``[n, ...]``."""
Run = Callable[[Any, Inputs], Tensor]
"""``run(net, inputs)`` is the embedding ``[n, d]``: how this network is called, and what of its answer is meant."""


@dataclass(slots=True)
class Seen:
    """A module's calls: when the first began and the last ended, and what the last one gave."""

    began: int
    ended: int = -1
    calls: int = 0
    flops: int = 0  # of everything up to the end of the last call
    output: Any = None


@dataclass(slots=True)
class Trace:
    """``seen`` by the identity of the module: one that has two names ran under both."""

    output: Tensor
    seen: dict[int, Seen] = field(default_factory=dict)
    flops: int = 0

    def of(self, module: nn.Module) -> Seen | None:
        """What was seen of a module, None where it did not run by itself."""
        found = self.seen.get(id(module))
        return found if found is not None and found.calls else None


def watch(net: nn.Module, run: Run, inputs: Inputs, *, count: bool = False) -> Trace:
    """Run ``net`` once, in the mode it is in, with gradients followed but not computed; on ``"meta"`` at no cost.

    ``count`` sums up what is multiplied, which slows every operation down.
    """
    seen: dict[int, Seen] = {}
    clock = iter(range(1 << 62))
    handles: list[RemovableHandle] = []
    counter = FlopCounterMode(display=False)
    with torch.enable_grad(), counter if count else nullcontext():
        for module in net.modules():
            handles.append(module.register_forward_pre_hook(partial(_begin, seen, clock)))
            handles.append(module.register_forward_hook(partial(_end, seen, clock, counter)))
        try:
            output = run(net, inputs)
        finally:
            for handle in handles:
                handle.remove()
        return Trace(output, seen, counter.get_total_flops())


def _begin(seen: dict[int, Seen], clock: Iterator[int], module: nn.Module, _args: Any) -> None:
    now = next(clock)
    seen.setdefault(id(module), Seen(now))


def _end(
    seen: dict[int, Seen], clock: Iterator[int], counter: FlopCounterMode, module: nn.Module, _args: Any, output: Any
) -> None:
    mine = seen[id(module)]
    mine.ended, mine.calls, mine.flops, mine.output = next(clock), mine.calls + 1, counter.get_total_flops(), output


def tensors(output: Any) -> list[Tensor]:
    """The tensors in a module's output, which may be one, or any nesting of tuples, lists and dictionaries."""
    found: list[Tensor] = []
    rebuilt(output, lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found


def rebuilt(output: Any, change: Callable[[Tensor], Any]) -> Any:
    """An output of the same structure with every tensor changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, Mapping):
        parts = {key: rebuilt(value, change) for key, value in output.items()}
        return type(output)(**parts) if hasattr(output, "to_tuple") else parts
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(rebuilt(value, change) for value in output))
    if isinstance(output, tuple | list):
        return type(output)(rebuilt(value, change) for value in output)
    return output


# --- what an output rests on --------------------------------------------------------------------


def ancestors(output: Tensor, *, without: Tensor | None = None) -> dict[int, Any]:
    """Nodes of the autograd graph that ``output`` was computed from, without going through ``without``.

    By identity; the nodes come along, because torch gives them no lasting one of their own.
    """
    stop = None if without is None else without.grad_fn
    found: dict[int, Any] = {}
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node is stop or id(node) in found:
            continue
        found[id(node)] = node
        waiting += [parent for parent, _ in node.next_functions]
    return found


def leaves(nodes: Mapping[int, Any]) -> dict[int, Tensor]:
    """The tensors that gradients would reach, by identity."""
    return {id(node.variable): node.variable for node in nodes.values() if hasattr(node, "variable")}


def crosses(trace: Trace, activation: Tensor) -> bool:
    """Whether something computed below ``activation`` also reaches the output by another way.

    Parameters may: a layer may run on both sides. Of inputs it is seen where they were computed with gradients.
    """
    below, above = ancestors(activation), ancestors(trace.output, without=activation)
    return any(not hasattr(above[name], "variable") for name in above.keys() & below.keys())
