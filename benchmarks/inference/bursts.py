"""A trace with bursts: requests at one server, whose queue ties those of different users together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]


def bursty_trace(seed: int, users: int, requests: int) -> tuple[F8, NDArray[np.uint64], NDArray[np.int64]]:
    """Latencies of a first-in-first-out server at load 0.6, a fifth of whose requests come in bursts.

    Args:
        seed: of the draws.
        users, requests: how many; a user has a service time of its own, and requests by a gamma.

    Returns:
        latency_ms, user_id and the arrival's block of time (one of 200): (requests,) each.
    """
    rng = np.random.default_rng(seed)
    weight = rng.gamma(2.0, 1.0, users)
    user = rng.choice(users, requests, p=weight / weight.sum()).astype(np.uint64)
    burst = rng.integers(0, max(1, requests // 500), requests)
    centre = rng.random(burst.max() + 1)
    together = rng.random(requests) < 0.2
    arrival = np.where(together, centre[burst] + rng.exponential(1e-5, requests), rng.random(requests))
    order = np.argsort(arrival)
    arrival, user = arrival[order] * requests / 0.6, user[order]
    service = rng.lognormal(-0.1, 0.3, requests) * rng.lognormal(0, 0.3, users)[user.astype(np.int64)]
    # Lindley's recursion in closed form: waits are the distance to the running minimum.
    work = np.concatenate([[0.0], np.cumsum(service[:-1] - np.diff(arrival))])
    wait = work - np.minimum.accumulate(work)
    return wait + service, user, (200 * np.arange(requests)) // requests
