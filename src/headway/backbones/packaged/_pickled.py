"""Read a pickle of ``{name: [arrays]}`` as data: nothing in it is imported, called or constructed.

The opcodes are listed by the standard library's ``pickletools``; a stack of plain values stands in for the unpickler.
The three names under which numpy pickles arrays are recognised as text. Anything else is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import WeightsRefused

_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
}
_MARK = object()


@dataclass(frozen=True, slots=True)
class _Name:
    text: str


@dataclass(slots=True)
class _Made:
    """What ``REDUCE`` would have made: an array or a dtype, filled in by ``BUILD``."""

    kind: str
    dtype: str = ""
    array: NDArray[Any] | None = None


@dataclass(slots=True)
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def to_mark(self) -> list[Any]:
        items = []
        while (top := self.stack.pop()) is not _MARK:
            items.append(top)
        return items[::-1]

    def push_tuple(self, n: int) -> None:
        items = [self.pop() for _ in range(n)]
        self.stack.append(tuple(items[::-1]))

    def extend_list(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("items for something that is no list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items for something that is no dictionary")
        target.update(zip(items[::2], items[1::2], strict=True))

    def reduce(self) -> None:
        arguments, name = self.pop(), self.pop()
        if name == _Name("array") and arguments == (_Name("ndarray"), (0,), b"b"):
            self.stack.append(_Made("array"))
        elif name == _Name("dtype") and len(arguments) == 3 and arguments[0] == "f4":
            self.stack.append(_Made("dtype", "f4"))
        else:
            raise ValueError(f"a call of {name} with {arguments!r:.80}")

    def build(self) -> None:
        state, made = self.pop(), self.stack[-1]
        if not isinstance(made, _Made) or not isinstance(state, tuple) or len(state) < 2:
            raise ValueError(f"a state for {made!r:.80}")
        if made.kind == "dtype":
            if state[1] not in ("<", ">"):
                raise ValueError(f"the byte order {state[1]!r}")
            made.dtype = f"{state[1]}f4"
        else:
            made.array = _array(*state)


def read(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    """The arrays of a pickled ``{name: [float32 arrays]}``. Raises :class:`WeightsRefused` on anything else."""
    machine = _Machine()
    try:
        content = io.BytesIO(path.read_bytes())  # unlike a file, it allocates no more than is there when asked for more
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools remarks on odd text in operations that are refused anyway
            for opcode, argument, _ in pickletools.genops(content):
                if opcode.name not in _ALLOWED:
                    raise ValueError(f"the pickle operation {opcode.name} {argument if argument else ''}".rstrip())
                _ALLOWED[opcode.name](machine, argument)
        arrays = machine.pop()
        return {str(name): [_finished(item) for item in items] for name, items in arrays.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise WeightsRefused(
            f"{path.name} is not a plain pickle of arrays: it holds {error}",
            allowed="a dictionary of lists of float32 arrays",
            todo="Do not open it with pickle: a pickle can run any program",
        ) from None


def _array(_version: int, shape: tuple[int, ...], dtype: _Made, fortran: bool, content: bytes) -> NDArray[np.float32]:
    if not isinstance(dtype, _Made) or dtype.kind != "dtype" or len(content) != 4 * math.prod(shape):
        raise ValueError(f"an array of shape {shape} with {len(content)} bytes")
    flat = np.frombuffer(content, np.dtype(dtype.dtype)).astype(np.float32)
    return flat.reshape(shape, order="F" if fortran else "C")


def _finished(item: Any) -> NDArray[np.float32]:
    if not isinstance(item, _Made) or item.array is None:
        raise ValueError(f"{item!r:.80} where an array should be")
    return item.array


def _name(machine: _Machine, argument: str) -> None:
    if argument not in _NAMES:
        raise ValueError(f"the name {argument.replace(' ', '.')}")
    machine.stack.append(_Name(_NAMES[argument]))


def _put(machine: _Machine, argument: int) -> None:
    machine.memo[argument] = machine.stack[-1]


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _nothing(machine: _Machine, argument: Any) -> None:
    pass


_ALLOWED: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "STOP"), _nothing),
    **dict.fromkeys(("BINUNICODE", "BINBYTES", "SHORT_BINBYTES"), _push),
    **dict.fromkeys(("BININT", "BININT1", "BININT2"), _push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda m, i: m.stack.append(m.memo[i])),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "MARK": lambda m, _: m.stack.append(_MARK),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.push_tuple(0),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.to_mark())),
    "TUPLE1": lambda m, _: m.push_tuple(1),
    "TUPLE2": lambda m, _: m.push_tuple(2),
    "TUPLE3": lambda m, _: m.push_tuple(3),
    "APPEND": lambda m, _: m.extend_list([m.pop()]),
    "APPENDS": lambda m, _: m.extend_list(m.to_mark()),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.to_mark()),
    "GLOBAL": _name,
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
}
