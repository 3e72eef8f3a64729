"""What passes by a cut, read off the graph that computed the output: on networks made for it, with nothing computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headway.engine._trace import ancestors, crosses, leaves, rebuilt, tensors, watch


class Toy(nn.Module):
    """``inner`` lies inside a skip connection; ``tied`` runs on both sides; the input comes back at ``late``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.tied = (nn.Linear(4, 4) for _ in range(4))
        self.early, self.late = nn.Identity(), nn.Linear(4, 2)
        self.back = False

    def forward(self, x):
        hidden = self.tied(self.stem(x))
        hidden = self.outer(hidden + self.inner(hidden).relu_())
        hidden = self.early(self.tied(hidden))
        return self.late(hidden + x if self.back else hidden)


def _run(net, inputs):
    return net(inputs["x"])


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("name", "back", "expected"),
    [
        ("stem", False, False),
        ("inner", False, True),
        ("outer", False, False),  # ``tied`` shares its weights with what is below, and no number that depends on them
        ("early", False, False),
        ("outer", True, True),
    ],
)
def test_what_passes_by_a_module_is_seen(device, name, back, expected):
    net = Toy().to(device)
    net.back = back
    trace = watch(net, _run, {"x": 1.0 * torch.zeros(2, 4, device=device, requires_grad=True)})
    (activation,) = tensors(trace.of(net.get_submodule(name)).output)
    assert crosses(trace, activation) is expected


def test_what_is_above_are_the_parameters_that_gradients_reach():
    net = Toy()
    trace = watch(net, _run, {"x": torch.zeros(2, 4)})
    (activation,) = tensors(trace.of(net.outer).output)
    above = leaves(ancestors(trace.output, without=activation))
    assert set(above) == {id(p) for part in (net.tied, net.late) for p in part.parameters()}
    assert set(leaves(ancestors(trace.output))) == {id(p) for p in net.parameters()}


def test_calls_are_counted_and_ordered():
    net = Toy()
    trace = watch(net, _run, {"x": torch.zeros(2, 4)}, count=True)
    seen = {name: trace.of(module) for name, module in net.named_children()}
    assert (seen["tied"].calls, seen["stem"].calls) == (2, 1)
    assert seen["stem"].ended < seen["inner"].ended < seen["outer"].ended < seen["tied"].ended < seen["late"].ended
    assert seen["tied"].began < seen["inner"].began
    # Two items through matrices of 4 x 4: tied twice, stem, inner, outer; then 4 x 2
    assert (seen["outer"].flops, trace.flops) == (2 * 2 * 16 * 4, 2 * 2 * (16 * 5 + 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_any_nesting_of_outputs_is_taken_apart_and_put_together():
    from collections import namedtuple

    pair = namedtuple("pair", "a b")
    one, two = torch.ones(1), torch.zeros(2)
    nested = {"x": [one, (two, None)], "y": pair(one, "text")}
    assert [t is u for t, u in zip(tensors(nested), [one, two, one], strict=True)] == [True] * 3
    assert rebuilt(nested, len) == {"x": [1, (2, None)], "y": pair(1, "text")}
