"""Ranking models, one file each. Start reading at `model.py`."""

from laser.models.model import ModelConfig, RankingModel
from laser.models.registry import build_model

__all__ = ["ModelConfig", "RankingModel", "build_model"]
