"""Base: no history. The floor that every other model must clear."""

from __future__ import annotations

from laser.models.model import ModelConfig, RankingModel


class Base(RankingModel):
    """The shared head alone: ad, category, position, hour and propensity."""

    FIXED_SHAPES = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, attended=0)
