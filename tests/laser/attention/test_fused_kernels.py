"""Fused kernels give what their plain twins give, gradients included; they need a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from laser.attention.kernels import fused, fusing
from laser.models.laser_branch import FeedForward

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Of a weighted sum of the output, the weights drawn anew."""
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).to(out.device)
    return list(torch.autograd.grad((out * weights).sum(), inputs))


def far(one: Tensor, other: Tensor) -> float:
    """Relative distance."""
    return float(((one - other).norm() / other.norm().clamp(min=1e-12)).detach())


def test_nothing_is_fused_outside_a_fast_step_or_on_a_cpu() -> None:
    x = torch.zeros(1)
    assert not fusing(x)
    before = torch.get_float32_matmul_precision()
    with fused():
        assert not fusing(x)
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


@on_a_gpu
@pytest.mark.parametrize("rows", [1, 128, 1000, 70_001])
def test_fused_feed_forward_is_the_plain_one(rows: int) -> None:
    torch.manual_seed(rows)
    # Numbers that TensorFloat-32 holds exactly: no unit may be on in one form and off in the other.
    feed = FeedForward(16, 32, norm=True).bfloat16().float().cuda()
    assert feed.norm is not None
    nn.init.normal_(feed.norm.weight)
    nn.init.normal_(feed.norm.bias)
    x = torch.randn(rows, 16, device="cuda").bfloat16().float().requires_grad_()
    inputs = [x, *feed.parameters()]
    plain = feed(x)
    of_plain = gradients(plain, inputs)
    with fused():
        out = feed(x)
        of_out = gradients(out, inputs)
    assert far(out, plain) < 2e-3
    for found, expected in zip(of_out, of_plain, strict=True):
        assert found.shape == expected.shape
        assert far(found, expected) < 5e-3


@on_a_gpu
def test_fused_behaviours_are_the_plain_ones() -> None:
    from laser.attention.kernels.behaviours import behaviours

    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(0, 19, (7, 333), generator=draw).cuda()
    ages = torch.where(rows > 0, torch.randint(1, 65, (7, 333), generator=draw).cuda(), 0).int()
    what, when = torch.randn(19, 24, generator=draw).cuda(), torch.randn(65, 24, generator=draw).cuda()
    what[0], when[0], when[:, :16] = 0.0, 0.0, 0.0
    tables = [what.requires_grad_(), when.requires_grad_()]
    plain = nn.functional.embedding(rows, what) + nn.functional.embedding(ages, when)
    out = behaviours(what, when, rows, ages, 16)
    assert torch.equal(out, plain)
    (of_what, of_when), (plain_what, plain_when) = gradients(out, tables), gradients(plain, tables)
    assert far(of_what[1:], plain_what[1:]) < 1e-5
    assert far(of_when[1:, 16:], plain_when[1:, 16:]) < 1e-5
