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
from laser.models.model import ModelConfig, RankingModel, choose


class Counts(RankingModel):
    """Options: `windows`, nested numbers of newest behaviours to count in."""

    OPTIONS: ClassVar[dict[str, Any]] = {"windows": [10, 50, 200, 1000]}

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        super().__init__(config, attended=len(chosen["windows"]) * config.actions)
        self.windows = [int(window) for window in chosen["windows"]]

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, windows x actions) of log(1 + count)."""
        actions, categories = self.config.actions, self.config.categories
        lengths = batch.lengths
        rows = torch.arange(batch.requests, device=lengths.device).repeat_interleave(lengths)
        back = batch.offsets[1:].repeat_interleave(lengths) - torch.arange(len(rows), device=rows.device)
        cell = (rows * categories + batch.category) * actions + batch.action
        candidate = (
            torch.arange(batch.requests, device=rows.device).unsqueeze(1) * categories + batch.ad_category
        )
        counts = []
        for window in self.windows:
            total = torch.bincount(cell[back <= window], minlength=batch.requests * categories * actions)
            counts.append(total.view(-1, actions)[candidate])
        return torch.cat(counts, dim=2).float().log1p()
