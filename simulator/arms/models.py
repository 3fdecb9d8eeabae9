"""The models of an arm: what a spec is in a world, what training made of it, and ready to score."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from laser.checkpoint import load
from laser.models import ModelConfig, RankingModel
from laser.scoring.runtime import Scorer
from laser.training.calibration import Platt
from simulator.arms.arm import Arm, ModelSpec
from simulator.world.protocol import Sizes


@dataclass(frozen=True)
class TrainedModel:
    """A model's checkpoint, its calibration at each history length, and what it scores on held-out log.

    `digest` is the checkpoint's SHA-256.
    """

    spec: ModelSpec
    path: Path
    digest: str
    platt: dict[int, Platt]
    metrics: dict[str, float]
    seconds: float = field(compare=False)

    def open(self) -> RankingModel:
        """Load the weights.

        Raises:
            CheckpointError: the checkpoint is damaged.
        """
        return load(self.path)[0]


def model_config(sizes: Sizes, spec: ModelSpec) -> ModelConfig:
    """The model in a world of these sizes."""
    return ModelConfig(
        kind=spec.kind,
        categories=sizes.categories,
        ads=sizes.ads,
        scenes=sizes.scenes,
        actions=sizes.actions,
        width=spec.width,
        options=json.loads(spec.options),
    )


def scorers(
    arm: Arm, model: Callable[[ModelSpec], RankingModel], device: str, threads: int
) -> dict[str, Scorer]:
    """An arm's models by the keys that its ladder has for them.

    Args:
        arm: whose.
        model: gives a spec's model, trained or not.
        device, threads: see `Scorer`.
    """
    specs = {step.model or "": arm.model_of(step) for step in arm.scored_steps}
    return {key: Scorer(model(spec), device, threads) for key, spec in specs.items()}
