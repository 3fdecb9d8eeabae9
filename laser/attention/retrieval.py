"""Two-stage reading: a cheap search picks k behaviours for each candidate, an exact unit reads only those.

Sources: SIM, arXiv:2006.05639; TWIN, arXiv:2302.02352.
"""

from __future__ import annotations

import torch
from torch import Tensor


def newest_matching(match: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The newest k behaviours that match, for each candidate (SIM's hard search).

    Args:
        match: (B, C, L) bool, newest behaviour last, False where padded.
        k: how many at most.

    Returns:
        (B, C, K) places in [0, L), newest first, and (B, C, K) bool, False behind the last match;
        K = min(k, L).
    """
    length = match.shape[2]
    place = torch.arange(1, length + 1, device=match.device)
    return _largest(match * place, min(k, length), 0.5)


def highest(scores: Tensor, real: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k behaviours of the highest score, for each candidate (a soft search).

    Args:
        scores: (B, C, L).
        real: (B, L) bool, False where padded.

    Returns:
        As `newest_matching`, highest first.
    """
    return _largest(scores.masked_fill(~real.unsqueeze(1), -torch.inf), min(k, scores.shape[2]), -torch.inf)


def highest_of_heads(scores: Tensor, real: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """k distinct behaviours by walking the heads in turn: each head's first, each head's second, and so on.

    A behaviour's turn is its best rank over the heads, ties going to the earlier head, so no walk is needed.

    Args:
        scores: (B, C, A, L).
        real: (B, L) bool.

    Returns:
        As `highest`, in order of turn.

    Source: TWIN, arXiv:2302.02352 (the general search unit with several heads).
    """
    heads, length = scores.shape[2:]
    if heads == 1:
        return highest(scores.squeeze(2), real, k)
    hidden = scores.masked_fill(~real[:, None, None, :], -torch.inf)
    order = hidden.argsort(dim=3, descending=True, stable=True)
    turns = torch.arange(length, device=scores.device) * heads
    turn = torch.empty_like(order).scatter_(3, order, turns.expand_as(order))
    turn = turn + torch.arange(heads, device=scores.device).view(-1, 1)
    first = turn.min(dim=2).values.masked_fill(~real.unsqueeze(1), length * heads)
    return _largest(-first, min(k, length), -length * heads + 0.5)


def gather(history: Tensor, places: Tensor) -> Tensor:
    """(B, C, K, E) rows of a (B, L, E) history at (B, C, K) places."""
    requests, candidates, k = places.shape
    flat = places.reshape(requests, -1, 1).expand(-1, -1, history.shape[2])
    return history.gather(1, flat).view(requests, candidates, k, -1)


def _largest(values: Tensor, k: int, above: float) -> tuple[Tensor, Tensor]:
    found = values.topk(k, dim=2)
    return found.indices, found.values > above
