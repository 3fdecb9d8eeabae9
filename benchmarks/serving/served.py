"""The models that the serving benchmarks score with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.serving.latency_requests import ADS, CATEGORIES
from laser.models import ModelConfig, RankingModel, build_model
from simulator.traffic.behaviours import ACTIONS, SCENES

SEED = 1


@dataclass(frozen=True)
class Case:
    """A model in the value plane. `bar`: its name among the bars, with bar and stretch in requests/s."""

    kind: str
    history: int
    candidates: int
    bar: tuple[str, float, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    width: int = 16


def model_of(case: Case) -> RankingModel:
    """With weights that make a candidate's history matter."""
    config = ModelConfig(case.kind, CATEGORIES, ADS, SCENES, ACTIONS, case.width, case.options)
    model, draw = build_model(config, SEED), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=draw), alpha=0.02)
    return model.eval()
