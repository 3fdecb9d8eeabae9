"""The candidate as an attention query, with the key map absorbed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TargetQuery(nn.Module):
    """t M_a for each head: (B, C, D) to (B, C, A, E).

    M_a stands for W_Q W_K^T / sqrt(d). It starts as `init` I + noise, so that a candidate recognises its own
    category from the first step: found to matter more than the architecture (docs/models.md).
    """

    def __init__(self, width: int, seen: int, heads: int, init: float, noise: float = 0.05) -> None:
        super().__init__()
        self.map = nn.Parameter(init * torch.eye(width, seen) + noise * torch.randn(heads, width, seen))

    def forward(self, target: Tensor) -> Tensor:
        """(B, C, A, E)."""
        return torch.einsum("bcd,ade->bcae", target, self.map)
