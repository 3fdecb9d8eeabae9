"""The candidate as an attention query, with the key map absorbed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TargetQuery(nn.Module):
    """t M_a for each head: (B, C, D) to (B, C, A, E).

    M_a stands for W_Q W_K^T / sqrt(d). It starts as `init` I + noise, so that a candidate recognises its own
    category from the first step: found to matter more than the architecture (docs/models.md). An `init` of 0
    is the usual random start.

    `sink`, where not None, is the score at which each head's entry that reads nothing begins (see
    `laser.attention.shared.masked_softmax`).
    """

    def __init__(self, width: int, seen: int, heads: int, init: float, sink: float | None = None) -> None:
        super().__init__()
        noise = 0.05 if init else width**-0.5
        self.sink = None if sink is None else nn.Parameter(torch.full((heads,), float(sink)))
        self.map = nn.Parameter(init * torch.eye(width, seen) + noise * torch.randn(heads, width, seen))

    def forward(self, target: Tensor) -> Tensor:
        """(B, C, A, E)."""
        return torch.einsum("bcd,ade->bcae", target, self.map)


def recognise(
    query: nn.Linear, key: nn.Linear, heads: int, about: int, init: float, mirrored: bool = False
) -> None:
    """Let every head of a pair of maps begin by recognising what a token is about.

    The category's dimensions, turned at random into the head's, times `init` in both maps; what kind of
    behaviour it was enters as noise at first.

    Args:
        query, key: maps of (E, E), heads side by side in their outputs.
        about: D, the token's first dimensions, which are the category's.
        mirrored: every direction is there with both signs, for maps whose outputs lose their negative part.
    """
    inner = query.out_features // heads
    for head in range(heads):
        rank = inner // 2 if mirrored else inner
        turned = torch.linalg.qr(torch.randn(max(rank, about), max(rank, about))).Q[:rank, :about]
        if mirrored:
            turned = torch.cat([turned, -turned])
        rows = slice(head * inner, (head + 1) * inner)
        for part in (query, key):
            with torch.no_grad():
                part.weight[rows] *= 0.1
                part.weight[rows, :about] = init * (about / min(rank, about)) ** 0.25 * turned


def directions(count: int, width: int) -> Tensor:
    """(count, width) random vectors of length 1."""
    drawn = torch.randn(count, width)
    scale: Tensor = drawn.norm(dim=1, keepdim=True)
    return drawn / scale


def turned(width: int, inner: int) -> Tensor:
    """(width, inner) random turn R with x R R^T y near x . y: exactly for inner >= width, else on average."""
    size = max(width, inner)
    turn: Tensor = torch.linalg.qr(torch.randn(size, size)).Q[:width, :inner]
    return turn * math.sqrt(max(1.0, width / inner))
