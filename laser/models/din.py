"""DIN: the recent history, summed by the activation unit's weights.

Source: Deep Interest Network, arXiv:1706.06978.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from laser.attention.activation_unit import ActivationUnit
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose


class Din(RankingModel):
    """Options: `hidden` units of the activation unit, `time_gap` embedding, `sharpness` of its first unit."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "hidden": 32,
        "time_gap": True,
        "sharpness": 6.0,
        "bias": -3.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        super().__init__(config, attended=config.width + KIND_WIDTH)
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.unit = ActivationUnit(
            config.width, config.width + KIND_WIDTH, chosen["hidden"], chosen["sharpness"], chosen["bias"]
        )

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, D + KIND_WIDTH), the activation-weighted sum of each history."""
        history, _ = self.history(batch, self.category.weight)
        attended: Tensor = self.unit(target, history)
        return attended
