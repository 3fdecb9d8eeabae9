"""Ranking models, one file each.

Start at `model.py`, which all of them share; `din.py` is the shortest worth reading.
"""

from laser.models.model import ModelConfig, RankingModel
from laser.models.registry import build_model

__all__ = ["ModelConfig", "RankingModel", "build_model"]
