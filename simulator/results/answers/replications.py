"""What another world and another training would change: the spread over seeds, beside the error in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from simulator.results.answers.grid import Point, groups_of

SEED = "seed"


def replications(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Each treatment at each setting, over the seeds it was simulated at; none where there is but one.

    Each seed is a world of its own, with its own trainings. `spread` is the standard deviation of the true
    lift over seeds, `within` the root mean square of its error in one world, `se` that of the mean over
    seeds, and `covered` the share of A/Bs whose interval holds the truth of their own world.
    """
    found = []
    for at, group in groups_of(points, lambda key: key != SEED):
        for arm in group[0].treatments:
            lifts = [point.lift(arm) for point in group]
            true = [lift.true for lift in lifts if lift.true is not None]
            if len(true) < 2:
                continue
            errors = [lift.true_se for lift in lifts if lift.true_se is not None]
            told = [
                lift.ci[0] <= lift.true <= lift.ci[1]
                for lift in lifts
                if lift.ci is not None and lift.true is not None
            ]
            found.append(
                {
                    "treatment": arm,
                    "at": dict(at),
                    "seeds": len(true),
                    "true_value": fmean(true),
                    "se": stdev(true) / math.sqrt(len(true)),
                    "spread": stdev(true),
                    "within": math.sqrt(fmean(error**2 for error in errors)) if errors else None,
                    "covered": fmean(told) if told else None,
                    "least": min(true),
                    "most": max(true),
                }
            )
    return found
