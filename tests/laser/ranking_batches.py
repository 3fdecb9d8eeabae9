"""Random batches and small model configurations for the tests of `laser`."""

from __future__ import annotations

import numpy as np
from miniature import ACTIONS, SCENES

from laser.batch import RankingBatch
from laser.models import ModelConfig

CATEGORIES, ADS = 30, 50
KINDS = ("base", "din", "sim", "twin", "transformer", "hstu", "laser", "stca", "vista", "vql")


def random_batch(lengths: list[int], candidates: int = 4, seed: int = 0, **changes: object) -> RankingBatch:
    """A batch with histories of these lengths."""
    rng = np.random.default_rng(seed)
    n, shape = sum(lengths), (len(lengths), candidates)
    columns: dict[str, object] = {
        "category": rng.integers(CATEGORIES, size=n),
        "action": rng.integers(ACTIONS, size=n),
        "scene": rng.integers(SCENES, size=n),
        "age_s": rng.lognormal(9.0, 3.0, n),
        "dwell_s": rng.integers(100, size=n).astype(np.float32),
        "offsets": np.cumsum([0, *lengths]),
        "ad": rng.integers(ADS, size=shape),
        "ad_category": rng.integers(CATEGORIES, size=shape),
        "position": rng.integers(8, size=shape),
        "hour": rng.uniform(0, 24, len(lengths)),
        "propensity": rng.normal(size=len(lengths)),
    }
    return RankingBatch.from_numpy(**{**columns, **changes})  # type: ignore[arg-type]


def config(kind: str, width: int = 8, **options: object) -> ModelConfig:
    return ModelConfig(kind, CATEGORIES, ADS, SCENES, ACTIONS, width, dict(options))
