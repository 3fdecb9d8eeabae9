"""Gradients that are written out are those of the formula, and its numbers have the plain form's bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from laser.attention import activation_unit, segmented
from laser.attention.activation_unit import ActivationUnit
from laser.attention.gradients import ActivatedSums, FeedForwardRows, GatedSums, written_out
from laser.attention.segmented import gated_segments
from laser.models import laser_branch
from laser.models.laser_branch import FeedForward

Inputs = tuple[Tensor, ...]


def drawn(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Inputs:
    draw = torch.Generator().manual_seed(4)
    return tuple(torch.randn(shape, generator=draw, dtype=dtype).requires_grad_() for shape in shapes)


@pytest.mark.parametrize(
    ("work", "inputs"),
    [
        (lambda *x: GatedSums.apply(*x, 3), drawn((2, 4, 5), (2, 6, 5), (4,))),
        (ActivatedSums.apply, drawn((2, 6), (2, 6, 5), (2, 4, 5), (1, 3), (1,))),
        (FeedForwardRows.apply, drawn((7, 4), (6, 4), (6,), (4, 6), (4,), (4,), (4,))),
    ],
    ids=["gated sums", "activated sums", "feed-forward rows"],
)
def test_a_written_gradient_is_what_differences_say(work: Callable[..., Tensor], inputs: Inputs) -> None:
    assert torch.autograd.gradcheck(work, inputs)


def gated() -> tuple[Callable[[], Tensor], list[Tensor]]:
    query, history, bias = drawn((2, 3, 2, 24), (2, 40, 24), (2,), dtype=torch.float32)
    return lambda: gated_segments(query, history, 10, bias), [query, history, bias]


def activated() -> tuple[Callable[[], Tensor], list[Tensor]]:
    torch.manual_seed(2)
    unit = ActivationUnit(16, 24, 32, 6.0, -3.0)
    target, history = drawn((2, 3, 16), (2, 40, 24), dtype=torch.float32)
    return lambda: unit(target, history), [target, history, *unit.parameters()]


def fed() -> tuple[Callable[[], Tensor], list[Tensor]]:
    torch.manual_seed(2)
    net = FeedForward(16, 32, norm=True)
    assert isinstance(net.norm, nn.LayerNorm)
    (tokens,) = drawn((2, 4, 3, 16), dtype=torch.float32)
    return lambda: net(tokens), [tokens, *net.parameters()]


@pytest.mark.parametrize("case", [gated, activated, fed])
def test_outputs_have_the_bits_of_scoring_and_gradients_are_torchs_own(
    case: Callable[[], tuple[Callable[[], Tensor], list[Tensor]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, inputs = case()
    out = work()
    direction = torch.linspace(-1.0, 1.0, out.numel()).view(out.shape)
    found = torch.autograd.grad(out, inputs, direction)
    with torch.no_grad():
        assert torch.equal(out, work())
    for module in (segmented, activation_unit, laser_branch):
        monkeypatch.setattr(module, "written_out", lambda x: False)
    for got, expected in zip(found, torch.autograd.grad(work(), inputs, direction), strict=True):
        assert (got - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_torch_takes_the_gradient_under_autocast() -> None:
    x = torch.ones(1)
    assert written_out(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not written_out(x)
    with torch.no_grad():
        assert not written_out(x)
