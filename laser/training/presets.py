"""Training settings that work, found on simulated worlds of 30,000 to 80,000 logged requests with 8
candidates.

Each model has its own batch and learning rate, because each was tuned on its own: comparing models with one
shared setting would compare how well the setting suits them. docs/models.md has what was tried.
"""

from __future__ import annotations

from typing import Any

from laser.training.config import TrainConfig

# Options with which a model begins as the papers' text alone would have it: maps at random, no entry that
# reads nothing. benchmarks/models/table.py shows what the tuned starts add.
GENERIC_START: dict[str, dict[str, Any]] = {
    "base": {},
    "din": {"sharpness": 0.0},
    "sim": {"query_init": 0.0, "sink": None},
    "twin": {"query_init": 0.0, "sink": None},
    "transformer": {"query_init": 0.0, "own_bias": 0.0},
    "hstu": {"query_init": 0.0, "score_bias": 0.0},
    "laser": {"gate_init": 0.0, "gate_noise": 0.25, "gate_bias": 0.0, "global_init": 0.0, "sink": False},
    "stca": {"query_init": 0.0, "identity": False, "sink": None},
    "vista": {"query_init": 0.0, "own_bias": 0.0, "summary_init": 0.0},
    "vql": {"query_init": 0.0, "sink": None},
}

# Shares of the full history, so that one model serves every step of a latency ladder.
LADDER_LENGTHS = (1.0, 0.5, 0.25, 0.05)

# Requests in a batch, each with the candidates of the worlds they were found on, and the peak rate.
_CANDIDATES = 8
_BATCH_AND_RATE = {
    "base": (32, 8e-3),
    "din": (32, 6e-3),
    "laser": (64, 1e-2),
    "counts": (64, 8e-3),
    "sim": (64, 1e-2),
    "twin": (32, 6e-3),
    "transformer": (32, 6e-3),
    "hstu": (32, 6e-3),
    "stca": (64, 1e-2),
    "vista": (32, 6e-3),
    "vql": (64, 1e-2),
}
_OTHERS = (64, 6e-3)


def recommended(
    kind: str, history: int, lengths: tuple[float, ...] = (1.0,), shown: float = _CANDIDATES
) -> TrainConfig:
    """How to train a model kind at a history length; kinds without settings of their own get middling ones.

    Args:
        kind: as in ModelConfig.
        history: behaviours of a full history.
        lengths: shares of it drawn during training, such as LADDER_LENGTHS.
        shown: impressions of a request, on average. A rate suits a number of impressions, so a batch has as
            many whatever a request shows.

    Raises:
        ValueError: shown is not above 0.
    """
    if not shown > 0.0:
        raise ValueError(f"shown is {shown}, expected more than 0. Pass the mean impressions of a request.")
    batch, rate = _BATCH_AND_RATE.get(kind, _OTHERS)
    requests = max(round(batch * _CANDIDATES / shown), 1)
    return TrainConfig(history=history, lengths=lengths, batch=requests, learning_rate=rate)


def generic(history: int) -> TrainConfig:
    """One setting for every model: no rate of its own, and none for what recognises."""
    return TrainConfig(history=history, batch=64, learning_rate=4e-3, table_rate=1.0)
