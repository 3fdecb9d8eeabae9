"""Candidates and behaviours as tokens of one width, for models that mix both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laser.models.history import KIND_WIDTH


class CandidateToken(nn.Module):
    """[category ; kind]: a candidate in the behaviours' form, with a kind of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = nn.Parameter(torch.randn(KIND_WIDTH) * 0.3)
        with torch.no_grad():
            self.kind[0] = 1.0  # as behaviours have it

    def forward(self, target: Tensor) -> Tensor:
        """(B, C, D) to (B, C, D + KIND_WIDTH)."""
        return torch.cat([target, self.kind.expand(*target.shape[:2], -1)], dim=2)


class Positions(nn.Module):
    """An embedding for each of the newest `count` places; older ones share the last."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(count, width) * 0.02) if count else None

    def forward(self, history: Tensor) -> Tensor:
        """(B, L, E), newest last, to the same with positions added."""
        if self.table is None:
            return history
        back = torch.arange(history.shape[1] - 1, -1, -1, device=history.device)
        return history + self.table[back.clamp(max=len(self.table) - 1)]
