"""WiSE interpolation and the greedy soup: endpoints, linearity, and what is kept."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from headway.adapt._average import best_interpolation, greedy_soup, interpolate
from headway.errors import ModelError, OptionError


def _state(seed, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(40, 7, generator=draw).to(dtype),
        "frozen": torch.randn(30, generator=torch.Generator().manual_seed(99)).to(dtype),
        "batches": torch.tensor(seed),
        "mask": torch.tensor([bool(seed % 2)]),
    }


def _equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_ends_are_the_ends_bit_for_bit(dtype):
    start, end = _state(0, dtype), _state(1, dtype)
    start["w"][0, 0], end["w"][0, 1] = float("inf"), float("nan")
    for a, one in ((0, start), (1, end), (0.0, start), (1.0, end)):
        found = interpolate(start, end, a)
        assert {name: t.view(-1).tolist().__repr__() for name, t in found.items()} == {
            name: t.view(-1).tolist().__repr__() for name, t in one.items()
        }
        assert all(found[name].dtype == one[name].dtype for name in one)
        assert not any(found[name].data_ptr() == one[name].data_ptr() for name in one)


@settings(max_examples=30, deadline=None)
@given(a=st.floats(0, 1))
def test_between_them_it_is_linear_and_what_is_equal_stays_bit_for_bit(a):
    start, end = _state(0), _state(1)
    found = interpolate(start, end, a)
    expected = (1 - a) * start["w"].double() + a * end["w"].double()
    torch.testing.assert_close(found["w"].double(), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(found["frozen"], start["frozen"])
    exact = interpolate(_state(0, torch.float64), _state(1, torch.float64), a)
    assert torch.equal(exact["frozen"], start["frozen"].double())
    nearer = start if a < 0.5 else end
    assert torch.equal(found["batches"], nearer["batches"])
    assert torch.equal(found["mask"], nearer["mask"])


def test_what_was_given_is_not_changed():
    start, end = _state(0), _state(1)
    kept = [{name: tensor.clone() for name, tensor in state.items()} for state in (start, end)]
    interpolate(start, end, 0.5)["w"].zero_()
    greedy_soup([start, end], lambda state: 1.0)
    assert _equal(start, kept[0])
    assert _equal(end, kept[1])


def test_a_linear_layers_answers_are_interpolated_too():
    first, second, between = (nn.Linear(5, 3) for _ in range(3))
    between.load_state_dict(interpolate(first.state_dict(), second.state_dict(), 0.3))
    x = torch.randn(4, 5)
    torch.testing.assert_close(between(x), 0.7 * first(x) + 0.3 * second(x))


@pytest.mark.parametrize("a", [-0.01, 1.01, float("nan"), float("inf")])
def test_outside_of_the_ends_is_refused(a):
    with pytest.raises(OptionError, match="0 to 1"):
        interpolate(_state(0), _state(1), a)


def test_states_of_different_networks_are_refused():
    other = {**_state(1), "w": torch.zeros(40, 8)}
    for call in (lambda: interpolate(_state(0), other, 0.5), lambda: greedy_soup([_state(0), other], lambda s: 0.0)):
        with pytest.raises(ModelError, match=r"cannot be averaged. Given: w"):
            call()
    less = {name: tensor for name, tensor in _state(1).items() if name != "mask"}
    with pytest.raises(ModelError, match="mask"):
        interpolate(_state(0), less, 0.5)


def _near(target):
    return lambda state: -abs(float(state["w"]) - target)


def _one(value):
    return {"w": torch.tensor(float(value))}


@pytest.mark.parametrize(("target", "a"), [(1.0, 1.0), (0.52, 0.5), (0.3, 0.25), (5.0, 1.0), (-5.0, 0.25)])
def test_the_interpolation_that_validates_best_is_kept(target, a):
    found = best_interpolation(_one(0), _one(1), _near(target))
    assert (found.a, float(found.state["w"])) == (a, pytest.approx(a))
    assert found.score == pytest.approx(-abs(a - target))


def test_the_start_competes_where_it_is_in_the_grid_and_the_end_always():
    assert best_interpolation(_one(0), _one(1), _near(-1.0), grid=(0.0, 0.5)).a == 0.0
    assert best_interpolation(_one(0), _one(1), _near(2.0), grid=()).a == 1.0


def test_only_a_true_gain_replaces_the_tuned_weights_and_nan_is_none():
    end = _one(1)
    same = best_interpolation(_one(0), end, lambda state: 0.5)
    assert same.a == 1.0
    assert same.state is end
    broken = best_interpolation(_one(0), end, lambda s: 0.5 if float(s["w"]) == 1 else float("nan"))
    assert (broken.a, broken.score) == (1.0, 0.5)
    better = best_interpolation(_one(0), end, lambda s: float("nan") if float(s["w"]) == 1 else 0.1)
    assert (better.a, better.score) == (0.75, 0.1)


def test_a_soup_takes_what_helps_from_the_best_down():
    # Near 1.0: 0.9 is best, 1.2 brings the mean to 1.05, 9 spoils it, 0.78 brings it to 0.96
    soup = greedy_soup([_one(9), _one(1.2), _one(0.9), _one(0.78)], _near(1.0))
    assert soup.members == (2, 1, 3)
    assert float(soup.state["w"]) == pytest.approx(0.96)
    assert soup.score == pytest.approx(-0.04)


def test_a_soup_is_never_worse_than_the_best_alone_and_one_that_adds_nothing_may_join():
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        states = [_one(value) for value in torch.randn(6, generator=draw)]
        assert greedy_soup(states, _near(0.3)).score >= max(map(_near(0.3), states))
    assert greedy_soup([_one(1), _one(2)], lambda state: 0.7).members == (0, 1)


def test_a_soup_of_one_is_that_one_and_nan_never_joins():
    assert greedy_soup([_one(3)], _near(0.0)).members == (0,)
    scores = {3.0: float("nan"), 4.0: 0.1, 3.5: 0.9}
    assert greedy_soup([_one(3), _one(4)], lambda s: scores[float(s["w"])]).members == (1, 0)
    assert greedy_soup([_one(3), _one(4)], lambda s: float("nan")).members == (0,)
    with pytest.raises(OptionError, match="at least one"):
        greedy_soup([], _near(0.0))


def test_frozen_weights_stay_bit_for_bit_in_a_soup():
    soup = greedy_soup([_state(seed) for seed in range(7)], lambda state: 1.0)
    assert len(soup.members) == 7
    assert torch.equal(soup.state["frozen"], _state(0)["frozen"])
    assert torch.equal(soup.state["batches"], torch.tensor(0))
    mean = torch.stack([_state(seed)["w"].double() for seed in range(7)]).mean(0)
    torch.testing.assert_close(soup.state["w"].double(), mean, atol=1e-6, rtol=1e-6)
