"""The models of an arm: what a spec is in a world, what training made of it, and ready to score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from laser.checkpoint import CheckpointError, load
from laser.errors import ModelError
from laser.models import ModelConfig, RankingModel
from laser.scoring.live import LiveScorer
from laser.scoring.snapshot import Snapshot, freeze
from laser.training.calibration import Platt
from simulator.arms.arm import Arm, ModelSpec
from simulator.errors import short
from simulator.execution.checkpoints import file_digest
from simulator.world.protocol import Sizes

#: What an experiment's file calls them -> what a snapshot does.
PRECISIONS = {"fp32": "float32", "tf32": "tf32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class TrainedModel:
    """A model's checkpoint, its calibration at each history length, and what it scores on held-out log.

    `digest` is the checkpoint's SHA-256. Until it is calibrated, `platt` and `metrics` are empty.
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

    def note(self, root: Path) -> dict[str, Any]:
        """What a run's manifest keeps of it, so that it need not be trained and calibrated again.

        Args:
            root: the run's folder.
        """
        return {
            **self.metrics,
            "path": str(self.path.relative_to(root)),
            "sha256": self.digest,
            "calibration": {str(n): [float(p.scale), float(p.shift)] for n, p in self.platt.items()},
        }

    @classmethod
    def noted(cls, spec: ModelSpec, root: Path, note: Mapping[str, Any]) -> TrainedModel:
        """The model that a note is of.

        Raises:
            CheckpointError: its file is missing or not the one that was noted.
        """
        path = root / note["path"]
        if not path.is_file() or file_digest(path) != note["sha256"]:
            raise CheckpointError(
                f"{path}: found it missing or changed, expected the model as the run trained it. "
                "Bring it back, or run the experiment again."
            )
        platt = {int(length): Platt(*values) for length, values in note["calibration"].items()}
        metrics = {
            name: float("nan") if value is None else value
            for name, value in note.items()
            if name not in ("path", "sha256", "calibration")
        }
        return cls(spec, path, note["sha256"], platt, metrics, 0.0)


def model_config(sizes: Sizes, spec: ModelSpec) -> ModelConfig:
    """The model in a world of these sizes; `departments = true` among its options becomes the world's.

    Raises:
        ModelError: the world knows no departments, or the option is neither true nor false.
    """
    options = json.loads(spec.options)
    asked = options.pop("departments", False)
    if not isinstance(asked, bool):
        raise ModelError(
            f"departments of model {spec.kind!r} is {short(asked)}, expected true or false: the world or log "
            "says which category is of which."
        )
    if asked:
        if not sizes.departments:
            raise ModelError(
                f"the options of model {spec.kind!r} ask for departments, and this world or log has none. "
                "Set traffic.world.department, import the log with items.department in its mapping, or leave "
                "the option out."
            )
        options["departments"] = list(sizes.departments)
    return ModelConfig(
        kind=spec.kind,
        categories=sizes.categories,
        ads=sizes.ads,
        scenes=sizes.scenes,
        actions=sizes.actions,
        width=spec.width,
        options=options,
    )


def snapshots(
    arm: Arm, model: Callable[[ModelSpec], RankingModel], device: str, precision: str | None = None
) -> dict[str, Snapshot]:
    """An arm's models, ready to serve, by the keys that its ladder has for them.

    Args:
        arm: whose.
        model: gives a spec's model, trained or not.
        device: where they score.
        precision: the arm's own by default.

    Raises:
        DeviceMemoryError: the device is out of memory.
    """
    specs = {step.model or "": arm.model_of(step) for step in arm.scored_steps}
    dtype = PRECISIONS[precision or arm.settings.precision]
    return {key: freeze(model(spec), device, dtype) for key, spec in specs.items()}


def live_scorers(arm: Arm, models: Mapping[str, Snapshot], threads: int) -> dict[str, LiveScorer]:
    """The same as they score in service; `threads` of the CPU."""
    longest: dict[str, int] = {}
    for step in arm.scored_steps:
        longest[step.model or ""] = max(longest.get(step.model or "", 0), step.history)
    return {key: LiveScorer(models[key], history, threads=threads) for key, history in longest.items()}
