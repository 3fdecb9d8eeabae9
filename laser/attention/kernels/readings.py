"""A candidate reads its own tokens: softmax attention of several heads, one pass over the tokens.

A program takes one candidate through a part of its tokens, the heads as rows of one tile: few for matrix
units, but what they leave idle costs nothing, and everything else would take as long as the tokens take to
arrive. Parts are as many as the number of segments asks for and nothing else: they are put together in their
order by `refining`, and a request's bits depend on no neighbour.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots, splits
from laser.attention.kernels.products import product

_A_PART = 512  # segments: a request of 100,000 behaviours and 32 candidates fills an H200 as well
_MOST_PARTS = 16
MOST_HEADS = 16  # rows of a tile, the fewest that matrix units take
_LOG2_E = 1.4426950408889634


class Parts(NamedTuple):
    """What parts of the tokens say, to be put together.

    Attributes:
        sums: (B, C, P, A, D), tokens by 2^(score - highest). weights: (B, C, P, A, 2), the highest score in
            units of log 2, -inf without tokens, and the sum of those powers. peaks: (B, C, P, D), the
            elementwise maximum, -inf without tokens; None if nobody asked. All float32.
    """

    sums: Tensor
    weights: Tensor
    peaks: Tensor | None


def read_tokens(query: Tensor, tokens: Tensor, first: Tensor, peaks: bool) -> Parts:
    """Read every candidate's tokens.

    Args:
        query: (B, C, A, D) float32. tokens: (B, C, S, D).
        first: (B,) int32, the first segment that holds a behaviour.
        peaks: whether the elementwise maximum is wanted too.
    """
    requests, candidates, segments, width = tokens.shape
    heads = query.shape[2]
    parts = min(max(segments // _A_PART, 1), _MOST_PARTS)
    new = query.new_empty
    sums = new((requests, candidates, parts, heads, width))
    weights = new((requests, candidates, parts, heads, 2))
    highest = new((requests, candidates, parts, width)) if peaks else None
    assert heads <= MOST_HEADS
    _read[(parts, candidates, requests)](
        query.contiguous(), tokens, first, sums, weights, sums if highest is None else highest,
        candidates, segments, triton.cdiv(segments, parts), heads, width, _LOG2_E, highest is not None,
        splits(), dots(), 64 if width <= 64 else 32, MOST_HEADS, num_warps=4 if width >= 64 else 2,
        num_stages=3,
    )  # fmt: skip
    return Parts(sums, weights, highest)


@triton.jit(do_not_specialize=["segments", "part"])
def _read(
    query_at, tokens_at, first_at, sums_at, weights_at, peaks_at, candidates, segments, part,
    A: tl.constexpr, D: tl.constexpr, LOG2_E: tl.constexpr, PEAKS: tl.constexpr, SPLIT: tl.constexpr,
    DOTS: tl.constexpr, ROWS: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(2).to(tl.int64)
    owner = request * candidates + tl.program_id(1)
    out = owner * tl.num_programs(0) + tl.program_id(0)
    d, a, row = tl.arange(0, D), tl.arange(0, HEADS), tl.arange(0, ROWS)
    known = (a < A)[:, None]
    q = tl.load(query_at + (owner * A + a)[:, None] * D + d[None, :], mask=known, other=0.0) * LOG2_E
    top = tl.full((HEADS,), float("-inf"), tl.float32)
    total = tl.zeros((HEADS,), tl.float32)
    sums = tl.zeros((HEADS, D), tl.float32)
    peaks = tl.full((ROWS, D), float("-inf"), tl.float32)
    start = tl.maximum(tl.load(first_at + request), tl.program_id(0) * part)
    end = tl.minimum((tl.program_id(0) + 1) * part, segments)
    for s in range(start, end, ROWS):
        there = s + row < end
        x_at = tokens_at + (owner * segments + s + row)[:, None] * D + d[None, :]
        x = tl.load(x_at, mask=there[:, None], other=0.0)
        scores = product(q, tl.trans(x), tl.zeros((HEADS, ROWS), tl.float32), SPLIT, DOTS)
        scores = tl.where(there[None, :], scores, float("-inf"))
        # A turn meets a token, so there is a highest score.
        above = tl.maximum(top, tl.max(scores, axis=1))
        kept, powers = tl.exp2(top - above), tl.exp2(scores - above[:, None])
        total = total * kept + tl.sum(powers, axis=1)
        sums = product(powers, x, sums * kept[:, None], SPLIT, DOTS)
        top = above
        if PEAKS:
            peaks = tl.maximum(peaks, tl.where(there[:, None], x.to(tl.float32), float("-inf")))
    tl.store(sums_at + (out * A + a)[:, None] * D + d[None, :], sums, mask=known)
    tl.store(weights_at + (out * A + a) * 2, top, mask=a < A)
    tl.store(weights_at + (out * A + a) * 2 + 1, total, mask=a < A)
    if PEAKS:
        tl.store(peaks_at + out * D + d, tl.max(peaks, axis=0))
