"""The luck of requests: which quantile of a stage's spread each of them gets.

A machine is not slow at random: a stretch of slowness, a few calls or a second long, meets requests that
follow one another, and queues grow by it. So where a profile knows the order of its samples, ten requests
in a row get the quantiles of ten samples taken in a row, of a cell drawn from all of the stage: every cell's
spread is kept, and so is what a sample says of the next. Where it does not know, each request draws its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.draws import uniform
from simulator.serving.profile import VISIT, ServiceProfile

F8 = NDArray[np.float64]


def luck(profile: ServiceProfile, stage: str, seed: int, request_ids: ArrayLike, first: int = 0) -> F8:
    """Quantiles, keyed by seed, stage and request (or its ten), never by the arm: luck is common to all.

    Args:
        profile: measured spreads.
        stage: "store", "transport" or "score".
        seed: the experiment's.
        request_ids: (R,) unsigned integers, in the trace's order.
        first: the row of the first of them.

    Returns:
        (R,) float64 in [0, 1].
    """
    ids = np.asarray(request_ids)
    visits = visits_of(profile, stage)
    if len(visits) == 0:
        return uniform(seed, f"service-{stage}", ids)
    before = first // VISIT
    blocks = np.arange(before, -(-(first + len(ids)) // VISIT))
    chosen = (uniform(seed, f"service-{stage} visit", blocks) * len(visits)).astype(np.int64)
    drawn: F8 = visits[chosen].reshape(-1)[first - before * VISIT :][: len(ids)]
    return drawn


def visits_of(profile: ServiceProfile, stage: str) -> F8:
    """(N, VISIT) quantiles of the samples of every visit to a stage's cells; none where order is unknown."""
    found = [np.empty((0, VISIT))]
    for place, grid in profile.order.items():
        if place.partition("/")[0] == stage:
            for order in grid.values():
                ranks = np.array(order, np.float64) / (len(order) - 1)
                found.append(ranks[: len(ranks) // VISIT * VISIT].reshape(-1, VISIT))
    return np.concatenate(found)
