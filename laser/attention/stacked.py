"""Global stacked target attention (GSTA): the candidate reads the segments' tokens, layer after layer.

Source: LASER, arXiv:2602.11562 (our reading, see docs/models.md); the reordering of a single-query attention
so that keys and values are never built is STCA's, arXiv:2511.06077.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laser.attention.masking import hide


def target_attention(query: Tensor, tokens: Tensor, real: Tensor | None, sink: bool) -> Tensor:
    """Softmax attention of mapped queries over raw tokens: sum_s p_s h_s, p = softmax(query . h).

    The key map is absorbed in the query and the value map belongs behind the sum, as in `gated_segments`.

    Args:
        query: (B, C, A, D).
        tokens: (B, C, S, D), every candidate's own tokens.
        real: (B, S) bool, False where a token is padding; None if all are real.
        sink: add one token with score 0 and value 0. A candidate then may read nothing, how much it reads
            grows with the number of tokens that match, and an empty history needs no special case.

    Returns:
        (B, C, A, D); zero for a history without tokens.
    """
    requests, candidates, heads, width = query.shape
    flat = tokens.reshape(requests * candidates, -1, width)
    scores = torch.bmm(query.reshape(-1, heads, width), flat.transpose(1, 2))
    if real is not None:
        hidden = ~real.repeat_interleave(candidates, dim=0).unsqueeze(1)
        scores = hide(scores, hidden)
    if sink:
        weights = torch.nn.functional.pad(scores, (1, 0)).softmax(dim=2)[..., 1:]
    else:
        weights = scores.softmax(dim=2)
        if real is not None:
            weights = weights.masked_fill(hidden, 0.0)
    return torch.bmm(weights, flat).view(requests, candidates, heads, width)


def target_attention_with_keys(
    query: Tensor, keys: Tensor, values: Tensor, real: Tensor | None, sink: bool
) -> Tensor:
    """The same with keys and values of every candidate's tokens, as published.

    Args:
        query: (B, C, A, K), scaled. keys, values: (B, C, S, A, K).
        real, sink: see `target_attention`.

    Returns:
        (B, C, A, K).
    """
    scores = torch.einsum("bcak,bcsak->bcas", query, keys)
    if real is not None:
        scores = hide(scores, ~real[:, None, None, :])
    if sink:
        weights = torch.nn.functional.pad(scores, (1, 0)).softmax(dim=3)[..., 1:]
    else:
        weights = scores.softmax(dim=3)
        if real is not None:
            weights = weights * real[:, None, None, :]
    return torch.einsum("bcas,bcsak->bcak", weights, values)


def target_attention_plain(
    target: Tensor,
    tokens: Tensor,
    query_map: Tensor,
    key_map: Tensor,
    value_map: Tensor,
    real: Tensor,
    sink: bool,
) -> Tensor:
    """Multi-head target attention as written, with keys and values of every token.

    Args:
        target: (B, C, D); tokens: (B, C, S, D); real: (B, S) bool.
        query_map, key_map: (A, D, K); value_map: (A, D, V).

    Returns:
        (B, C, A, V).
    """
    scale = query_map.shape[2] ** -0.5
    q = torch.einsum("bcd,adk->bcak", target, query_map)
    k = torch.einsum("bcsd,adk->bcsak", tokens, key_map)
    v = torch.einsum("bcsd,adv->bcsav", tokens, value_map)
    powers = torch.exp(torch.einsum("bcak,bcsak->bcas", q, k) * scale) * real[:, None, None, :]
    total = powers.sum(dim=-1, keepdim=True) + float(sink)
    weights = powers / torch.where(total > 0, total, 1.0)
    return torch.einsum("bcas,bcsav->bcav", weights, v)
