"""Which arm a unit belongs to: a salted hash, the same wherever and whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.draws import uniform
from simulator.errors import SimulatorError


class SplitError(SimulatorError):
    """Shares that are no split."""


def assign(
    user_ids: ArrayLike, salt: str, split: Mapping[str, float] | tuple[float, ...], seed: int = 0
) -> NDArray[np.int64]:
    """The arm of each unit.

    A unit's number `uniform(seed, "assign/" + salt, id)` falls into one of the arms' shares, laid
    side by side in order; another salt is an independent assignment, and growing the last share
    at the cost of the one before moves only units between these two.

    Args:
        user_ids: integers, any shape.
        salt: any text.
        split: share of each arm, in the arms' order; a mapping's values are taken in its order.
        seed: the experiment's seed.

    Returns:
        int64 arm index, of the ids' shape.

    Raises:
        SplitError: a share is negative or not a number, or they do not sum to 1.
    """
    shares = np.asarray(tuple(split.values()) if isinstance(split, Mapping) else split, np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise SplitError(
            f"The split is {shares.tolist()}, expected shares >= 0 that sum to 1. "
            "Give one share per arm, such as [0.5, 0.5]."
        )
    edges = np.cumsum(shares)[:-1]
    draws = uniform(seed, f"assign/{salt}", np.asarray(user_ids))
    return np.searchsorted(edges, draws, side="right").astype(np.int64)
