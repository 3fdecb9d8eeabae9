"""Softmax attention over a history, with nothing of (queries, L) in memory; for serving.

torch's own kernels take no mask in half precision, or take it as a tensor of all pairs, and none lets a
candidate see itself beside the history. Here the padding in front of a history is never visited, and what a
query may read beside the history is where its softmax begins. Few queries over a long history are read in
parts, as many as its length asks for and nothing else, which are put together in their order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots, operands, splits
from laser.attention.kernels.products import KINDS, product

_A_PART = 2048  # behaviours: 500 candidates over 100,000 fill an H200
_MOST_PARTS = 32
_LOG2_E = 1.4426950408889634
_WIDEST = 128


class Own(NamedTuple):
    """What each query may read beside the history: its own key and value (B, A, N, K), and an added score
    (A,)."""

    key: Tensor
    value: Tensor
    bias: Tensor


def fits(width: int) -> bool:
    """Whether the kernel is made for heads of K dimensions."""
    return width <= _WIDEST


def softmax_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    real: Tensor | None,
    scale: float,
    own: Own | None = None,
    sink: Tensor | None = None,
    few: bool = False,
) -> Tensor:
    """sum_j softmax(scale q . k)_j v_j over real j, and over `own` or a sink beside them.

    Args:
        q: (B, A, N, K). k, v: (B, A, L, K).
        real: (B, L) bool, true from some place on; None: everywhere.
        own: see `Own`; its scores are scaled too.
        sink: (A,) float32, the score of one more entry that reads nothing.
        few: whether queries are few, and the history is read in parts.

    Returns:
        (B, A, N, K) float32, its heads side by side in memory; zero where there is nothing to read.
    """
    (requests, heads, rows, width), length = q.shape, k.shape[2]
    first = _first(real, requests, q.device)
    parts = min(max(length // _A_PART, 1), _MOST_PARTS) if few else 1
    out = torch.empty((requests, rows, heads, width), device=q.device).transpose(1, 2)
    sums = out.new_empty((parts, requests, heads, rows, width)) if parts > 1 else out
    tops = out.new_empty((2, parts, requests, heads, rows))
    q, k, v, *mine = (
        x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v, *(own[:2] if own else (q, q)))
    )
    beside = own.bias if own else q if sink is None else sink
    padded = max(int(triton.next_power_of_2(width)), 16)
    # Many queries share what a tile of keys costs to fetch and to split.
    tile = (128, 64) if rows > 256 and padded <= 64 else (64, 64) if padded <= 64 else (64, 32)
    grid = triton.cdiv(rows, tile[0]), requests * heads, parts
    _attend[grid](
        q, k, v, *mine, beside, first, sums, tops, *_strides(q, k, v, *mine, out), requests, heads, rows,
        length, triton.cdiv(length, parts), scale * _LOG2_E, _LOG2_E, width, padded, own is not None,
        sink is not None, parts > 1, KINDS[operands()], splits(), dots(), *tile, num_warps=tile[0] // 16,
        num_stages=2,
    )  # fmt: skip
    if parts > 1:
        _join[(triton.cdiv(requests * heads * rows, 16),)](
            sums, tops, out, *_strides(out), heads, rows, requests * heads * rows, width, padded, parts, 16
        )
    return out


def _first(real: Tensor | None, requests: int, device: torch.device) -> Tensor:
    """(B,) int32, where each history begins."""
    if real is None:
        return torch.zeros(requests, dtype=torch.int32, device=device)
    return (~real).sum(dim=1, dtype=torch.int32)


def _strides(*tensors: Tensor) -> list[int]:
    """Of requests, heads and rows."""
    return [step for x in tensors for step in x.stride()[:3]]


@triton.jit
def _attend(
    q_at, k_at, v_at, own_k_at, own_v_at, beside_at, first_at, out_at, tops_at,
    q_b, q_h, q_l, k_b, k_h, k_l, v_b, v_h, v_l, ok_b, ok_h, ok_l, ov_b, ov_h, ov_l, out_b, out_h, out_l,
    requests, heads, rows, length, part, scale, log2_e,
    K: tl.constexpr, KEYS: tl.constexpr, OWN: tl.constexpr, SINK: tl.constexpr, PARTS: tl.constexpr,
    KIND: tl.constexpr, SPLIT: tl.constexpr, DOTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One program makes a tile of outputs, or of a part of them."""
    request, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, KEYS)
    there = (i < rows)[:, None] & (n < K)[None, :]
    q = tl.load(q_at + request * q_b + head * q_h + i[:, None] * q_l + n[None, :], mask=there, other=0.0)
    q = q.to(tl.float32) * scale
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    read = tl.zeros((ROWS, KEYS), tl.float32)
    if tl.program_id(2) == 0:
        if SINK:
            top = tl.zeros((ROWS,), tl.float32) + tl.load(beside_at + head) * log2_e
            total += 1.0
        if OWN:
            own_k_at += request * ok_b + head * ok_h
            own_v_at += request * ov_b + head * ov_h
            own = tl.load(own_k_at + i[:, None] * ok_l + n[None, :], mask=there, other=0.0).to(tl.float32)
            top = tl.sum(q * own, axis=1) + tl.load(beside_at + head) * log2_e
            total += 1.0
            read = tl.load(own_v_at + i[:, None] * ov_l + n[None, :], mask=there, other=0.0).to(tl.float32)
    k_at += request * k_b + head * k_h
    v_at += request * v_b + head * v_h
    first = tl.maximum(tl.load(first_at + request), tl.program_id(2) * part)
    end = tl.minimum((tl.program_id(2) + 1) * part, length)
    for start in range(first // COLUMNS * COLUMNS, end, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        seen = (j >= first) & (j < end)
        inside = seen[:, None] & (n < K)[None, :]
        k = tl.load(k_at + j[:, None] * k_l + n[None, :], mask=inside, other=0.0).to(KIND)
        v = tl.load(v_at + j[:, None] * v_l + n[None, :], mask=inside, other=0.0).to(KIND)
        scores = product(q, tl.trans(k), tl.zeros((ROWS, COLUMNS), tl.float32), SPLIT, DOTS)
        scores = tl.where(seen[None, :], scores, float("-inf"))
        above = tl.maximum(top, tl.max(scores, axis=1))
        safe = tl.where(above == float("-inf"), 0.0, above)
        kept, powers = tl.exp2(top - safe), tl.exp2(scores - safe[:, None])
        total = total * kept + tl.sum(powers, axis=1)
        read = product(powers, v, read * kept[:, None], SPLIT, DOTS)
        top = above
    if PARTS:
        owner = (tl.program_id(2) * requests + request) * heads + head
        at = tops_at + owner * rows + i
        tl.store(at, top, mask=i < rows)
        tl.store(at + tl.num_programs(2) * requests * heads * rows, total, mask=i < rows)
        tl.store(out_at + (owner * rows + i)[:, None] * K + n[None, :], read, mask=there)
    else:
        read = read / tl.where(total > 0.0, total, 1.0)[:, None]
        at = out_at + request * out_b + head * out_h + i[:, None] * out_l + n[None, :]
        tl.store(at, read, mask=there)


@triton.jit(do_not_specialize=["total_rows"])
def _join(
    sums_at, tops_at, out_at, out_b, out_h, out_l, heads, rows, total_rows,
    K: tl.constexpr, KEYS: tl.constexpr, PARTS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Parts by their shares, in their order."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, KEYS)
    inside = row < total_rows
    there = inside[:, None] & (n < K)[None, :]
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    read = tl.zeros((ROWS, KEYS), tl.float32)
    for p in range(PARTS):
        highest = tl.load(tops_at + p * total_rows + row, mask=inside, other=0.0)
        weight = tl.load(tops_at + (PARTS + p) * total_rows + row, mask=inside, other=0.0)
        sums = tl.load(sums_at + (p * total_rows + row)[:, None] * K + n[None, :], mask=there, other=0.0)
        above = tl.maximum(top, highest)
        safe = tl.where(above == float("-inf"), 0.0, above)
        kept, share = tl.exp2(top - safe), tl.exp2(highest - safe)
        total = total * kept + weight * share
        read = read * kept[:, None] + sums * share[:, None]
        top = above
    read = read / tl.where(total > 0.0, total, 1.0)[:, None]
    request, head, i = row // (heads * rows), row // rows % heads, row % rows
    at = out_at + (request * out_b + head * out_h + i * out_l)[:, None] + n[None, :]
    tl.store(at, read, mask=there)
