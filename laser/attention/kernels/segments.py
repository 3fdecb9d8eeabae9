"""LASER's tokens in one pass: segments gathered by gates, their value map, net and norm.

In torch the gates of every (behaviour, candidate, head), the sums of every (segment, candidate, head) and two
layouts of the tokens go through memory; history and tokens are a tenth of that. Here a program takes some
candidates through a run of segments: gates and sums stay in registers, and the tokens are written once, as
the layers behind read them. Forward only: it is for serving.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots

_RUN = 8  # segments of a program: its candidates' queries stay in the cache meanwhile
_EPSILON = 1e-5
# Widths that the matrix units' tiles come in; what a program holds of a segment must fit its shared memory.
_WIDTHS, _INNER, _SEGMENT, _HELD = (16, 32, 64), (16, 32, 64, 128), 128, 1 << 18

Net = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def fits(width: int, inner: int, seen: int, segment: int) -> bool:
    """Whether the kernel is made for tokens of D, a net of F, behaviours of E and segments of w."""
    held = _padded(segment) * _padded(seen) * width
    return width in _WIDTHS and inner in _INNER and segment <= _SEGMENT and held <= _HELD


def _padded(size: int) -> int:
    return max(int(triton.next_power_of_2(size)), 16)


def segment_tokens(
    query: Tensor, history: Tensor, segment: int, bias: Tensor, value: tuple[Tensor, Tensor], net: Net
) -> Tensor:
    """LN(c + W_2 relu(W_1 c + b_1) + b_2), c = W_V [sum_j sigmoid(q_a . x_j + bias_a) x_j of all a] + b_V.

    Args:
        query: (B, C, A, E), mapped queries.
        history: (B, L, E), zero vectors where padded, L a multiple of `segment`.
        bias: (A,).
        value: W_V (D, A E) and b_V (D,).
        net: W_1 (F, D), b_1 (F,), W_2 (D, F), b_2 (D,), and the norm's scale and shift (D,).

    Returns:
        (B, C, S, D) float32, segments oldest first.
    """
    query, history = query.float().contiguous(), history.float().contiguous()
    requests, candidates, heads, seen = query.shape
    inner, width = net[0].shape
    segments = history.shape[1] // segment
    out = torch.empty((requests, candidates, segments, width), device=query.device, dtype=torch.float32)
    block = 32 if candidates <= 32 or width > 16 else 64
    grid = triton.cdiv(segments, _RUN), triton.cdiv(candidates, block), requests
    weights = (w.contiguous() for w in (bias, *value, *net))
    # Wide tokens leave no room in shared memory for loads ahead of their time.
    ahead = {"num_warps": block // 16} if width == 16 else {"num_warps": 4, "num_stages": 1}
    _tokens[grid](
        query, history, *weights, out, history.shape[1], candidates, segments,
        heads, seen, segment, width, inner, _EPSILON, _padded(segment), _padded(seen), block, _RUN, dots(),
        **ahead,
    )  # fmt: skip
    return out


@triton.jit
def _tokens(
    query_at, history_at, bias_at, value_at, value_bias_at, up_at, up_bias_at, down_at, down_bias_at,
    scale_at, shift_at, out_at, length, candidates, segments,
    A: tl.constexpr, E: tl.constexpr, W: tl.constexpr, D: tl.constexpr, F: tl.constexpr,
    EPSILON: tl.constexpr, ROWS: tl.constexpr, SEEN: tl.constexpr, BLOCK: tl.constexpr, RUN: tl.constexpr,
    DOTS: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    r, e = tl.arange(0, ROWS), tl.arange(0, SEEN)
    d, f = tl.arange(0, D), tl.arange(0, F)
    there = c < candidates
    owner = request * candidates + c  # of a row of queries and of tokens
    up = tl.load(up_at + f[None, :] * D + d[:, None])  # (D, F)
    down = tl.load(down_at + d[None, :] * F + f[:, None])  # (F, D)
    up_bias, down_bias = tl.load(up_bias_at + f), tl.load(down_bias_at + d)
    scale, shift, value_bias = tl.load(scale_at + d), tl.load(shift_at + d), tl.load(value_bias_at + d)
    for i in range(RUN):
        s = tl.program_id(0) * RUN + i
        inside = (r < W) & (s < segments)
        x_at = history_at + (request * length + s * W + r)[:, None] * E + e[None, :]
        x = tl.load(x_at, mask=inside[:, None] & (e < E)[None, :], other=0.0)
        token = tl.zeros((BLOCK, D), tl.float32) + value_bias[None, :]
        for a in tl.static_range(A):
            q_at = query_at + (owner * A + a)[:, None] * E + e[None, :]
            q = tl.load(q_at, mask=there[:, None] & (e < E)[None, :], other=0.0)
            gates = tl.sigmoid(tl.dot(q, tl.trans(x), input_precision=DOTS) + tl.load(bias_at + a))
            sums = tl.dot(tl.where(inside[None, :], gates, 0.0), x, input_precision=DOTS)
            v_at = value_at + d[None, :] * (A * E) + a * E + e[:, None]
            v = tl.load(v_at, mask=(e < E)[:, None], other=0.0)
            token += tl.dot(sums, v, input_precision=DOTS)
        hidden = tl.maximum(tl.dot(token, up, input_precision=DOTS) + up_bias[None, :], 0.0)
        y = token + tl.dot(hidden, down, input_precision=DOTS) + down_bias[None, :]
        centred = y - (tl.sum(y, axis=1) / D)[:, None]
        scaled = centred * tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPSILON)[:, None]
        tl.store(
            out_at + (owner * segments + s)[:, None] * D + d[None, :],
            scaled * scale[None, :] + shift[None, :],
            mask=there[:, None] & (s < segments),
        )
