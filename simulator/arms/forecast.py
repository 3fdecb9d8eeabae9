"""What an experiment will take and be able to tell, before it runs: from its file and its profile alone.

Start at `forecast`. Figures are for an order of magnitude; the run's manifest has what it took.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1, log1p, sqrt

import numpy as np

from simulator.arms.arm import arms_of
from simulator.config.load import ExperimentConfig
from simulator.inputs.extent import extent_of
from simulator.serving.capacity import capacity_rps
from simulator.serving.profile import load

# ADVV's smallest detectable lift at 40,000 requests in two equal arms. By their own A/Bs it is 30 % in the
# `quick` world, 26 % in the demo and 28 % in the `paper` one. Its logarithm falls as one over the root of the
# requests, as in `simulator.analysis.power`.
_MDE, _MDE_REQUESTS = 0.28, 40_000
#: A lift that one would like to find.
SOUGHT = 0.02
# Histories, candidates and scores lie in files. Seen: .66 GiB for the demo, .71 at 100,000 requests, .86 at
# 10^6, which this is within 7 % of; of more it is an extrapolation.
_FIXED_GIB, _REQUEST_BYTES = 0.7, 175


@dataclass(frozen=True)
class Forecast:
    """About what a run takes.

    Attributes:
        requests_per_s: arrivals in simulated seconds, of every arm; None where the profile is measured later.
        scoring_minutes: of one process, if every request is answered at full history and nothing was kept.
        memory_gib: of one process.
        detectable_lift: of ADVV per request, in the worst-off treatment, with 80 % power; a fraction.
        requests_to_find: requests of all arms, the pre-period's not counted, that find `SOUGHT` likewise.
    """

    requests_per_s: float | None
    scoring_minutes: float | None
    memory_gib: float
    detectable_lift: float
    requests_to_find: int


def forecast(config: ExperimentConfig) -> Forecast:
    """What an experiment will take.

    Raises:
        SimulatorError: the world cannot be built, the profile not read, or it lacks a store or model.
    """
    arms, extent = arms_of(config), extent_of(config)
    rates = []
    if config.experiment.service_times == "profile":
        profile = load(config.experiment.profile_path)
        for arm in arms:
            full = np.array([min(arm.settings.history, extent.longest)])
            # What the profile has not measured is refused elsewhere, or allowed to be extrapolated.
            rps = capacity_rps(arm.serving, profile, extent.candidates, full, extrapolate=True)
            rates.append(rps / arm.serving.scorers)
    arriving = config.traffic.requests_per_s
    if rates and config.traffic.load is not None:
        whole = [rate * arm.serving.scorers for rate, arm in zip(rates, arms, strict=True)]
        arriving = config.traffic.load * min(whole)
    inside = extent.requests / (extent.pre_days + extent.days) * extent.days
    control = config.experiment.split[config.experiment.control]
    smallest = min(
        share for name, share in config.experiment.split.items() if name != config.experiment.control
    )
    # Of two arms of unequal size the error is that of two equal ones of their harmonic mean.
    judged = inside * 2 * 2 / (1 / control + 1 / smallest)
    log_lift = log1p(_MDE) * sqrt(_MDE_REQUESTS / judged)
    return Forecast(
        requests_per_s=arriving,
        scoring_minutes=extent.requests * sum(1 / rate for rate in rates) / 60 if rates else None,
        memory_gib=_FIXED_GIB + extent.requests * _REQUEST_BYTES / 2**30,
        detectable_lift=expm1(log_lift),
        requests_to_find=ceil(inside * (log_lift / log1p(SOUGHT)) ** 2),
    )
