"""Each fast operator gives the outputs and gradients of the published formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from laser.attention.activation_unit import ActivationUnit, activation_unit_plain
from laser.attention.look_up import table_rows
from laser.attention.relu import relu
from laser.attention.segmented import Gates, gated_segments, gated_segments_plain, gated_values
from laser.attention.segments import Segments
from laser.attention.stacked import target_attention, target_attention_plain
from laser.models.history import KIND_WIDTH
from laser.models.laser import Laser
from laser.models.laser_branch import AbsorbedGather, _strongest, _strongest_at_once

B, C, L, A, D, K, V, W = 3, 4, 20, 2, 6, 5, 7, 5


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def mask(lengths: list[int], columns: int) -> Tensor:
    return torch.stack([torch.arange(columns) >= columns - length for length in lengths])


def assert_same_outputs_and_gradients(fast: Tensor, plain: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-12)
    direction = torch.randn_like(plain)
    of_fast = torch.autograd.grad(fast, leaves, direction, retain_graph=True)
    of_plain = torch.autograd.grad(plain, leaves, direction)
    for one, other in zip(of_fast, of_plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("gates", ["sigmoid", "softmax", "softmax-sink"])
def test_absorbed_segments_equal_the_formula_with_keys_and_values(gates: Gates) -> None:
    real = mask([20, 13, 0], L)
    target, raw = leaf(B, C, D), leaf(B, L, D)
    query_map, key_map, value_map, bias = leaf(A, D, K), leaf(A, D, K), leaf(A, D, V), leaf(A)
    history = raw * real.unsqueeze(2)
    query = torch.einsum("bcd,adk,aek->bcae", target, query_map, key_map) * K**-0.5
    fast = torch.einsum("bscae,aev->bscav", gated_segments(query, history, W, bias, gates, real), value_map)
    plain = gated_segments_plain(target, history, W, query_map, key_map, value_map, bias, real, gates)
    leaves = [target, raw, query_map, key_map, value_map] + ([] if gates == "softmax" else [bias])
    assert_same_outputs_and_gradients(fast, plain, leaves)


def test_segments_with_values_built_first_equal_the_formula_summed_over_heads() -> None:
    real = mask([20, 13, 0], L)
    target, raw = leaf(B, C, D), leaf(B, L, D)
    query_map, key_map, value_map, bias = leaf(A, D, K), leaf(A, D, K), leaf(A, D, V), leaf(A)
    history = raw * real.unsqueeze(2)
    query = torch.einsum("bcd,adk,aek->bcae", target, query_map, key_map) * K**-0.5
    fast = gated_values(query, history, torch.einsum("bld,adv->blav", history, value_map).flatten(2), W, bias)
    plain = gated_segments_plain(target, history, W, query_map, key_map, value_map, bias, real)
    torch.testing.assert_close(fast, plain.sum(dim=3), rtol=1e-10, atol=1e-12)


def test_scores_are_the_same_whether_values_or_sums_come_first() -> None:
    gather = AbsorbedGather(D, Segments(W), {**Laser.OPTIONS, "gates": "sigmoid"}).double()
    torch.nn.init.normal_(gather.bias)
    target, history = torch.randn(B, 40, D).double(), torch.randn(B, L, D + KIND_WIDTH).double()
    sums = gather(target, history, None)
    with torch.no_grad():
        assert gather._values_first(40)
        assert not gather._values_first(1)
        torch.testing.assert_close(gather(target, history, None), sums, rtol=1e-10, atol=1e-12)


def test_scores_find_the_strongest_token_as_training_does() -> None:
    fed, filled = torch.randn(B, 4, C, D), mask([4, 2, 0], 4)
    tokens = fed.transpose(1, 2)
    assert torch.equal(_strongest_at_once(fed, filled), _strongest(tokens, filled))
    assert torch.equal(_strongest_at_once(fed, None), _strongest(tokens, None))
    assert not _strongest_at_once(fed, filled)[2].any()


@pytest.mark.parametrize("sink", [True, False])
def test_absorbed_global_attention_equals_the_formula_with_keys_and_values(sink: bool) -> None:
    real = mask([4, 2, 0], 4)
    target, tokens = leaf(B, C, D), leaf(B, C, 4, D)
    query_map, key_map, value_map = leaf(A, D, K), leaf(A, D, K), leaf(A, D, V)
    query = torch.einsum("bcd,adk,aek->bcae", target, query_map, key_map) * K**-0.5
    fast = torch.einsum("bcae,aev->bcav", target_attention(query, tokens, real, sink), value_map)
    plain = target_attention_plain(target, tokens, query_map, key_map, value_map, real, sink)
    assert_same_outputs_and_gradients(fast, plain, [target, tokens, query_map, key_map, value_map])


@pytest.mark.parametrize("behaviour_width", [D, D + 3])
def test_split_activation_unit_equals_the_concatenated_one(behaviour_width: int) -> None:
    unit = ActivationUnit(D, behaviour_width, hidden=9, sharpness=6.0, bias=-3.0).double()
    target, raw = leaf(B, C, D), leaf(B, L, behaviour_width)
    history = raw * mask([20, 13, 0], L).unsqueeze(2)
    fast, plain = unit(target, history), activation_unit_plain(unit, target, history)
    assert_same_outputs_and_gradients(fast, plain, [target, raw, *unit.parameters()])


def test_gates_are_independent_so_an_irrelevant_segment_comes_out_as_nothing() -> None:
    history = torch.randn(1, 10, D)
    sums = gated_segments(torch.zeros(1, 1, 1, D), history, 5, torch.tensor([-40.0]))
    assert sums.abs().max() < 1e-12


def test_rows_of_a_table_have_the_bits_and_gradients_of_an_embedding() -> None:
    torch.manual_seed(5)
    at, direction = torch.randint(7, (1200,)), torch.randn(1200, 6)
    one, other = (torch.arange(42.0).view(7, 6).clone().requires_grad_() for _ in range(2))
    fast, plain = table_rows(one, at), torch.nn.functional.embedding(at, other)
    assert torch.equal(fast, plain)
    for out in (fast, plain):
        out.backward(direction)
    assert one.grad is not None
    assert torch.equal(one.grad, other.grad)


def test_a_relu_writes_over_its_input_only_where_no_gradient_is_recorded() -> None:
    x = torch.tensor([[-1.0, 2.0]])
    leaf_of_it = x.clone().requires_grad_()
    hidden = leaf_of_it * 1.0
    out = relu(hidden)
    assert hidden.tolist() == [[-1.0, 2.0]]
    out.sum().backward()
    assert leaf_of_it.grad is not None
    assert leaf_of_it.grad.tolist() == [[0.0, 1.0]]
    with torch.no_grad():
        assert relu(x) is x
    assert x.tolist() == [[0.0, 2.0]]
