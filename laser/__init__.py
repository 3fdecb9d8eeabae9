"""LASER: scores candidates from long behaviour histories. Start at `batch.py`.

The names below build, train and serve a model; each is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laser.batch import RankingBatch as RankingBatch
    from laser.checkpoint import CheckpointError as CheckpointError
    from laser.errors import LaserError as LaserError
    from laser.errors import ModelError as ModelError
    from laser.errors import TrainingError as TrainingError
    from laser.examples import ExampleSet as ExampleSet
    from laser.models.model import ModelConfig as ModelConfig
    from laser.models.model import RankingModel as RankingModel
    from laser.models.registry import build_model as build_model
    from laser.scoring.runtime import DeviceError as DeviceError
    from laser.scoring.runtime import Scorer as Scorer
    from laser.scoring.snapshot import ScoreError as ScoreError
    from laser.training.config import TrainConfig as TrainConfig
    from laser.training.loop import train as train
    from laser.training.presets import recommended as recommended

_HOMES = {
    "CheckpointError": "laser.checkpoint",
    "DeviceError": "laser.scoring.runtime",
    "ExampleSet": "laser.examples",
    "LaserError": "laser.errors",
    "ModelConfig": "laser.models.model",
    "ModelError": "laser.errors",
    "RankingBatch": "laser.batch",
    "RankingModel": "laser.models.model",
    "ScoreError": "laser.scoring.snapshot",
    "Scorer": "laser.scoring.runtime",
    "TrainConfig": "laser.training.config",
    "TrainingError": "laser.errors",
    "build_model": "laser.models.registry",
    "recommended": "laser.training.presets",
    "train": "laser.training.loop",
}
__all__ = list(_HOMES)


# PEP 562: importing torch takes over two seconds, which a module that only names a model need not.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
