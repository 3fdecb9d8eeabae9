"""Products of float32 tiles by half-precision matrix units, as exact as float32's own.

A number is the sum of two halves to 22 bits, and three products of halves are all that matters of four.
Half-precision units are twice as fast as those of TensorFloat-32, whose products come in threes for the same
exactness, and read their second factor in either order: LASER's tokens of 100,000 behaviours and 500
candidates took 1.0 ms on an H200 against 3.2. Numbers above 65,504 have no half: they come out as infinity or
NaN, which no score may be.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: triton's name of what kernels multiply.
KINDS = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def halves(weights: Tensor, split: bool) -> Tensor:
    """(2, ...) the halves that weights are the sum of; not `split`: (1, ...) the weights."""
    if not split:
        return weights.unsqueeze(0)
    high = weights.half()
    return torch.stack([high, (weights - high.float()).half()])


@triton.jit
def product(a, b, to, SPLIT: tl.constexpr, DOTS: tl.constexpr):
    """to + a b, of float32 tiles, or of a float32 tile and one of b's dtype."""
    if SPLIT:
        b_high = b.to(tl.float16)
        return product_halves(a, b_high, (b - b_high.to(tl.float32)).to(tl.float16), to)
    return tl.dot(a.to(b.dtype), b, to, input_precision=DOTS)


@triton.jit
def product_halves(a, b_high, b_low, to):
    """to + a b, b given as its halves."""
    high = a.to(tl.float16)
    low = (a - high.to(tl.float32)).to(tl.float16)
    to = tl.dot(low, b_high, to)
    to = tl.dot(high, b_low, to)
    return tl.dot(high, b_high, to)
