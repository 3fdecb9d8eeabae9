"""LASER's tokens in one pass: behaviours looked up, gated, summed in segments, their net and norm.

In torch the embedded history, the gates of every (behaviour, candidate, head), the sums of every (segment,
candidate, head) and two layouts of the tokens go through memory; the tokens alone are a tenth of that. Here a
program takes some candidates through a run of segments: everything else stays in registers, and the tokens
are written once, as the layers behind read them.

A behaviour's keys and values are sums of two rows of tables that the maps have been multiplied into, so no
map is left to compute for a behaviour, and none for a candidate, whose own embedding is the query of every
head. The heads of a segment lie side by side in one tile: r = head x w + behaviour. Forward only: it is for
serving.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots, splits
from laser.attention.kernels.products import product, product_halves

_EPSILON = 1e-5
# As many as an H200's 132 multiprocessors hold at once, three or eight each: a longer run of segments leaves
# some idle, and in a shorter one the net is fetched more often.
_WIDE_PROGRAMS, _PROGRAMS = 396, 1056
_LONGEST_RUN = 32
_WIDTHS, _INNER = (16, 32, 64, 128), (16, 32, 64, 128, 256, 512)

Tables = tuple[Tensor, Tensor, Tensor]
Net = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def fits(width: int, inner: int) -> bool:
    """Whether the kernel is made for tokens of D and a net of F: the widths that matrix units' tiles have."""
    return width in _WIDTHS and inner in _INNER


def segment_tokens(
    target: Tensor,
    places: tuple[Tensor, Tensor, Tensor],
    segment: int,
    tables: Tables,
    net: Net,
    newest: Tensor | None = None,
) -> Tensor:
    """LN(z + W_2 relu(W_1 z + b_1) + b_2), z = sum_a sum_j sigmoid(t . k_aj + o_aj) v_aj.

    Args:
        target: (B, C, D) float32, the candidates.
        places: about and how (B, L) int32, rows of the tables, 0 where padded, L a multiple of `segment`; and
            the first segment (B,) int32 that holds a behaviour.
        segment: behaviours in a segment, w.
        tables: keys and values by what a behaviour was about, (rows, 2, A, D), and by how, with those of row
            0 zero; what is added to the scores by how, (rows, A) float32. k, v and o are their sums.
        net: W_1 (1, D, F) and W_2 (1, F, D) in the tables' dtype, or (2, ...) `halves` of them, each with its
            bias behind it, and the norm's scale and shift (D,), float32.
        newest: (B, C, r D) float32, columns of a contiguous tensor, which get the newest r tokens, oldest
            first; those of segments without behaviours stay as they were.

    Returns:
        (B, C, S, D) in the tables' dtype, oldest segment first; segments before the first are not written.
    """
    about, how, first = places
    requests, candidates, width = target.shape
    heads, inner, split = tables[0].shape[2], net[0].shape[2], splits()
    assert len(net[0]) == 1 + split
    segments = about.shape[1] // segment
    out = torch.empty((requests, candidates, segments, width), device=target.device, dtype=tables[0].dtype)
    sizes = tile(width, inner, segment * heads, candidates, tables[0].dtype)
    blocks = triton.cdiv(candidates, sizes["BLOCK"])
    programs = _WIDE_PROGRAMS if width >= 64 else _PROGRAMS
    run = min(triton.cdiv(segments * blocks * requests, programs), _LONGEST_RUN)
    kept = 0 if newest is None else newest.shape[2] // width
    _tokens[(triton.cdiv(segments, run), blocks, requests)](
        target.contiguous(), about, how, first, *tables, *net, out,
        out if newest is None else newest, 0 if newest is None else newest.stride(1),
        about.shape[1], candidates, segments, run, kept,
        heads, segment, width, inner, _EPSILON, split, dots(), **sizes,
    )  # fmt: skip
    return out


def tile(width: int, inner: int, rows: int, candidates: int, dtype: torch.dtype) -> dict[str, int]:
    """Sizes of a program's tiles: candidates, rows of keys and units of the net at once; warps."""
    half = dtype.itemsize == 2
    block = min(max(triton.next_power_of_2(candidates), 16), 64)
    at_once = min(max(triton.next_power_of_2(rows), 16), 128 if width <= 32 else 64 if half else 32)
    units = min(inner, 128 if half or width <= 32 else 64)
    warps = max(block // 16, 1) if width >= 64 else max(block // 32, 1)
    found = {"BLOCK": block, "ROWS": at_once, "UNITS": units, "num_warps": warps, "num_stages": 1}
    # Three programs on a multiprocessor, though some numbers then go through its cache: 0.32 ms against 0.41
    # for 100,000 behaviours and 500 candidates.
    return found | {"maxnreg": 168} if half and width >= 64 and warps == 4 else found


@triton.jit(do_not_specialize=["segments", "run", "kept"])
def _tokens(
    target_at, about_rows, how_rows, first_at, about_at, how_at, offset_at,
    up_at, up_bias_at, down_at, down_bias_at, scale_at, shift_at, out_at, newest_at, newest_step,
    length, candidates, segments, run, kept,
    A: tl.constexpr, W: tl.constexpr, D: tl.constexpr, F: tl.constexpr, EPSILON: tl.constexpr,
    SPLIT: tl.constexpr, DOTS: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(2).to(tl.int64)
    first = tl.maximum(tl.load(first_at + request), tl.program_id(0) * run)
    last = tl.minimum((tl.program_id(0) + 1) * run, segments)
    kind = about_at.dtype.element_ty
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    d, f = tl.arange(0, D), tl.arange(0, UNITS)
    there = (c < candidates)[:, None]
    owner = request * candidates + c  # of a row of targets and of tokens
    target = tl.load(target_at + owner[:, None] * D + d[None, :], mask=there, other=0.0)
    if UNITS == F:  # the net stays where it is, else it is read again for each segment
        up, up_low = _weights(up_at + d[:, None] * F + f[None, :], D * F, SPLIT)
        down, down_low = _weights(down_at + f[:, None] * D + d[None, :], D * F, SPLIT)
    for s in range(first, last):
        places = request * length + s * W
        token = tl.zeros((BLOCK, D), tl.float32)
        for first_row in range(0, A * W, ROWS):
            r = first_row + tl.arange(0, ROWS)
            a = r // W
            about = tl.load(about_rows + places + r % W, mask=r < A * W, other=0).to(tl.int64)
            how = tl.load(how_rows + places + r % W, mask=r < A * W, other=0)
            a = tl.minimum(a, A - 1)
            about_row = about_at + (about * (2 * A) + a)[:, None] * D + d[None, :]
            how_row = how_at + (how * (2 * A) + a)[:, None] * D + d[None, :]
            keys = tl.load(about_row) + tl.load(how_row)
            values = tl.load(about_row + A * D) + tl.load(how_row + A * D)
            scores = tl.zeros((BLOCK, ROWS), tl.float32) + tl.load(offset_at + how * A + a)[None, :]
            gates = tl.sigmoid(product(target, tl.trans(keys), scores, SPLIT, DOTS))
            # Beyond the last row and where nothing is, values are zero.
            token = product(gates, values, token, SPLIT, DOTS)
        # Vectors are read again for each segment: kept, they would take a third of the registers.
        y = token + tl.load(down_bias_at + d)[None, :]
        for unit in range(0, F, UNITS):
            if UNITS < F:
                up, up_low = _weights(up_at + d[:, None] * F + (unit + f)[None, :], D * F, SPLIT)
                down, down_low = _weights(down_at + (unit + f)[:, None] * D + d[None, :], D * F, SPLIT)
            hidden = tl.zeros((BLOCK, UNITS), tl.float32) + tl.load(up_bias_at + unit + f)[None, :]
            if SPLIT:
                hidden = tl.maximum(product_halves(token, up, up_low, hidden), 0.0)
                y = product_halves(hidden, down, down_low, y)
            else:
                hidden = tl.maximum(tl.dot(token.to(kind), up, hidden, input_precision=DOTS), 0.0)
                y = tl.dot(hidden.to(kind), down, y, input_precision=DOTS)
        centred = y - (tl.sum(y, axis=1) / D)[:, None]
        scaled = centred * tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPSILON)[:, None]
        done = scaled * tl.load(scale_at + d)[None, :] + tl.load(shift_at + d)[None, :]
        tl.store(out_at + (owner * segments + s)[:, None] * D + d[None, :], done.to(kind), mask=there)
        slot = kept - segments + s
        if slot >= 0:
            at = newest_at + owner[:, None] * newest_step + slot * D + d[None, :]
            tl.store(at, done.to(newest_at.dtype.element_ty), mask=there)


@triton.jit
def _weights(at, size, SPLIT: tl.constexpr):
    """A tile of weights and, where they are `halves`, that of the other one; else the same again."""
    weights = tl.load(at)
    if SPLIT:
        return weights, tl.load(at + size)
    return weights, weights
