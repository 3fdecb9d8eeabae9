"""LN(x + W_2 relu(W_1 x + b_1) + b_2) over many narrow rows, forward and backward in one pass each.

LASER has a row for every segment and candidate: a million per step, each of 16 numbers. torch runs a dozen
kernels over them, its LayerNorm alone a block for every few rows; here a tile of rows is read once and the
rest stays in registers. The backward recomputes what the forward had, and keeps the weights' gradients in
registers until the end.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots

_ROWS = 128
_PROGRAMS = 528  # four for each multiprocessor of an H100; each sums weight gradients of its own
_EPSILON = 1e-5


def fits(width: int, inner: int) -> bool:
    """Whether the kernels are made for these sizes: tiles of matrix units, kept in registers."""
    return width in (16, 32, 64) and inner in (16, 32, 64, 128)


def feed_forward(
    x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor, scale: Tensor, shift: Tensor
) -> Tensor:
    """LN(x + down relu(up x + up_bias) + down_bias), times scale, plus shift.

    Args:
        x: (..., D). up: (F, D). up_bias: (F,). down: (D, F). down_bias, scale, shift: (D,).

    Returns:
        (..., D) float32.
    """
    out: Tensor = _FeedForward.apply(  # type: ignore[no-untyped-call]
        x.float(), up, up_bias, down, down_bias, scale, shift
    )
    return out


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, *weights)
        inner, width = weights[0].shape
        out = torch.empty_like(x)
        total = x.numel() // width
        _forward[(triton.cdiv(total, _ROWS),)](x, *weights, out, total, width, inner, _EPSILON, _ROWS, dots())
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, *weights = ctx.saved_tensors
        inner, width = weights[0].shape
        sizes = [weight.numel() for weight in weights]
        parts = torch.empty((_PROGRAMS, sum(sizes)), device=x.device, dtype=torch.float32)
        of_x = torch.empty_like(x)
        total = x.numel() // width
        _backward[(_PROGRAMS,)](
            x, *weights, gradients[0].contiguous(), of_x, parts, total, width, inner, _EPSILON, _ROWS,
            _PROGRAMS, num_warps=4,
        )  # fmt: skip
        summed = torch.split(parts.sum(dim=0), sizes)
        return of_x, *(part.view_as(weight) for part, weight in zip(summed, weights, strict=True))


@triton.jit
def _forward(
    x_at, up_at, up_bias_at, down_at, down_bias_at, scale_at, shift_at, out_at, total,
    D: tl.constexpr, F: tl.constexpr, EPSILON: tl.constexpr, ROWS: tl.constexpr, DOTS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d, f = tl.arange(0, D), tl.arange(0, F)
    there = (row < total)[:, None]
    at = row[:, None] * D + d[None, :]
    x = tl.load(x_at + at, mask=there, other=0.0)
    up = tl.load(up_at + f[None, :] * D + d[:, None])  # (D, F)
    down = tl.load(down_at + d[None, :] * F + f[:, None])  # (F, D)
    hidden = tl.maximum(tl.dot(x, up, input_precision=DOTS) + tl.load(up_bias_at + f)[None, :], 0.0)
    y = x + tl.dot(hidden, down, input_precision=DOTS) + tl.load(down_bias_at + d)[None, :]
    centred = y - (tl.sum(y, axis=1) / D)[:, None]
    scaled = centred * tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPSILON)[:, None]
    out = scaled * tl.load(scale_at + d)[None, :] + tl.load(shift_at + d)[None, :]
    tl.store(out_at + at, out, mask=there)


@triton.jit
def _backward(
    x_at, up_at, up_bias_at, down_at, down_bias_at, scale_at, shift_at, of_out_at, of_x_at, parts_at, total,
    D: tl.constexpr, F: tl.constexpr, EPSILON: tl.constexpr, ROWS: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    d, f = tl.arange(0, D), tl.arange(0, F)
    up = tl.load(up_at + f[None, :] * D + d[:, None])  # (D, F)
    up_back = tl.load(up_at + f[:, None] * D + d[None, :])  # (F, D)
    down = tl.load(down_at + d[None, :] * F + f[:, None])  # (F, D)
    down_back = tl.load(down_at + d[:, None] * F + f[None, :])  # (D, F)
    up_bias, down_bias, scale = tl.load(up_bias_at + f), tl.load(down_bias_at + d), tl.load(scale_at + d)
    of_up, of_down = tl.zeros((F, D), tl.float32), tl.zeros((D, F), tl.float32)
    of_up_bias = tl.zeros((F,), tl.float32)
    of_down_bias = tl.zeros((D,), tl.float32)
    of_scale = tl.zeros((D,), tl.float32)
    of_shift = tl.zeros((D,), tl.float32)
    program = tl.program_id(0)
    for tile in range(program, tl.cdiv(total, ROWS), PROGRAMS):
        row = tile.to(tl.int64) * ROWS + tl.arange(0, ROWS)  # type: ignore[attr-defined]
        there = (row < total)[:, None]
        at = row[:, None] * D + d[None, :]
        x = tl.load(x_at + at, mask=there, other=0.0)
        of_out = tl.load(of_out_at + at, mask=there, other=0.0)  # 0 beyond the end: adds nothing below
        before = tl.dot(x, up, input_precision="tf32") + up_bias[None, :]
        hidden = tl.maximum(before, 0.0)
        y = x + tl.dot(hidden, down, input_precision="tf32") + down_bias[None, :]
        centred = y - (tl.sum(y, axis=1) / D)[:, None]
        root = tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPSILON)[:, None]
        scaled = centred * root
        of_scale += tl.sum(of_out * scaled, axis=0)
        of_shift += tl.sum(of_out, axis=0)
        of_scaled = of_out * scale[None, :]
        mean = (tl.sum(of_scaled, axis=1) / D)[:, None]
        along = (tl.sum(of_scaled * scaled, axis=1) / D)[:, None]
        of_y = root * (of_scaled - mean - scaled * along)
        of_hidden = tl.dot(of_y, down_back, input_precision="tf32")
        of_before = tl.where(before > 0.0, of_hidden, 0.0)
        of_down += tl.dot(tl.trans(of_y), hidden, input_precision="tf32")
        of_down_bias += tl.sum(of_y, axis=0)
        of_up += tl.dot(tl.trans(of_before), x, input_precision="tf32")
        of_up_bias += tl.sum(of_before, axis=0)
        tl.store(of_x_at + at, of_y + tl.dot(of_before, up_back, input_precision="tf32"), mask=there)
    at = parts_at + program * (2 * D * F + F + 3 * D)
    tl.store(at + f[:, None] * D + d[None, :], of_up)
    at += D * F
    tl.store(at + f, of_up_bias)
    at += F
    tl.store(at + d[:, None] * F + f[None, :], of_down)
    at += D * F
    tl.store(at + d, of_down_bias)
    tl.store(at + D + d, of_scale)
    tl.store(at + 2 * D + d, of_shift)
