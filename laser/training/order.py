"""Which requests each step learns from, and how much of their history: the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.errors import TrainingError
from laser.training.config import TrainConfig

_MULTIPLE = 8  # of drawn lengths


def held_out_rows(
    train: TrainConfig, request_time_s: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The requests to learn from and those to watch, which are the latest; each ascending.

    Later ones, because that is what a model is for: a random share has its users and days in training too.

    Args:
        request_time_s: (R,); of equal times the later row counts as later.

    Raises:
        TrainingError: one of them would be empty.
    """
    examples = len(request_time_s)
    if not train.held_out:
        return np.arange(examples), np.arange(0)
    order = np.argsort(request_time_s, kind="stable")
    watched = round(train.held_out * examples)
    if not 0 < watched < examples:
        raise TrainingError(
            f"held_out is {train.held_out} of {examples} requests, expected one request or more on "
            "either side."
        )
    return np.sort(order[: examples - watched]), np.sort(order[examples - watched :])


def steps_of(train: TrainConfig, examples: int) -> int:
    """Steps of a whole training."""
    return -(-examples // train.batch) * train.epochs


def batches(train: TrainConfig, examples: int, seed: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The places among the examples and the history length of every step."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    for _ in range(train.epochs):
        order = draws.permutation(examples)
        for start in range(0, examples, train.batch):
            yield order[start : start + train.batch], drawn_length(train, draws)


def drawn_length(train: TrainConfig, draws: np.random.Generator) -> int:
    """One batch's history length."""
    if train.length_beta is None:
        return round(train.history * train.lengths[int(draws.integers(len(train.lengths)))])
    share = draws.beta(*train.length_beta)
    length = round((train.least + share * (train.history - train.least)) / _MULTIPLE) * _MULTIPLE
    longest = max(train.history // _MULTIPLE * _MULTIPLE, min(train.history, _MULTIPLE))
    return min(max(length, _MULTIPLE), longest)
