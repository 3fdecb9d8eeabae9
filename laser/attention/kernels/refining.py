"""A candidate after a reading: parts put together, the value map, two norms and the net between them.

In torch these are some twenty kernels over as few rows as a request has candidates, each of which takes
longer to start than to work.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots
from laser.attention.kernels.readings import Parts

_ROWS = 16  # candidates of a program: the fewest that matrix units take
_EPSILON = 1e-5


class Layer(NamedTuple):
    """u' = LN(u + read W_V + b), u'' = LN(u' + W_2 relu(W_1 u' + b_1) + b_2); maps are turned, inputs first.

    Attributes:
        query: (A, D, D), mapped queries are u @ query. value: (A, D, D), of what each head read; bias: (D,).
        norm: scale and shift (2, D). net: W_1 (D, F), b_1, W_2 (F, D), b_2, scale, shift; None leaves it out.
    """

    query: Tensor
    value: Tensor
    bias: Tensor
    norm: Tensor
    net: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor] | None


def refine(
    before: Tensor,
    parts: Parts,
    layer: Layer,
    following: Tensor | None,
    sink: bool,
    out: Tensor,
    peaks: Tensor | None = None,
) -> Tensor:
    """Write the refined candidates; give the queries of the next reading.

    Args:
        before: (B, C, D) float32, rows at one distance. parts: of the reading, see `read_tokens`.
        following: the next layer's query map (A, D, D), or None.
        sink: whether the softmax has one more entry, of score 0 and value 0.
        out: (B, C, D), gets the candidates; may be columns of a contiguous tensor, as `peaks`, which gets
            the parts' maxima, 0 without tokens.

    Returns:
        (B, C, A, D) float32; `out` where nothing follows.
    """
    requests, candidates, count, heads, width = parts.sums.shape
    rows = requests * candidates
    queries = out if following is None else before.new_empty(requests, candidates, heads, width)
    up, up_bias, down, down_bias, scale, shift = layer.net or (layer.bias,) * 6
    inner = up.shape[1] if layer.net else 0
    highest = parts.peaks if peaks is not None else None
    _refine[(triton.cdiv(rows, _ROWS),)](
        before, before.stride(1), parts.sums, parts.weights, parts.sums if highest is None else highest,
        layer.value, layer.bias, layer.norm, up, up_bias, down, down_bias, scale, shift,
        layer.value if following is None else following, out, out.stride(1), queries,
        out if peaks is None else peaks, 0 if peaks is None else peaks.stride(1), rows, count,
        heads, width, inner, min(inner, 64 if width <= 64 else 32), sink, highest is not None,
        following is not None, _EPSILON, dots(), _ROWS,
        num_warps=4 if width >= 64 else 2, num_stages=1,
    )  # fmt: skip
    return queries


@triton.jit
def _normed(y, at, D: tl.constexpr, EPSILON: tl.constexpr):
    """LayerNorm with the scale at `at` and the shift D behind it."""
    d = tl.arange(0, D)
    centred = y - (tl.sum(y, axis=1) / D)[:, None]
    scaled = centred * tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPSILON)[:, None]
    return scaled * tl.load(at + d)[None, :] + tl.load(at + D + d)[None, :]


@triton.jit(do_not_specialize=["rows", "count"])
def _refine(
    before_at, before_step, sums_at, weights_at, highest_at, value_at, bias_at, norm_at,
    up_at, up_bias_at, down_at, down_bias_at, scale_at, shift_at, query_at, out_at, out_step, queries_at,
    peaks_at, peaks_step, rows, count,
    A: tl.constexpr, D: tl.constexpr, F: tl.constexpr, UNITS: tl.constexpr, SINK: tl.constexpr,
    PEAKS: tl.constexpr, NEXT: tl.constexpr, EPSILON: tl.constexpr, DOTS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, D)
    there = (row < rows)[:, None]
    kind = value_at.dtype.element_ty
    y = tl.load(before_at + row[:, None] * before_step + d[None, :], mask=there, other=0.0)
    y += tl.load(bias_at + d)[None, :]
    for a in tl.static_range(A):
        read = _together(sums_at, weights_at, row, row < rows, count, a, A, D, SINK, ROWS)
        value = tl.load(value_at + a * D * D + d[:, None] * D + d[None, :])
        y = tl.dot(read.to(kind), value, y, input_precision=DOTS)
    y = _normed(y, norm_at, D, EPSILON)
    if F > 0:
        z = y + tl.load(down_bias_at + d)[None, :]
        for unit in range(0, F, UNITS):
            f = unit + tl.arange(0, UNITS)
            up = tl.load(up_at + d[:, None] * F + f[None, :])
            down = tl.load(down_at + f[:, None] * D + d[None, :])
            hidden = tl.dot(y.to(kind), up, input_precision=DOTS) + tl.load(up_bias_at + f)[None, :]
            z = tl.dot(tl.maximum(hidden, 0.0).to(kind), down, z, input_precision=DOTS)
        centred = z - (tl.sum(z, axis=1) / D)[:, None]
        scaled = centred * tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPSILON)[:, None]
        y = scaled * tl.load(scale_at + d)[None, :] + tl.load(shift_at + d)[None, :]
    tl.store(out_at + row[:, None] * out_step + d[None, :], y.to(out_at.dtype.element_ty), mask=there)
    if NEXT:
        for a in tl.static_range(A):
            map = tl.load(query_at + a * D * D + d[:, None] * D + d[None, :])
            q = tl.dot(y.to(kind), map, input_precision=DOTS)
            tl.store(queries_at + (row * A + a)[:, None] * D + d[None, :], q, mask=there)
    if PEAKS:
        peak = tl.full((ROWS, D), float("-inf"), tl.float32)
        for p in range(count):
            at = highest_at + (row * count + p)[:, None] * D + d[None, :]
            peak = tl.maximum(peak, tl.load(at, mask=there, other=0.0))
        peak = tl.where(peak == float("-inf"), 0.0, peak)
        tl.store(peaks_at + row[:, None] * peaks_step + d[None, :], peak, mask=there)


@triton.jit
def _together(sums_at, weights_at, row, there, count, a, A: tl.constexpr, D: tl.constexpr,
              SINK: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    """What a head read: its parts by their shares, in their order; 0 without tokens."""
    d = tl.arange(0, D)
    top = tl.full((ROWS,), 0.0 if SINK else float("-inf"), tl.float32)
    total = tl.full((ROWS,), 1.0 if SINK else 0.0, tl.float32)
    read = tl.zeros((ROWS, D), tl.float32)
    for p in range(count):
        at = (row * count + p) * A + a
        highest = tl.load(weights_at + at * 2, mask=there, other=0.0)
        weight = tl.load(weights_at + at * 2 + 1, mask=there, other=0.0)
        sums = tl.load(sums_at + at[:, None] * D + d[None, :], mask=there[:, None], other=0.0)
        above = tl.maximum(top, highest)
        safe = tl.where(above == float("-inf"), 0.0, above)
        kept, share = tl.exp2(top - safe), tl.exp2(highest - safe)
        total = total * kept + weight * share
        read = read * kept[:, None] + sums * share[:, None]
        top = above
    return read / tl.where(total > 0.0, total, 1.0)[:, None]
