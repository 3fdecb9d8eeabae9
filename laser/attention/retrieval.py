"""Two-stage reading: a cheap search picks k behaviours for each candidate, an exact unit reads only those.

Sources: SIM, arXiv:2006.05639; TWIN, arXiv:2302.02352.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PLACES = 1 << 24  # of a history, at most
_PADDED = -(1 << 60)  # below 2^31 scores of so many places


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

    Only a head's first k can be reached. A behaviour's turn is its best rank over the heads, ties of rank
    going to the earlier head, ties of score to the older behaviour.

    Args:
        scores: (B, C, A, L), without NaN; compared as float32.
        real: (B, L) bool.

    Returns:
        As `highest`, in order of turn.

    Source: TWIN, arXiv:2302.02352 (the general search unit with several heads).
    """
    (requests, candidates, heads, length), k = scores.shape, min(k, scores.shape[3])
    first = _ordered(scores, real).topk(k, dim=3)
    walked, there = (x.transpose(2, 3).flatten(2) for x in (first.indices, first.values > _PADDED // 2))
    never = heads * k
    turn = torch.arange(never, device=scores.device)
    turns = torch.where(there, turn, never)
    best = turn.new_full((requests, candidates, length), never).scatter_reduce_(2, walked, turns, "amin")
    # Again by a later head, or padded: no turn.
    fresh = torch.where(best.gather(2, walked) == turn, turn, never)
    found = fresh.topk(k, dim=2, largest=False)
    return walked.gather(2, found.indices), found.values < never


def _ordered(scores: Tensor, real: Tensor) -> Tensor:
    """(B, C, A, L) int64, no two of a row alike, ordered as scores and then as places, older first.

    Behaviours of one category, kind and age have equal scores, and of equal ones `topk` takes any: the heads
    would agree on fewer, and a CPU find others than a GPU.
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0: so that -0 equals 0
    bits ^= (bits >> 31).bitwise_and_(0x7FFFFFFF)  # negative floats are sign and magnitude
    place = torch.arange(real.shape[1], device=real.device)
    after = torch.where(real, -place, _PADDED - place)[:, None, None, :]
    return torch.add(after, bits, alpha=_PLACES)


def highest_of_heads_plain(scores: Tensor, real: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The same by the turns of all behaviours: every head's scores are sorted over the whole history."""
    heads, length = scores.shape[2:]
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
