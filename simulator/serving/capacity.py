"""What an arm can do before anything queues: its unloaded P95 and its capacity.

Both speak of full-history requests (the ladder's first step) over history lengths drawn from the
trace, by draws through the profile. From them follow `budget_ms = "auto"`, the grid of budgets a
sweep visits, and the compression of log time that yields a wanted load.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import SimulatorError
from simulator.serving.arm import ServingArm
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfileServiceTimes

# The standard error of a P95 over 20,000 draws is about 0.3 % of a lognormal's (sigma 0.25).
DRAWS = 20_000
AUTO_BUDGET = 2.0  # times the slowest arm's unloaded full-history P95
SWEEP_LEAST, SWEEP_MOST = 0.3, 3.0
_SEED = 0


def _draws(
    arm: ServingArm,
    profile: ServiceProfile,
    candidates: int,
    history_available: ArrayLike,
    extrapolate: bool,
) -> tuple[ProfileServiceTimes, list[int]]:
    available = np.asarray(history_available)
    if available.size == 0:
        raise ValueError("Found no history lengths, expected those of the trace. Pass one per request.")
    # Evenly spaced ranks stand for the trace; the uniforms of each row are independent of them.
    ranks = (np.arange(DRAWS) * 0.6180339887498949) % 1.0
    lengths = np.sort(available)[(ranks * available.size).astype(np.int64)]
    times = ProfileServiceTimes(
        profile, arm, candidates, _SEED, np.arange(DRAWS, dtype=np.uint64), extrapolate=extrapolate
    )
    times.check_history(int(available.max()))
    return times, np.minimum(lengths, arm.full.history).tolist()


def unloaded_p95_s(
    arm: ServingArm,
    profile: ServiceProfile,
    candidates: int,
    history_available: ArrayLike,
    extrapolate: bool = False,
) -> float:
    """P95 of read + transport + scoring alone in its batch, for full-history requests.

    Args:
        arm: the arm.
        profile: measured spreads.
        candidates: per request.
        history_available: (R,) the trace's history lengths.
        extrapolate: see `ProfilePredictions`.

    Returns:
        Seconds.

    Raises:
        ProfileError: the profile lacks the arm's store or model, or has not measured what it is asked.
        ValueError: no history lengths.
    """
    times, histories = _draws(arm, profile, candidates, history_available, extrapolate)
    model = arm.full.model or ""
    totals = [
        times.store_s(r, h) + times.transport_s(r, h) + times.score_s((r,), model, (h,))
        for r, h in enumerate(histories)
    ]
    return float(np.quantile(totals, 0.95))


def capacity_rps(
    arm: ServingArm,
    profile: ServiceProfile,
    candidates: int,
    history_available: ArrayLike,
    extrapolate: bool = False,
) -> float:
    """Requests per second that the arm's slowest stage sustains at full history and full batches.

    Args and errors: as `unloaded_p95_s`.
    """
    times, histories = _draws(arm, profile, candidates, history_available, extrapolate)
    fetch_s = np.mean([times.store_s(r, h) + times.transport_s(r, h) for r, h in enumerate(histories)])
    model, size = arm.full.model or "", arm.max_batch
    batch_s = np.mean(
        [
            times.score_s(range(r, r + size), model, histories[r : r + size])
            for r in range(0, DRAWS - size + 1, size)
        ]
    )
    return float(min(arm.store_workers / fetch_s, arm.scorers * size / batch_s))


def time_compression(arrival_s: ArrayLike, load: float, slowest_rps: float) -> float:
    """Log seconds per timing-plane second, so that the mean arrival rate is load x capacity.

    timing-plane arrivals = (arrival_s - arrival_s[0]) / time_compression. One factor serves all
    arms, from the slowest arm's capacity; service times are never scaled.

    Args:
        arrival_s: (R,) ascending log time, s.
        load: share of the slowest arm's capacity, above 0 (above 1 is an overload).
        slowest_rps: the least `capacity_rps` of the arms.

    Raises:
        ValueError: fewer than two distinct arrivals, or a load or capacity not above 0.
    """
    arrivals = np.asarray(arrival_s, dtype=np.float64)
    if arrivals.size < 2 or not arrivals[-1] > arrivals[0]:
        raise SimulatorError(
            f"Found {arrivals.size} arrivals without a span of time, expected at least two at different "
            "times. Use a longer trace."
        )
    if not (load > 0.0 and slowest_rps > 0.0):
        raise SimulatorError(
            f"Found load {load} of a capacity of {slowest_rps} requests/s, expected both above 0. "
            "Set a load such as 0.6."
        )
    log_rate = (arrivals.size - 1) / (arrivals[-1] - arrivals[0])
    return float(load * slowest_rps / log_rate)


def sim_arrivals(arrival_s: ArrayLike, compression: float) -> NDArray[np.float64]:
    """Log time to timing-plane seconds, from 0."""
    arrivals = np.asarray(arrival_s, dtype=np.float64)
    seconds: NDArray[np.float64] = (arrivals - arrivals[:1]) / compression
    return seconds


def budget_grid(p95_s: float, points: int = 10) -> NDArray[np.float64]:
    """Budgets of a sweep, s: evenly spaced in log from 0.3 to 3 times an unloaded P95.

    Raises:
        ValueError: fewer than two points, or a P95 not above 0.
    """
    if points < 2 or not p95_s > 0.0:
        raise ValueError(
            f"Found {points} points and a P95 of {p95_s} s, expected at least 2 points and a P95 above 0."
        )
    return p95_s * np.geomspace(SWEEP_LEAST, SWEEP_MOST, points)
