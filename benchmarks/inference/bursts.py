"""Traces with bursts: requests at one server, whose queue ties those of different users together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.latency import Quantile, clustered_quantile, quantile_lift
from simulator.assignment import assign

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """Requests in the order of arrival.

    Attributes:
        latency: (arms, requests) latency_ms, of each arm serving all of them.
        user_id: (requests,).
    """

    latency: F8
    user_id: NDArray[np.uint64]

    def p99(self, arm: int, rows: NDArray[np.bool_]) -> Quantile:
        """An arm's P99 over some of the requests, clustered by user."""
        found = clustered_quantile(self.latency[arm, rows], self.user_id[rows], 0.99)
        assert found is not None
        return found


def bursty_trace(seed: int, users: int, requests: int, slower: tuple[float, ...] = (1.0,)) -> Trace:
    """Latencies of a first-in-first-out server at load 0.6, a fifth of whose requests come in bursts.

    Args:
        seed: of the draws.
        users, requests: how many; a user has a service time of its own, and requests by a gamma.
        slower: of each arm, what all service times are multiplied by.
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
    return Trace(np.stack([_latency(arrival, service * factor) for factor in slower]), user)


def _latency(arrival: F8, service: F8) -> F8:
    # Lindley's recursion in closed form: waits are the distance to the running minimum.
    work = np.concatenate([[0.0], np.cumsum(service[:-1] - np.diff(arrival))])
    return work - np.minimum.accumulate(work) + service


def other_traces(
    seed: int, traces: int, users: int, requests: int, slower: tuple[float, float]
) -> tuple[int, int]:
    """Of traces whose bursts are drawn anew, how often the intervals of P99 and of its lift cover the truth.

    Args:
        seed: of the draws; the truth is the P99 of 150 other traces together.
        traces: how many, of so many users and requests each.
        slower: see `bursty_trace`, of the two arms.

    Returns:
        How often control's interval covers its own P99, and the lift's the true lift.
    """
    known = [bursty_trace(10_000 * seed + i, users, requests, slower).latency for i in range(150)]
    true = np.quantile(np.concatenate(known, axis=1), 0.99, axis=1)
    own, of_lift = 0, 0
    for i in range(traces):
        trace = bursty_trace(10_000 * (seed + 1) + i, users, requests, slower)
        treated = assign(trace.user_id, f"redrawn/{i}", (0.5, 0.5), seed) == 1
        control, treatment = trace.p99(0, ~treated), trace.p99(1, treated)
        own += control.ci is not None and control.ci[0] <= true[0] <= control.ci[1]
        ci = quantile_lift(control, treatment).ci
        of_lift += ci is not None and ci[0] <= true[1] / true[0] - 1 <= ci[1]
    return own, of_lift
