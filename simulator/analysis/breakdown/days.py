"""The effect by day, of all days so far, with an interval that may be looked at on every one of them.

A day adds users, and requests of users who were there before. What an estimate is worth is told by its own
standard error: the always-valid interval counts **information**, one over the squared error, where the
published sequence counts observations. Information grows with either kind of addition, and equals the number
of observations, up to a factor, where these are independent. The sequence is tightest at half of what the
experiment ends with.

Source: as of `analysis/sequential.py`; information as the clock of a test: Scharfstein, Tsiatis and Robins,
"Semiparametric efficiency and its implication on the design and analysis of group-sequential studies", JASA
1997.
"""

from __future__ import annotations

import math
from typing import Any

from simulator.analysis.breakdown.parts import Requests
from simulator.analysis.inference import Estimate, estimate_arms
from simulator.analysis.sequential import always_valid_factor
from simulator.analysis.truth import true_lift
from simulator.metrics import Ratio

Entry = dict[str, Any]


def by_day(requests: Requests, metric: Ratio, arms: tuple[str, str], level: float) -> list[Entry]:
    """How a metric's estimate and truth grew.

    Args:
        requests: of the experiment.
        metric: which.
        arms: control and treatment.
        level: of the intervals; of the always-valid ones, of all days at once.

    Returns:
        A record for each day, from 1: lift and ci as a test that ends there would have them, always_valid,
        true_lift and true_se; None where unknown. The last day's lift and ci are the scorecard's.
    """
    days = int(requests.day.max()) + 1 if len(requests.day) else 0
    found = requests.found(requests.day, days).until()
    worlds = [requests.true(arm, requests.day, days).until() for arm in arms]
    estimates = [
        estimate_arms(
            requests.arms_of(found, day, metric), metric, arms, int(found.requests[:, day].sum()), level=level
        )
        for day in range(days)
    ]
    errors = [one.se_log for one in estimates if one.se_log]
    records = []
    for day, one in enumerate(estimates):
        control, treatment = (world.as_truth(day, requests.user_id) for world in worlds)
        true = true_lift(control, treatment, metric)
        records.append(
            {
                "day": day + 1,
                "lift": one.lift,
                "ci": one.ci,
                "always_valid": _always_valid(one, errors[-1] if errors else None, level),
                "true_lift": true.lift,
                "true_se": true.se,
            }
        )
    return records


def _always_valid(one: Estimate, last_se: float | None, level: float) -> tuple[float, float] | None:
    """The interval of a day; None where there is no estimate.

    Args:
        one: the day's estimate.
        last_se: the last day's standard error, at which all information is in.
        level: of the sequence.
    """
    if one.lift is None or not one.se_log or last_se is None:
        return None
    # Any unit does: the factor depends on the share of the information alone.
    whole = 1e6
    share = (last_se / one.se_log) ** 2
    factor = float(always_valid_factor(whole * share, whole / 2, level))
    # On the logarithm, so that no day with few clicks ends below -100 %.
    ratio, times = 1 + one.lift, math.exp(factor * one.se_log)
    return ratio / times - 1, ratio * times - 1
