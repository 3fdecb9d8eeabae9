"""Target attention over a history that a request's candidates share, in both orders of evaluation.

Softmax attention with one query needs no keys: score = (t W_Q) W_K^T . x_j, and the value map can wait behind
the weighted sum. That order costs 2 A L E multiplications per candidate, the one with keys and values 2 L E
K A once per request and 2 A L K per candidate, so the number of candidates decides which is cheaper.

Source: STCA, arXiv:2511.06077 (the reordering and its use under request-level batching).
"""

from __future__ import annotations

import torch
from torch import Tensor

from laser.attention.kernels import fusing
from laser.attention.masking import hide


def masked_softmax(scores: Tensor, real: Tensor | None, sink: Tensor | None = None) -> Tensor:
    """Softmax over the last dimension among real entries; all zero where there are none.

    Args:
        scores: (..., A, L).
        real: broadcastable to scores, False where padded; None if nothing is.
        sink: (A,), the score of one more entry that reads nothing. With it weights sum to less than 1, and
            how much is read grows with the number of behaviours that match; without it a softmax forgets it.
    """
    if real is not None:
        scores = hide(scores, ~real)
    if sink is None:
        weights = scores.softmax(dim=-1)
    else:
        nothing = sink.unsqueeze(1).expand(*scores.shape[:-1], 1)
        weights = torch.cat([scores, nothing], dim=-1).softmax(dim=-1)[..., :-1]
    return weights if real is None else weights * real


def read_absorbed(query: Tensor, history: Tensor, real: Tensor | None, sink: Tensor | None = None) -> Tensor:
    """sum_j p_j x_j with p = softmax(query . x): mapped queries over raw behaviours.

    Args:
        query: (B, C, A, E), the candidates' queries with the key map (and the scale) absorbed.
        history: (B, L, E).
        real: (B, L) bool, None if nothing is padded.
        sink: see `masked_softmax`.

    Returns:
        (B, C, A, E); the value map belongs behind it. Zero for an empty history.
    """
    requests, candidates, heads, width = query.shape
    if not torch.is_grad_enabled() and fusing(query) and (heads == 1 or sink is None):
        from laser.attention.kernels.softmax_attention import fits, softmax_attention

        if fits(width):
            rows, shared = query.reshape(requests, 1, -1, width), history.unsqueeze(1)
            return softmax_attention(rows, shared, shared, real, 1.0, sink=sink, few=True).view(query.shape)
    scores = torch.bmm(query.reshape(requests, -1, width), history.transpose(1, 2))
    scores = scores.view(requests, candidates, heads, -1)
    weights = masked_softmax(scores, None if real is None else real[:, None, None, :], sink)
    read = torch.bmm(weights.view(requests, candidates * heads, -1), history)
    return read.view(requests, candidates, heads, width)


def read_with_keys(
    query: Tensor, keys: Tensor, values: Tensor, real: Tensor | None, sink: Tensor | None = None
) -> Tensor:
    """The same attention as published: sum_j softmax(q . k)_j v_j.

    Args:
        query: (B, C, A, K), scaled.
        keys: (B, L, A, K); values: (B, L, A, V).
        real: (B, L) bool, None if nothing is padded.
        sink: see `masked_softmax`.

    Returns:
        (B, C, A, V); zero for an empty history.
    """
    if not torch.is_grad_enabled() and fusing(query):
        from laser.attention.kernels.softmax_attention import fits, softmax_attention

        if fits(query.shape[3]) and keys.shape == values.shape:
            q, k, v = (x.transpose(1, 2) for x in (query, keys, values))
            return softmax_attention(q, k, v, real, 1.0, sink=sink, few=True).transpose(1, 2)
    scores = torch.einsum("bcak,blak->bcal", query, keys)
    weights = masked_softmax(scores, None if real is None else real[:, None, None, :], sink)
    return torch.einsum("bcal,blav->bcav", weights, values)
