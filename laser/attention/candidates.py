"""Self-attention over a history with candidates behind it: each candidate sees the history and itself.

Candidates of one request never see each other, and the history never sees a candidate, so the history's part
is computed once per request.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laser.attention.kernels import fusing, splits
from laser.attention.masking import hide

# Dimensions of a head up to which float32 as two halves is faster here than torch's own: on an H200 at 12 by
# 1.4 in a batch, at 36 slower by 1.2 to 1.4 for one request of 1,000 to 100,000 behaviours.
_SPLIT_PAYS = 16


def softmax_history(query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
    """Attention of the history over itself, every behaviour seeing every other.

    Args:
        query, key, value: (B, A, L, K).
        real: (B, L) bool.

    Returns:
        (B, A, L, K); zero for a history without behaviours.
    """
    if not torch.is_grad_enabled() and fusing(query):
        from laser.attention.kernels.softmax_attention import fits, softmax_attention

        if fits(query.shape[3]) and not (splits() and query.shape[3] > _SPLIT_PAYS):
            return softmax_attention(query, key, value, real, query.shape[3] ** -0.5)
    visible = real[:, None, None, :]
    read = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
    # A request without behaviours has no row to normalise over.
    return torch.where(real.any(dim=1).view(-1, 1, 1, 1), read, 0.0)


def softmax_candidates(
    query: Tensor,
    own_key: Tensor,
    own_value: Tensor,
    key: Tensor,
    value: Tensor,
    real: Tensor,
    own_bias: Tensor | None = None,
) -> Tensor:
    """Attention of each candidate over the history and itself.

    Args:
        query, own_key, own_value: (B, A, C, K), the candidates'.
        key, value: (B, A, L, K), the history's.
        real: (B, L) bool.
        own_bias: (A,) added to each candidate's score of itself, or None.

    Returns:
        (B, A, C, K).
    """
    scale = query.shape[-1] ** -0.5
    if not torch.is_grad_enabled() and fusing(query):
        from laser.attention.kernels.softmax_attention import Own, fits, softmax_attention

        if fits(query.shape[3]):
            bias = query.new_zeros(query.shape[1]) if own_bias is None else own_bias
            own_one = Own(own_key, own_value, bias)
            return softmax_attention(query, key, value, real, scale, own=own_one, few=True)
    scores = torch.matmul(query, key.transpose(2, 3)) * scale
    scores = hide(scores, ~real[:, None, None, :])
    own = (query * own_key).sum(dim=3, keepdim=True) * scale
    if own_bias is not None:
        own = own + own_bias.view(1, -1, 1, 1)
    weights = torch.cat([scores, own], dim=3).softmax(dim=3)
    return torch.matmul(weights[..., :-1], value) + weights[..., -1:] * own_value


def softmax_plain(query: Tensor, key: Tensor, value: Tensor, real: Tensor, candidates: int) -> Tensor:
    """Both of the above as one masked attention over [history ; candidates], as a Transformer is drawn.

    Args:
        query, key, value: (B, A, L + C, K), the candidates last.
        real: (B, L) bool.

    Returns:
        (B, A, L + C, K); rows of padding are arbitrary.
    """
    scores = torch.einsum("bask,batk->bast", query, key) * query.shape[-1] ** -0.5
    scores = hide(scores, ~visible(real, candidates)[:, None])
    return torch.einsum("bast,batk->bask", scores.softmax(dim=3), value)


def visible(real: Tensor, candidates: int, causal: bool = False) -> Tensor:
    """(B, L + C, L + C) bool: who sees whom. `causal`: a behaviour sees itself and older ones only."""
    length, device = real.shape[1], real.device
    seen = torch.zeros(len(real), length + candidates, length + candidates, dtype=torch.bool, device=device)
    seen[:, :, :length] = real[:, None, :]
    if causal:
        seen[:, :length, :length] &= torch.ones(length, length, dtype=torch.bool, device=device).tril()
    own = torch.arange(length, length + candidates, device=device)
    seen[:, own, own] = True
    return seen


def heads_of(x: Tensor, heads: int) -> Tensor:
    """(B, N, A K) to (B, A, N, K)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """(B, A, N, K) to (B, N, A K)."""
    return x.transpose(1, 2).flatten(2)
