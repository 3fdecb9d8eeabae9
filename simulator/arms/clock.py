"""The timing plane of an experiment: every arm serves the whole trace on its own servers.

From here come the budget, the compression of log time, and when, and by which ladder step, each
arm answers each request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm
from simulator.arms.arrivals import repeated
from simulator.arms.plan import Plan
from simulator.arms.summary_times import served_profile
from simulator.config.settings import Summary
from simulator.serving.arm import ServingArm
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
        moments_s: (R,) when requests come: log time, or that of a trace of arrivals.
        compression: seconds of these per timing-plane second.
        unloaded_p95_s: of the slowest arm, full history.
        budget_s: the experiment's own budget, None for no deadline.
        capacity_rps: by arm, full history.
    """

    moments_s: NDArray[np.float64] = field(compare=False, repr=False)
    compression: float
    unloaded_p95_s: float
    budget_s: float | None
    capacity_rps: dict[str, float]

    @property
    def sim_arrival_s(self) -> NDArray[np.float64]:
        """(R,) when requests come, in timing-plane seconds."""
        return sim_arrivals(self.moments_s, self.compression)


# (capacity, unloaded P95) by what they depend on within one world: the profile's identity and the arm.
Sizes = dict[tuple[int, ServingArm, Summary | None], tuple[float, float]]


def make_clock(
    plan: Plan, profile: ServiceProfile, known: Sizes | None = None, settled: Clock | None = None
) -> Clock:
    """Size the timing plane by the profile.

    Args:
        plan: the experiment.
        profile: its service times.
        known: what other experiments in this world found; what is found now is added.
        settled: the clock of the experiment that this one is a change of: an automatic budget is that one's,
            and a load is a share of its slowest arm's capacity. So what is asked of the arms stays the same
            where only the arms differ.

    Raises:
        ProfileError: the profile lacks an arm's store or model.
    """
    config, requests, available = plan.config, plan.prepared.requests, plan.prepared.history_available
    candidates = requests.candidates.shape[1]
    sizes = {} if known is None else known
    # A summary's cost also depends on when it is made anew.
    keys = {arm.name: (id(profile), arm.serving, arm.settings.summary) for arm in plan.arms}
    for arm in plan.arms:
        key = keys[arm.name]
        if key not in sizes:
            extrapolate = config.experiment.extrapolate
            arguments = (arm.serving, served_profile(plan, arm, profile), candidates, available, extrapolate)
            sizes[key] = capacity_rps(*arguments), unloaded_p95_s(*arguments)
    capacity = {name: sizes[key][0] for name, key in keys.items()}
    # Of every arm: the budget must leave room for each of them, or it decides the test by itself.
    p95_s = max(sizes[key][1] for key in keys.values())
    slowest_rps, asked_p95_s = min(capacity.values()), p95_s
    if settled is not None:
        slowest_rps, asked_p95_s = min(settled.capacity_rps.values()), settled.unloaded_p95_s
    asked = config.traffic.time_compression
    # A load is a share of the slowest arm's capacity, a rate stands by itself.
    load, rate = config.traffic.load, config.traffic.requests_per_s
    share, of_rps = (1.0, rate) if rate is not None else (load or 0.0, slowest_rps)
    moments_s = requests.arrival_s if plan.arrivals is None else repeated(plan.arrivals, len(requests))
    compression = time_compression(moments_s, share, of_rps) if asked == "auto" else float(asked)
    budget_s = (
        AUTO_BUDGET * asked_p95_s if config.experiment.budget_ms == "auto" else config.experiment.budget_s
    )
    return Clock(moments_s, compression, p95_s, budget_s, capacity)


def profile_times(plan: Plan, arm: Arm, profile: ServiceProfile) -> ProfileServiceTimes:
    """One arm's drawn service times."""
    requests, config = plan.prepared.requests, plan.config
    return ProfileServiceTimes(
        served_profile(plan, arm, profile),
        arm.serving,
        requests.candidates.shape[1],
        config.seed,
        requests.request_id,
        extrapolate=config.experiment.extrapolate,
    )
