"""DIN's activation unit with nothing of (behaviours, candidates) in memory; for serving.

In torch a hidden unit is written for every (behaviour, candidate) pair and read twice: 32 numbers a pair.
Here a program takes one candidate through its request's history.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots, operands
from laser.attention.kernels.products import KINDS

_ROWS = 64  # behaviours at once
_WIDEST, _UNITS = 128, (16, 32, 64, 128)


def fits(seen: int, hidden: int) -> bool:
    """Whether the kernel is made for behaviours of E and so many units."""
    return seen <= _WIDEST and hidden in _UNITS


def activation(maps: Tensor, constant: Tensor, history: Tensor, last: tuple[Tensor, Tensor]) -> Tensor:
    """sum_j a_j x_j, a_j = v . relu(M x_j + m) + c, each candidate with a map of its own.

    Args:
        maps: M (B, C, H, E). constant: m (B, C, H). history: (B, L, E), zero where padded.
        last: v (1, H) and c (1,).

    Returns:
        (B, C, E) float32.
    """
    requests, candidates, hidden, seen = maps.shape
    out = torch.empty((requests, candidates, seen), device=maps.device, dtype=torch.float32)
    _activation[(candidates, requests)](
        maps.contiguous(), constant.contiguous(), history.contiguous(), *last, out, history.shape[1],
        candidates, hidden, seen, max(int(triton.next_power_of_2(seen)), 16), _ROWS, KINDS[operands()],
        dots(), num_warps=4 if seen > 32 else 2, num_stages=2,
    )  # fmt: skip
    return out


@triton.jit
def _activation(
    maps_at, constant_at, history_at, weight_at, bias_at, out_at, length, candidates,
    H: tl.constexpr, E: tl.constexpr, SEEN: tl.constexpr, ROWS: tl.constexpr, KIND: tl.constexpr,
    DOTS: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(1).to(tl.int64)
    owner = request * candidates + tl.program_id(0)
    row, h, e = tl.arange(0, ROWS), tl.arange(0, H), tl.arange(0, SEEN)
    at = maps_at + (owner * H + h)[None, :] * E + e[:, None]
    map = tl.load(at, mask=(e < E)[:, None], other=0.0).to(KIND)
    constant, weight = tl.load(constant_at + owner * H + h), tl.load(weight_at + h)
    bias = tl.load(bias_at)
    read = tl.zeros((ROWS, SEEN), tl.float32)
    for first in range(0, length, ROWS):
        inside = (first + row < length)[:, None] & (e < E)[None, :]
        x_at = history_at + (request * length + first + row)[:, None] * E + e[None, :]
        x = tl.load(x_at, mask=inside, other=0.0).to(tl.float32)
        hidden = tl.maximum(tl.dot(x.to(KIND), map, input_precision=DOTS) + constant[None, :], 0.0)
        read += (tl.sum(hidden * weight[None, :], axis=1) + bias)[:, None] * x
    tl.store(out_at + owner * E + e, tl.sum(read, axis=0), mask=e < E)
