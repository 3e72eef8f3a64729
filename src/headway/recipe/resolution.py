"""At which resolution a network is trained from nothing: the largest at which it still sees every item often enough.

Who trains from scratch within minutes makes the pictures smaller first: the same architecture takes 2 to 12 times as
many steps at 64 to 160 pixels a side as at 224, and steps are what random weights lack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.backbones._network import Network
from headway.features.extract import Decoder

if TYPE_CHECKING:
    from headway.engine.cut import Tail

SIDES = (64, 96, 128, 160)  # beside the network's own
LOOKED_AT = 16  # items from which it is told how large the pictures are
STEPS = 2  # of which the faster tells the pace: the first also pays for choosing kernels
OVERHEAD = 1.2  # the optimiser and batches, beside forward and backward


def at_side(network: Network, side: int) -> Network:
    """The same network for square pictures of another size: architecture and weights are the same.

    >>> from headway import backbones
    >>> at_side(backbones.open("random:test_efficientnet", offline=True), 64).spec.input.height
    64
    """
    expects = replace(network.spec.input, height=side, width=side)
    return replace(network, spec=replace(network.spec, input=expects))


def sides_of(network: Network, *, pictures: int) -> tuple[int, ...]:
    """Sides that the architecture takes, the smallest first and at least one; no more than ``pictures`` have pixels.

    A network that was built for one size alone, as most transformers are, is left at that.
    """
    own = network.spec.input.height
    smaller = [side for side in SIDES if side < own and _takes(network, side)]
    enough = next((number for number, side in enumerate(smaller) if side >= pictures), len(smaller))
    return tuple([*smaller, own][: enough + 1])


def _takes(network: Network, side: int) -> bool:
    import torch

    from headway.backbones._staged import build, embed

    net = build(network.frame, device="meta")
    try:
        with torch.no_grad():
            embed(net, torch.zeros(2, 3, side, side, device="meta"), trunk=network.frame.trunk)
    except (AssertionError, RuntimeError, ValueError):  # how architectures of one size refuse another
        return False
    return True


def side_of_pictures(sources: Sequence[Any], decoder: Decoder, *, cover: int) -> int:
    """The median of the shorter sides of some items, as they are decoded to ``cover`` so many pixels a side."""
    rows = np.linspace(0, len(sources) - 1, min(LOOKED_AT, len(sources))).astype(int)
    return int(np.median([min(decoder.decode(sources[row], cover=(cover, cover)).shape[:2]) for row in rows]))


def pace(tail: Tail, side: int, loss: Callable[..., Any], targets: Any) -> float:
    """Seconds an item of training all of ``tail`` at this side, from two steps with as many items as ``targets``."""
    import torch

    from headway.engine.step import Batch, backward

    noise = torch.rand(len(targets), 3, side, side, generator=torch.Generator().manual_seed(side))
    pixels = noise.contiguous(memory_format=torch.channels_last)
    batch = Batch(inputs=pixels, targets=torch.as_tensor(targets))
    tail.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    seconds = []
    for _ in range(STEPS):
        started = perf_counter()
        backward(tail, batch, loss=loss, penalty=None, precision="f32")
        seconds.append(perf_counter() - started)
    tail.zero_grad(set_to_none=True)
    return OVERHEAD * min(seconds) / len(targets)


def largest(sides: Sequence[int], paced: Callable[[int], float], *, seconds: float, items: float, epochs: int) -> int:
    """The largest side at which ``items`` are seen ``epochs`` times within ``seconds``; the smallest where none is.

    ``paced(side)`` gives seconds an item. It is asked for as few sides as tell.

    >>> largest((64, 96, 128), lambda side: (side / 64) ** 2 * 0.001, seconds=10.0, items=100.0, epochs=30)
    96
    """
    chosen = sides[0]
    for side in sides[1:]:
        if items * epochs * paced(side) > seconds:
            break
        chosen = side
    return chosen
