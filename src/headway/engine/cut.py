"""A network cut in two: a frozen prefix for the compiled engine, and a suffix with its head that can be trained.

``points`` lists where a network can be cut, ``prefix`` is the part below as a :class:`~headway.types.Backbone` of its
own, ``tunable`` the part above with a head; ``merged`` makes an ordinary backbone of what was trained. That prefix and
suffix together are the whole network is checked whenever one is cut.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headway.backbones import _text
from headway.backbones._network import Network
from headway.backbones._staged import build, embed
from headway.backbones.packaged import digest
from headway.engine import _stub, text_cut
from headway.engine._blocks import own_names
from headway.engine._head import Head, as_linear_head, fresh_head
from headway.engine._trace import Inputs, Run, Seen, Trace, ancestors, crosses, leaves, tensors, watch
from headway.engine.ir import normalise, pixels_of, probe_images
from headway.errors import ModelError, OptionError
from headway.types import Backbone, BackboneSpec, LinearHead, TextInput

__all__ = [
    "CutPoint",
    "Prefix",
    "Tail",
    "fresh_head",
    "linear_head",
    "merged",
    "points",
    "prefix",
    "put_head",
    "split",
    "text_prefix",
    "tunable",
]

EXAMPLE = 2  # items that a cut is checked on
_NEAREST = 4  # points that an error names


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPoint:
    """A place where a network can be cut: after the module called ``name``."""

    name: str
    shape: tuple[int, ...]  # of one item's activation
    below: float  # share of the forward pass's multiplications that is frozen, 0..1
    params_above: int  # that can be trained
    stage: str | None  # the backbone's stage whose features are those of this point, where there is one

    @property
    def size(self) -> int:
        """Numbers in one item's activation."""
        size = 1
        for side in self.shape:
            size *= side
        return size


class Tail(nn.Module):
    """A :class:`headway.types.Tunable`: activations at the cut, pixels or ids, ``[n, ...]`` to ``[n, C]``."""

    def __init__(self, body: nn.Module, head: nn.Module, *, blocks: tuple[str, ...], cut: str | None) -> None:
        super().__init__()
        self.body, self.head, self.blocks, self.cut = body, head, blocks, cut

    def forward(self, x: Tensor, *kept: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(x, *kept))
        return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The part of a network below a cut, as a :class:`headway.types.Backbone` of one stage: the raw activation."""

    network: Network
    cut: str

    @property
    def spec(self) -> BackboneSpec:
        return self.network.spec

    @property
    def weights_key(self) -> str:
        return self.network.weights_key

    @property
    def stages(self) -> tuple[str, ...]:
        return (f"{self.cut}, not pooled",)

    def obtain(self) -> None:
        self.network.obtain()

    def module(self) -> nn.Module:
        return _stub.prefix(self.network.load(), self.cut, run=_run_of(self.network), names=("x",))

    def state(self) -> Mapping[str, NDArray[Any]]:
        return self.network.state()

    def weights_file(self) -> Path | None:
        return self.network.weights_file()


def points(backbone: Backbone) -> tuple[CutPoint, ...]:
    """Where a backbone can be cut, input side first; found without its weights, from shapes alone.

    These are modules up to two levels deep after which everything goes through their output. Of several with no
    parameter between them there is one, the last, whose activation is the smallest.

    Raises :class:`ModelError` for a backbone whose source does not say how to build it without weights.

    >>> from headway import backbones
    >>> [point.name for point in points(backbones.open("packaged:efficientnet_lite0.in1k", offline=False))][:3]
    ['blocks.0', 'blocks.1', 'blocks.2']
    """
    network = _network(backbone)
    if isinstance(network.spec.input, TextInput):
        return _text_points(network, network.spec.input)
    net = build(network.frame, device="meta")
    expects = pixels_of(network.spec)
    pixels = torch.zeros(EXAMPLE, 3, expects.height, expects.width, device="meta", requires_grad=True)
    inputs = {"x": pixels * 1.0}  # by gradients it shows where the input itself passes by
    with torch.device("meta"):
        trace = watch(net, _run_of(network), inputs, count=True)
    return tuple(_points(net, trace, stages=tuple(cut.module for cut in network.cuts)))


def prefix(backbone: Backbone, cut: str) -> Prefix:
    """The part of a backbone below the end of the module called ``cut``: ``[n, 3, h, w]`` to its raw output.

    :func:`headway.engine.pool.open_network` compiles it and checks it against eager as it does any backbone.
    """
    return Prefix(network=_network(backbone), cut=cut)


def text_prefix(backbone: Backbone, cut: str) -> text_cut.TextPrefix:
    """The part of a text network up to the end of the layer called ``cut``: ids and mask to one state a token.

    :func:`headway.engine.tokenwise.prepare` compiles it.
    """
    return text_cut.TextPrefix(network=_network(backbone), cut=cut)


def tunable(backbone: Backbone, cut: str | None, head: LinearHead | None = None, *, classes: int | None = None) -> Tail:
    """The part of a backbone above ``cut`` with a head on its embedding, in eval mode.

    ``cut=None`` freezes nothing: the input is normalised pixels ``[n, 3, h, w]``. Of texts it is what
    :mod:`headway.engine.packed` packs: states and mask above a cut, ids and mask without one. The head starts as the
    given probe, exactly, its scores divided by its temperature; without one as :func:`fresh_head` for so many
    ``classes``.

    Raises:
        ModelError: the network cannot be cut there; the nearest points where it can are named.
        OptionError: the probe does not stand on the embedding alone.
    """
    network = _network(backbone)
    if head is None:
        if classes is None:
            raise OptionError("a head needs a probe to start from, or the number of classes", todo="Give one of them")
        head = fresh_head(network.spec.dim, classes)
    if sum(head.blocks) != network.spec.dim:
        raise OptionError(
            "the probe does not stand on the embedding alone",
            given=f"{sum(head.blocks)} columns",
            allowed=f"the {network.spec.dim} of {network.spec.name}'s last stage",
        )
    try:
        body, blocks = _upper(network, cut)
    except ModelError as error:
        raise _stub.cannot(
            str(cut), str(error.given), f"{network.spec.name} can be cut at {_near(network, cut)}"
        ) from None
    return Tail(body, Head(head), blocks=tuple(f"body.{name}" for name in blocks), cut=cut).eval()


def split(
    net: nn.Module, cut: str, *, run: Run, example: Inputs, kept: Sequence[str] = ()
) -> tuple[_stub.Prefix, _stub.Suffix, tuple[str, ...]]:
    """Any network in two: ``(prefix, suffix, blocks)``, with ``suffix(*prefix(*inputs), *kept) == run(net, inputs)``.

    ``run(net, inputs)`` calls the network and gives ``[n, d]``; ``example`` are inputs ``[n, ...]`` of at least two
    items, by name. ``kept`` names inputs that the suffix is given beside the activation. Both parts are copies.

    Raises :class:`ModelError` where the two parts would not give what the whole gives.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> example = {"x": torch.ones(2, 2)}
    >>> below, above, blocks = split(net, "1", run=lambda net, inputs: net(inputs["x"]), example=example)
    >>> above(*below(torch.ones(5, 2))).shape, blocks
    (torch.Size([5, 3]), ('net.2',))
    """
    above, blocks = _stub.suffix(copy.deepcopy(net), cut, run=run, example=example, kept=tuple(kept))
    below = _stub.prefix(copy.deepcopy(net), cut, run=run, names=tuple(example))
    return below, above, blocks


def linear_head(tail: Tail) -> LinearHead:
    """The head of a tail as predictions use it: temperature 1, the scores those of ``tail.head``."""
    return as_linear_head(tail.head)


def put_head(tail: Tail, head: LinearHead) -> None:
    """Give a tail this head, on the same embedding, in place of its own."""
    tail.head.load_state_dict(Head(head).state_dict())


def merged(backbone: Backbone, tail: Tail, *, label: str) -> Network:
    """``backbone`` with the weights that ``tail`` has now: an ordinary network, whose name ends in ``-label``.

    Raises :class:`ModelError` where the tail still holds tensors that the network has not, such as adapters that were
    not folded in.
    """
    network = _network(backbone)
    state = dict(network.load().state_dict())
    tuned = own_names(tail.body.state_dict())
    odd = [name for name, tensor in tuned.items() if name not in state or state[name].shape != tensor.shape]
    if odd:
        raise ModelError(
            "the tuned part does not fit its network", given=", ".join(odd[:3]), todo="Fold adapters in before merging"
        )
    state = {k: v.detach().cpu().clone().contiguous() for k, v in {**state, **tuned}.items()}
    key = digest(state)
    spec = replace(network.spec, weights=f"{network.spec.weights}-{label}", revision=key[:12], accuracy=None)
    loaded = partial(_loaded, network, state)
    return replace(network, spec=spec, weights_key=key, load=loaded, kept=None, bring=None)


def _loaded(network: Network, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # building draws initial weights, and must not move anybody's numbers
        net = build(network.frame) if network.frame.text is None else _text.build(network.frame)
    net.load_state_dict(dict(state))
    return net


def _network(backbone: Backbone) -> Network:
    if isinstance(backbone, Network):
        return backbone
    raise ModelError(
        f"{backbone.spec.name} cannot be cut", todo="Its source would have to return a headway.backbones.Network"
    )


def _run_of(network: Network) -> Run:
    return partial(_run, trunk=network.frame.trunk)


def _run(net: nn.Module, inputs: Inputs, *, trunk: bool) -> Tensor:
    return embed(net, inputs["x"], trunk=trunk)


def _upper(network: Network, cut: str | None) -> tuple[nn.Module, tuple[str, ...]]:
    """What is trained, and its blocks."""
    if isinstance(network.spec.input, TextInput):
        return text_cut.above(network, cut)
    net, run, expects = network.load(), _run_of(network), pixels_of(network.spec)
    example = {"x": torch.from_numpy(normalise(probe_images(expects)[:EXAMPLE], expects))}
    if cut is None:
        return _stub.whole(net, run=run, example=example)
    return _stub.suffix(net, cut, run=run, example=example)


# --- where ---------------------------------------------------------------------------------------


def _text_points(network: Network, expects: TextInput) -> tuple[CutPoint, ...]:
    """After every layer but the last; all layers cost the same."""
    stages, text = {cut.module for cut in network.cuts}, network.frame.text
    assert text is not None
    return tuple(
        CutPoint(
            name=layer.name,
            shape=(expects.tokens, text.width),
            below=layer.below,
            params_above=layer.params_above,
            stage=layer.name if layer.name in stages else None,
        )
        for layer in text_cut.layers(network)
    )


def _points(net: nn.Module, trace: Trace, *, stages: tuple[str, ...]) -> list[CutPoint]:
    staged = {_above(trace, net.get_submodule(name)): name for name in stages}
    total = _size(trace.output)
    found: dict[int, CutPoint] = {}
    for name, module, seen in sorted(_candidates(net, trace), key=lambda found: found[2].ended):
        above = _above(trace, module)
        if not 0 < above < total or seen.flops >= trace.flops or crosses(trace, tensors(seen.output)[0]):
            continue
        shape, below = tuple(tensors(seen.output)[0].shape[1:]), seen.flops / trace.flops
        point = CutPoint(name=name, shape=shape, below=below, params_above=above, stage=staged.get(above))
        known = found.get(above)
        if known is None or (point.size, name not in stages, -name.count(".")) < (
            known.size,
            known.name not in stages,
            -known.name.count("."),
        ):
            found[above] = point
    return sorted(found.values(), key=lambda point: -point.params_above)


def _above(trace: Trace, module: nn.Module) -> int:
    """Parameters that the output rests on by ways that do not lead through a module's output."""
    activation = tensors(trace.seen[id(module)].output)[0]
    return _size(trace.output, without=activation)


def _size(output: Tensor, *, without: Tensor | None = None) -> int:
    found = leaves(ancestors(output, without=without)).values()
    return sum(tensor.numel() for tensor in found if isinstance(tensor, nn.Parameter))


def _candidates(net: nn.Module, trace: Trace) -> Iterator[tuple[str, nn.Module, Seen]]:
    """Modules up to two levels deep that run once and give one map, or one row of tokens, an item.

    Of leaves, and of those that hold parameters of their own alone, only pooling.
    """
    for name, module in net.named_modules():
        seen = trace.of(module)
        if not name or name.count(".") > 1 or seen is None or seen.calls != 1:
            continue
        given = tensors(seen.output)
        if not given or given[0].ndim < 3 or given[0].shape[0] != EXAMPLE:
            continue
        inner = any(True for child in module.children() for _ in child.parameters())
        if inner or isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            yield name, module, seen


def _near(network: Network, cut: str | None) -> str:
    names = [point.name for point in points(network)]
    frame = network.frame
    net = build(frame, device="meta") if frame.text is None else _text.build(frame, device="meta")
    order = [name for name, _ in net.named_modules()]
    at = order.index(cut) if cut in order else 0
    near = sorted(names, key=lambda name: abs(order.index(name) - at))[:_NEAREST]
    return ", ".join(sorted(near, key=names.index))
