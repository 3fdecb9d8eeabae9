"""Causal attention by SiLU over a history, with biases by position and time, and nothing of (L, L) in memory.

HSTU's scores have no softmax, so a tile of queries and keys needs nothing of the others: the forward adds
up its products tile by tile, the backward computes the tiles again. Tiles above the diagonal and tiles of
padding are left out. Biases are looked up and buckets of time computed within a tile.

The tables' gradients are sums over all pairs, 1.3e8 of them a step with 128 requests, 2 heads and 1,000
behaviours, and on few rows: one atomic addition a pair would wait for the others. Instead a tile is rotated
so that its diagonals become columns, which are summed before they are added to the positions' table; and the
few buckets of time that a tile meets are summed one after another in registers.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots

# Of a tile. The forward's rows are queries and its columns keys, the backward's the other way round. 64 rows
# are what four warps multiply at once on an H100; with 64 columns the backward runs out of registers.
_ROWS, _COLUMNS = 64, 32
# Programs add to this many copies of the positions' table in turn, which are summed at the end.
_COPIES = 64
_BUCKETS = 128
_LOG_BUCKET = 0.301
# torch divides by a number on a GPU as it multiplies by the reciprocal in float32; buckets are the same.
_A_BUCKET = tl.constexpr(float(1.0 / torch.tensor(_LOG_BUCKET)))

Tables = tuple[Tensor, Tensor, Tensor]


def silu_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, counts: Tensor, share: Tensor, tables: Tables | None
) -> Tensor:
    """o_i = sum over real j <= i of silu(q_i . k_j + bias + position[i - j] + time[bucket]) share v_j.

    Positions farther apart than the table reaches share its last row. The bucket is that of |age_j - next_i|,
    where next_i is the age of the behaviour after i, and 0 after the newest: floor(ln(seconds) / .301), at
    most 127, as in HSTU's public code (arXiv:2402.17152).

    Args:
        q, k: (B, A, L, K), K at most 128. v: (B, A, L, V), V at most 64. bias: (A,).
        counts: (B,) real behaviours, which are the last ones of L.
        share: (B,) float32, what a weight is multiplied by; it gets no gradient.
        tables: position (P,), time (128,) and age_s (B, L) float32, 0 where padded; or None.

    Returns:
        (B, A, L, V) float32; zero where padded.
    """
    position, time, age_s = (None, None, None) if tables is None else tables
    out: Tensor = _SiluAttention.apply(  # type: ignore[no-untyped-call]
        q.float(), k.float(), v.float(), bias, position, time, age_s, counts, share
    )
    return out


class _SiluAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, *others: Tensor | None) -> Tensor:
        q, k, v = (_with_rows(x) for x in (q, k, v))
        others = tuple(None if x is None else x.contiguous() for x in others)
        ctx.save_for_backward(q, k, v, *others)
        out = _as_heads(v)
        requests, heads, length, _ = v.shape
        _forward[(requests * heads, triton.cdiv(length, _ROWS))](
            q, k, v, *others, out, *_strides(q, k, v, out), length, heads, *_sizes(k, v, others[1]), dots()
        )
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *others = ctx.saved_tensors
        bias, position, time = others[:3]
        of_out = _with_rows(gradients[0])
        requests, heads, length, _ = q.shape
        grid = requests * heads, triton.cdiv(length, _ROWS)
        of_q, of_k, of_v = _as_heads(q).zero_(), _as_heads(k), _as_heads(v)
        of_bias = bias.new_empty(grid)
        of_position = None if position is None else position.new_zeros(_COPIES, len(position))
        of_time = None if time is None else time.new_empty(*grid, _BUCKETS)
        _backward[grid](
            q, k, v, *others, of_out, of_q, of_k, of_v, of_bias, of_position, of_time,
            *_strides(q, k, v, of_out, of_q, of_k, of_v), length, heads, *_sizes(k, v, position), _COPIES,
            num_warps=4,
        )  # fmt: skip
        return (
            of_q, of_k, of_v, of_bias.view(requests, heads, -1).sum(dim=(0, 2)),
            None if of_position is None else of_position.sum(dim=0),
            None if of_time is None else of_time.sum(dim=(0, 1)),
            None, None, None,
        )  # fmt: skip


def _with_rows(x: Tensor) -> Tensor:
    """The same with a row's numbers side by side, as the kernels read them."""
    return x if x.stride(3) == 1 else x.contiguous()


def _as_heads(x: Tensor) -> Tensor:
    """Room for (B, A, L, N) whose heads lie side by side, so that joining them copies nothing."""
    requests, heads, length, width = x.shape
    return x.new_empty(requests, length, heads, width).transpose(1, 2)


def _strides(*tensors: Tensor) -> list[int]:
    """Of requests, heads and rows."""
    return [step for x in tensors for step in x.stride()[:3]]


def _sizes(k: Tensor, v: Tensor, position: Tensor | None) -> tuple[int, ...]:
    """What the kernels are compiled for: widths, widths in tiles, the last position or -1, tiles."""
    widths = k.shape[3], v.shape[3]
    padded = [max(triton.next_power_of_2(width), 16) for width in widths]
    return *widths, *padded, -1 if position is None else len(position) - 1, _ROWS, _COLUMNS


@triton.jit
def _forward(
    q_at, k_at, v_at, bias_at, position_at, time_at, age_at, counts_at, share_at, out_at,
    q_b, q_h, q_l, k_b, k_h, k_l, v_b, v_h, v_l, out_b, out_h, out_l, length, heads,
    K: tl.constexpr, V: tl.constexpr, KEYS: tl.constexpr, VALUES: tl.constexpr, LAST: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DOTS: tl.constexpr,
):  # fmt: skip
    """One program makes a tile of outputs."""
    request, head = (tl.program_id(0) // heads).to(tl.int64), tl.program_id(0) % heads
    q_at, k_at = q_at + request * q_b + head * q_h, k_at + request * k_b + head * k_h
    v_at, out_at = v_at + request * v_b + head * v_h, out_at + request * out_b + head * out_h
    # The newest queries see most: those first, so that no long program starts last.
    first_i = (tl.num_programs(1) - 1 - tl.program_id(1)) * ROWS
    i = first_i + tl.arange(0, ROWS)
    first = length - tl.load(counts_at + request).to(tl.int32)
    q = _load(q_at, i, q_l, length, K, KEYS)
    bias = tl.load(bias_at + head)
    if LAST >= 0:
        age_at += request * length
        next_s = tl.load(age_at + i + 1, mask=i + 1 < length, other=0.0)
    out = tl.zeros((ROWS, VALUES), tl.float32)
    for first_j in range(first // COLUMNS * COLUMNS, tl.minimum(first_i + ROWS, length), COLUMNS):
        j = first_j + tl.arange(0, COLUMNS)
        k = _load(k_at, j, k_l, length, K, KEYS)
        scores = tl.dot(q, tl.trans(k), input_precision=DOTS) + bias
        apart = i[:, None] - j[None, :]
        if LAST >= 0:
            age_s = tl.load(age_at + j, mask=j < length, other=0.0)
            bucket = _bucket(age_s[None, :] - next_s[:, None])
            scores += _of_tables(position_at, time_at, apart, bucket, LAST)
        seen = (apart >= 0) & (j >= first)[None, :]
        weights = tl.where(seen, scores * tl.sigmoid(scores), 0.0)
        out += tl.dot(weights, _load(v_at, j, v_l, length, V, VALUES), input_precision=DOTS)
    _store(out_at, i, out_l, length, V, VALUES, out * tl.load(share_at + request))


@triton.jit
def _load(x_at, row, step, rows, width: tl.constexpr, columns: tl.constexpr):
    """Rows of a tile, 0 beyond the ends."""
    column = tl.arange(0, columns)[None, :]
    there = (row < rows)[:, None] & (column < width)
    return tl.load(x_at + row[:, None] * step + column, mask=there, other=0.0)


@triton.jit
def _store(x_at, row, step, rows, width: tl.constexpr, columns: tl.constexpr, x):
    """The same the other way."""
    column = tl.arange(0, columns)[None, :]
    tl.store(x_at + row[:, None] * step + column, x, mask=(row < rows)[:, None] & (column < width))


@triton.jit
def _bucket(between_s):
    """Of the time between two behaviours."""
    steps = tl.log(tl.maximum(tl.abs(between_s), 1.0)) * _A_BUCKET
    return tl.minimum(steps.to(tl.int32), 127)


@triton.jit
def _of_tables(position_at, time_at, apart, bucket, LAST: tl.constexpr):
    """What position and time add to a tile of scores."""
    place = tl.minimum(tl.maximum(apart, 0), LAST)
    return tl.load(position_at + place) + tl.load(time_at + bucket)


@triton.jit
def _backward(
    q_at, k_at, v_at, bias_at, position_at, time_at, age_at, counts_at, share_at,
    of_out_at, of_q_at, of_k_at, of_v_at, of_bias_at, of_position_at, of_time_at,
    q_b, q_h, q_l, k_b, k_h, k_l, v_b, v_h, v_l, g_b, g_h, g_l,
    of_q_b, of_q_h, of_q_l, of_k_b, of_k_h, of_k_l, of_v_b, of_v_h, of_v_l, length, heads,
    K: tl.constexpr, V: tl.constexpr, KEYS: tl.constexpr, VALUES: tl.constexpr, LAST: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, COPIES: tl.constexpr,
):  # fmt: skip
    """One program makes the gradients of a tile of keys and values, and adds to those of the queries."""
    request, head = (tl.program_id(0) // heads).to(tl.int64), tl.program_id(0) % heads
    q_at, of_q_at = q_at + request * q_b + head * q_h, of_q_at + request * of_q_b + head * of_q_h
    k_at, of_k_at = k_at + request * k_b + head * k_h, of_k_at + request * of_k_b + head * of_k_h
    v_at, of_v_at = v_at + request * v_b + head * v_h, of_v_at + request * of_v_b + head * of_v_h
    of_out_at += request * g_b + head * g_h
    first_j = tl.program_id(1) * ROWS
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    j = first_j + tl.arange(0, ROWS)
    first = length - tl.load(counts_at + request).to(tl.int32)
    k, v = _load(k_at, j, k_l, length, K, KEYS), _load(v_at, j, v_l, length, V, VALUES)
    bias, share = tl.load(bias_at + head), tl.load(share_at + request)
    of_k, of_v, of_bias = tl.zeros((ROWS, KEYS), tl.float32), tl.zeros((ROWS, VALUES), tl.float32), 0.0
    if LAST >= 0:
        age_at += request * length
        age_s = tl.load(age_at + j, mask=j < length, other=0.0)
        of_position_at += program % COPIES * (LAST + 1)
        of_time, beyond = tl.zeros((128,), tl.float32), 0.0
    # A tile of padding has no gradients, and its loop no turns.
    start = tl.where(first_j + ROWS > first, first_j, length)
    for first_i in range(start, length, COLUMNS):
        i = first_i + tl.arange(0, COLUMNS)
        q, of_out = _load(q_at, i, q_l, length, K, KEYS), _load(of_out_at, i, g_l, length, V, VALUES) * share
        scores = tl.dot(k, tl.trans(q), input_precision="tf32") + bias  # keys by queries
        apart = i[None, :] - j[:, None]
        seen = (apart >= 0) & (j >= first)[:, None] & (i < length)[None, :]
        if LAST >= 0:
            next_s = tl.load(age_at + i + 1, mask=i + 1 < length, other=0.0)
            bucket = _bucket(age_s[:, None] - next_s[None, :])
            scores += _of_tables(position_at, time_at, apart, bucket, LAST)
        on = tl.sigmoid(scores)
        of_v += tl.dot(tl.where(seen, scores * on, 0.0), of_out, input_precision="tf32")
        of_weights = tl.dot(v, tl.trans(of_out), input_precision="tf32")
        of_scores = tl.where(seen, of_weights * on * (1.0 + scores * (1.0 - on)), 0.0)
        of_k += tl.dot(of_scores, q, input_precision="tf32")
        _add(of_q_at, i, of_q_l, length, K, KEYS, tl.dot(tl.trans(of_scores), k, input_precision="tf32"))
        total = tl.sum(of_scores)
        of_bias += total
        if LAST >= 0:
            of_time = _add_by_bucket(of_time, of_scores, bucket, seen)
            if first_i - first_j - ROWS >= LAST:
                beyond += total
            else:
                _add_diagonals(of_position_at, of_scores, first_i - first_j, LAST, ROWS, COLUMNS)
    _store(of_k_at, j, of_k_l, length, K, KEYS, of_k)
    _store(of_v_at, j, of_v_l, length, V, VALUES, of_v)
    tl.store(of_bias_at + program, of_bias)
    if LAST >= 0:
        tl.store(of_time_at + program * 128 + tl.arange(0, 128), of_time)
        tl.atomic_add(of_position_at + LAST, beyond, sem="relaxed")


@triton.jit
def _add(x_at, row, step, rows, width: tl.constexpr, columns: tl.constexpr, x):
    """Add a tile to rows that other programs add to."""
    column = tl.arange(0, columns)[None, :]
    there = (row < rows)[:, None] & (column < width)
    tl.atomic_add(x_at + row[:, None] * step + column, x, mask=there, sem="relaxed")


@triton.jit
def _add_by_bucket(sums, tile, bucket, seen):
    """Add a tile's numbers to those of their buckets; a tile meets few buckets, mostly."""
    least, most = tl.min(tl.where(seen, bucket, 127)), tl.max(tl.where(seen, bucket, 0))
    for b in range(least, most + 1):
        sums += tl.where(tl.arange(0, 128) == b, tl.sum(tl.where(bucket == b, tile, 0.0)), 0.0)
    return sums


@triton.jit
def _add_diagonals(sums_at, tile, shift, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Add a tile's diagonals to a table by distance; that of its first key and query is `shift`.

    Row j is turned to begin at column j, so that column r holds distance r, and where the row wrapped around
    a multiple of the columns less.
    """
    r = tl.arange(0, COLUMNS)
    column = tl.arange(0, ROWS)[:, None] + r[None, :]
    turned = tl.gather(tile, column % COLUMNS, 1)
    for wraps in tl.static_range(ROWS // COLUMNS + 1):
        apart = shift + r - wraps * COLUMNS
        diagonal = tl.sum(tl.where(column // COLUMNS == wraps, turned, 0.0), axis=0)
        at = sums_at + tl.minimum(tl.maximum(apart, 0), LAST)
        tl.atomic_add(at, diagonal, mask=apart >= 0, sem="relaxed")
