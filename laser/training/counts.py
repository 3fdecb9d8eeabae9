"""The count reference: what a model could know from counting, without attention.

For each candidate it counts the behaviours on the candidate's category by action in nested windows of the
newest behaviours, and feeds the logarithms to the shared head. It is a yardstick for what a history length
holds, not a serving model.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.model import ModelConfig, RankingModel, choose


class Counts(RankingModel):
    """Options:

    windows: nested numbers of newest behaviours to count in.
    department: n, count on each n neighbouring categories as well: what could be known from counting by who
        knows which categories are related (docs/world.md). 1: not.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {"windows": [10, 50, 200, 1000], "department": 1}

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if not chosen["department"] >= 1:
            raise ModelError(f"department is {chosen['department']}, expected categories, 1 or more.")
        together = sorted({1, int(chosen["department"])})
        super().__init__(config, attended=len(together) * len(chosen["windows"]) * config.actions)
        self.windows, self.together = [int(window) for window in chosen["windows"]], together

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, windows x actions) of log(1 + count), twice with departments."""
        actions, categories = self.config.actions, self.config.categories
        lengths = batch.lengths
        rows = torch.arange(batch.requests, device=lengths.device).repeat_interleave(lengths)
        back = batch.offsets[1:].repeat_interleave(lengths) - torch.arange(len(rows), device=rows.device)
        requests = torch.arange(batch.requests, device=rows.device).unsqueeze(1)
        counts = []
        for n in self.together:
            cell = (rows * categories + batch.category // n) * actions + batch.action
            candidate = requests * categories + batch.ad_category // n
            for window in self.windows:
                total = torch.bincount(cell[back <= window], minlength=batch.requests * categories * actions)
                counts.append(total.view(-1, actions)[candidate])
        return torch.cat(counts, dim=2).float().log1p()
