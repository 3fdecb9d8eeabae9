"""Does a ratio change over the days? A contrast of days, clustered by user.

Letters: U users, D days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from simulator.analysis.health.logs import F8
from simulator.results.scorecard import MIN_EVENTS


@dataclass(frozen=True)
class Change:
    """By how much the logarithm of a ratio changes along a contrast of days, and its standard error."""

    size: float
    se: float

    def __sub__(self, other: Change) -> Change:
        """One arm's change beyond another's, whose users are different people; none if one is unknown."""
        if 0 in (self.se, other.se):
            return Change(0.0, 0.0)
        return Change(self.size - other.size, math.hypot(self.se, other.se))

    @property
    def p_value(self) -> float:
        """Two-sided, of no change."""
        return float(2 * stats.norm.sf(abs(self.size) / self.se)) if self.se > 0 else 1.0


def change(numerator: F8, denominator: F8, days: Sequence[float] | F8) -> Change:
    """How sum(numerator) / sum(denominator) changes along the days.

    The contrast is centred where it is uncorrelated with the ratio's mean, so that a user's part in it is the
    sum of (day − centre)·(numerator − ratio·denominator): a user who always clicks more moves nothing. The
    error is that of the parts around the change (the delta method, clustered by user).

    Of fewer than MIN_EVENTS users with any of the numerator nothing is said: size and error are 0.

    Args:
        numerator, denominator: (U, D).
        days: (D,) such as 0, 1, 2, ... for a trend, or 0, 0, 1 for a step; the size is per unit of it.
    """
    below = denominator.sum(0)
    if not below.sum() > 0 or np.count_nonzero(numerator.any(1)) < MIN_EVENTS:
        return Change(0.0, 0.0)
    along = np.asarray(days, np.float64)
    along = along - float(along @ below / below.sum())
    ratio = float(numerator.sum() / below.sum())
    parts = (numerator - ratio * denominator) @ along
    scale = ratio * float(along**2 @ below)
    if scale == 0:
        return Change(0.0, 0.0)
    users, size = len(parts), float(parts.sum()) / scale
    around = parts - size * ratio * (denominator @ along**2)
    spread = math.sqrt(float(around @ around) * users / max(users - 1, 1))
    return Change(size, spread / scale)
