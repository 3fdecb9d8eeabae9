"""Summaries that an arm keeps of its users: when they were made, and what a request therefore sees.

A model that reads a user through a summary (VISTA, VQL) needs no history at a request, if a server keeps the
summary and makes it anew now and then. The value plane scores what such a server would: the history as it was
when the summary was last refreshed, with the ages it had then. That is a function of the request and the arm
alone. What keeping costs is in `summary_times.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm
from simulator.arms.plan import Plan
from simulator.draws import uniform
from simulator.serving.arm import LadderStep


@dataclass(frozen=True)
class Refreshes:
    """The summaries that a trace's requests read.

    Attributes:
        moment_s: (R,) f8, log time at which each request's summary was made.
        before_s: (R,) i8, what was readable then: behaviours with time_s below it.
        due: (R,) bool, the first request that reads a summary: the one for which it was made.
    """

    moment_s: NDArray[np.float64]
    before_s: NDArray[np.int64]
    due: NDArray[np.bool_]


def summary_inputs(plan: Plan, arm: Arm, step: LadderStep) -> tuple[float, int] | None:
    """What a step's scores are made from beside model, history and data; None where no summary is kept."""
    if arm.settings.summary is None or not arm.keeps_summary(step):
        return None
    return arm.settings.summary.refresh_s, plan.config.seed


def refreshes_of(plan: Plan, arm: Arm) -> Refreshes | None:
    """When each request's summary was made; None for an arm that keeps none.

    A user's summary is refreshed every `refresh_s`, from a moment of the user's own, so that not all are due
    at once; one that no request reads is not made.
    """
    if arm.settings.summary is None:
        return None
    requests, refresh_s = plan.prepared.requests, arm.settings.summary.refresh_s
    phase_s = uniform(plan.config.seed, "summary phase", requests.user_id) * refresh_s
    interval = np.floor((requests.arrival_s - phase_s) / refresh_s)
    # Rounding must not put a refresh behind its request.
    moment_s = np.minimum(interval * refresh_s + phase_s, requests.arrival_s)
    users = np.unique(requests.user_id, return_inverse=True)[1].astype(np.float64)
    _, first = np.unique(np.stack([users, interval]), axis=1, return_index=True)
    due = np.zeros(len(requests), np.bool_)
    due[first] = True
    delay_s = plan.config.experiment.ingest_delay_s
    return Refreshes(moment_s, np.ceil(moment_s - delay_s).astype(np.int64), due)
