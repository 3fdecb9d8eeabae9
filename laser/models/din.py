"""DIN: the recent history, summed by the activation unit's weights.

Source: Deep Interest Network, arXiv:1706.06978.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.reading import ActivationReading


class Din(RankingModel):
    """Options:

    hidden: units of the activation unit. time_gap: embed the behaviours' ages.
    sharpness, bias: of its first unit at the start, see `ActivationUnit`.
    whole, pairs: closer to the paper and dearer, see `ActivationReading`.
    """

    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "hidden": 32,
        "time_gap": True,
        "sharpness": 6.0,
        "bias": -3.0,
        "whole": False,
        "pairs": False,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        super().__init__(config, attended=config.width + KIND_WIDTH)
        self.reading = ActivationReading(config.width, config.actions, config.scenes, **chosen)

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, D + KIND_WIDTH), the activation-weighted sum of each history."""
        attended: Tensor = self.reading(batch, self.category.weight, target)
        return attended
