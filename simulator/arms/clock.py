"""The timing plane of an experiment: every arm serves the whole trace on its own servers.

From here come the budget, the compression of log time, and when, and by which ladder step, each
arm answers each request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm
from simulator.arms.plan import Plan
from simulator.serving.capacity import (
    AUTO_BUDGET,
    capacity_rps,
    sim_arrivals,
    time_compression,
    unloaded_p95_s,
)
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfileServiceTimes


@dataclass(frozen=True)
class Clock:
    """What turns log time into queues and deadlines; the same for every arm and sweep cell.

    Attributes:
        compression: log seconds per timing-plane second.
        unloaded_p95_s: of the slowest arm, full history.
        budget_s: the experiment's own budget, None for no deadline.
        capacity_rps: by arm, full history.
        sim_arrival_s: (R,) timing-plane seconds.
    """

    compression: float
    unloaded_p95_s: float
    budget_s: float | None
    capacity_rps: dict[str, float]
    sim_arrival_s: NDArray[np.float64]


def make_clock(plan: Plan, profile: ServiceProfile) -> Clock:
    """Size the timing plane by the profile.

    Raises:
        ProfileError: the profile lacks an arm's store or model.
    """
    config, requests, available = plan.config, plan.prepared.requests, plan.prepared.history_available
    candidates = requests.candidates.shape[1]
    capacity = {a.name: capacity_rps(a.serving, profile, candidates, available) for a in plan.arms}
    # Of every arm: the budget must leave room for each of them, or it decides the test by itself.
    p95_s = max(unloaded_p95_s(a.serving, profile, candidates, available) for a in plan.arms)
    asked = config.traffic.time_compression
    compression = (
        time_compression(requests.arrival_s, config.traffic.load, min(capacity.values()))
        if asked == "auto"
        else float(asked)
    )
    budget_s = AUTO_BUDGET * p95_s if config.experiment.budget_ms == "auto" else config.experiment.budget_s
    return Clock(compression, p95_s, budget_s, capacity, sim_arrivals(requests.arrival_s, compression))


def profile_times(plan: Plan, arm: Arm, profile: ServiceProfile) -> ProfileServiceTimes:
    """One arm's drawn service times."""
    requests = plan.prepared.requests
    return ProfileServiceTimes(
        profile, arm.serving, requests.candidates.shape[1], plan.config.seed, requests.request_id
    )
