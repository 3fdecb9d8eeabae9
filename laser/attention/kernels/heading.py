"""The head of every model in one pass over its candidates, where it is the small one. For serving."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from laser.attention.kernels import dots, operands
from laser.attention.kernels.products import KINDS

_ROWS, _COLUMNS = 16, 64
_A_DAY = 2.0 * math.pi / 24.0  # turns the hour into an angle


def small_head(
    ids: tuple[Tensor, Tensor, Tensor],
    context: tuple[Tensor, Tensor],
    attended: Tensor,
    tables: tuple[Tensor, Tensor],
    biases: tuple[Tensor, Tensor, Tensor],
    first: tuple[Tensor, Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    last: tuple[Tensor, Tensor],
    prior: Tensor,
) -> Tensor:
    """Logits (B, C) float32 of `RankingHead`.

    Args:
        ids: ad, ad_category, position (B, C) int64. context: hour and propensity (B,) float32.
        attended: (B, C, N).
        tables: embeddings of category (., G) and ad (., K). biases: of ad, category and position (., 1).
        first: W (H, G + K + N) over category, ad and attended, its bias, and W (H, 3) of the hour's sine and
            cosine and the propensity. second: W (I, H) and bias. last: w (1, I) and bias. H and I are powers
            of two of 16 or more.
        prior: what the propensity counts in the logit, a scalar.
    """
    requests, candidates, inputs = attended.shape
    out = torch.empty((requests, candidates), device=attended.device, dtype=torch.float32)
    (of_category, of_ad), (units, inner) = tables, (len(first[0]), len(second[0]))
    _head[(triton.cdiv(candidates, _ROWS), requests)](
        *(i.contiguous() for i in ids), *context, attended.contiguous(), *tables, *biases, *first, *second,
        *last, prior, out, len(biases[2]) - 1, candidates, inputs, of_category.shape[1], of_ad.shape[1],
        units, inner, _COLUMNS, _ROWS, _A_DAY, KINDS[operands()], dots(), num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


@triton.jit
def _head(
    ad_at, category_at, position_at, hour_at, propensity_at, attended_at, of_category_at, of_ad_at,
    ad_bias_at, category_bias_at, position_bias_at, first_at, first_bias_at, request_at, second_at,
    second_bias_at, last_at, last_bias_at, prior_at, out_at, positions, candidates,
    N: tl.constexpr, CATEGORY: tl.constexpr, AD: tl.constexpr, H: tl.constexpr, INNER: tl.constexpr,
    COLUMNS: tl.constexpr, ROWS: tl.constexpr, A_DAY: tl.constexpr, KIND: tl.constexpr, DOTS: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = c < candidates
    row = request * candidates + c
    h, i, n = tl.arange(0, H), tl.arange(0, INNER), tl.arange(0, COLUMNS)
    ad = tl.load(ad_at + row, mask=there, other=0)
    category = tl.load(category_at + row, mask=there, other=0)
    position = tl.minimum(tl.load(position_at + row, mask=there, other=0), positions)
    step: tl.constexpr = CATEGORY + AD + N
    of_request = tl.load(first_bias_at + h)
    turn, propensity = tl.load(hour_at + request) * A_DAY, tl.load(propensity_at + request)
    of_request += tl.load(request_at + h * 3) * tl.sin(turn) + tl.load(request_at + h * 3 + 1) * tl.cos(turn)
    of_request += tl.load(request_at + h * 3 + 2) * propensity
    hidden = tl.zeros((ROWS, H), tl.float32) + of_request[None, :]
    for j in tl.static_range(CATEGORY):
        column = tl.load(of_category_at + category * CATEGORY + j)
        hidden += column[:, None] * tl.load(first_at + h * step + j)[None, :]
    for j in tl.static_range(AD):
        hidden += (
            tl.load(of_ad_at + ad * AD + j)[:, None] * tl.load(first_at + h * step + CATEGORY + j)[None, :]
        )
    for start in range(0, N, COLUMNS):
        inside = start + n < N
        x_at = attended_at + row[:, None] * N + start + n[None, :]
        x = tl.load(x_at, mask=there[:, None] & inside[None, :], other=0.0)
        w_at = first_at + h[None, :] * step + CATEGORY + AD + start + n[:, None]
        w = tl.load(w_at, mask=inside[:, None], other=0.0)
        hidden = tl.dot(x.to(KIND), w.to(KIND), hidden, input_precision=DOTS)
    second = tl.load(second_at + i[None, :] * H + h[:, None]).to(KIND)
    inner = tl.dot(tl.maximum(hidden, 0.0).to(KIND), second, input_precision=DOTS)
    inner = tl.maximum(inner + tl.load(second_bias_at + i)[None, :], 0.0)
    logit = tl.sum(inner * tl.load(last_at + i)[None, :], axis=1) + tl.load(last_bias_at)
    logit += (
        tl.load(ad_bias_at + ad) + tl.load(category_bias_at + category) + tl.load(position_bias_at + position)
    )
    logit += tl.load(prior_at) * propensity
    tl.store(out_at + row, logit, mask=there)
