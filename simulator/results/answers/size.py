"""How large a world must be for an A/B to show what is so. Start at `size_to_tell`.

An interval narrows as one over the root of the size. What it takes follows from how wide it is now, and how
far the truth lies from the limit that the interval must leave out.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from simulator.results.answers.grid import Known, Point

#: The chance with which a test of the needed size shows what is so.
POWER = 0.80


def reach(level: float, power: float = POWER) -> float:
    """How many standard errors away a two-sided test at 1 - level finds an effect with some power."""
    normal = NormalDist()
    return normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)


def size_to_tell(point: Point, known: Known, limit: float) -> dict[str, int] | None:
    """Requests and users of an experiment that shows on which side of a limit a number lies.

    Args:
        point: the cell whose A/B was too small.
        known: the number, its interval over users and its truth.
        limit: what the interval is to leave out.

    Returns:
        None where there is no interval, or the truth lies on the limit: no size would tell.
    """
    low, high = known.ends
    if known.value is None or known.true is None or low is None or high is None or known.true == limit:
        return None
    half = high - known.value if known.true < limit else known.value - low
    level = float(point.card.get("level") or 0.95)
    errors = reach(level) / NormalDist().inv_cdf((1 + level) / 2)
    times = (errors * half / (known.true - limit)) ** 2
    arms = point.card["arms"].values()
    requests, users = (sum(arm[count] for arm in arms) for count in ("requests", "units"))
    return {"requests": math.ceil(times * requests), "users": math.ceil(times * users)}


def largest(sizes: list[dict[str, int] | None]) -> dict[str, Any] | None:
    """The size that shows all of them; None of none, or where no size shows one."""
    if not sizes or None in sizes:
        return None
    return max((size for size in sizes if size is not None), key=lambda size: size["requests"])
