"""One arm's own values with user-clustered intervals: what a sweep plots for each arm.

A share or ratio is sum(y) / sum(x) over requests; its error follows from users' totals by the delta
method (Deng, Knoblich and Lu, arXiv:1803.06336). Lifts are estimated elsewhere, with CUPED.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from simulator.analysis.columns import AnalysisError, units_of


@dataclass(frozen=True)
class ArmValue:
    """A ratio and its interval; None where there is nothing to divide by, or too few users."""

    value: float | None
    ci: tuple[float, float] | None


def clustered_ratio(
    numerator: ArrayLike, denominator: ArrayLike, user_id: NDArray[np.uint64], level: float = 0.95
) -> ArmValue:
    """sum(numerator) / sum(denominator) with a t interval clustered by user.

    Args:
        numerator, denominator: (n,) one entry per row (a request, or a user's totals).
        user_id: (n,) whose row each is.
        level: of the interval, in (0, 1).

    Raises:
        AnalysisError: lengths differ, or level is outside (0, 1).
    """
    total = _Clustered.of(numerator, denominator, user_id, level)
    if total is None or total.se is None:
        return ArmValue(None if total is None else total.value, None)
    half = float(stats.t.ppf((1 + level) / 2, total.users - 1)) * total.se
    return ArmValue(total.value, (total.value - half, total.value + half))


def clustered_share(
    numerator: ArrayLike, denominator: ArrayLike, user_id: NDArray[np.uint64], level: float = 0.95
) -> ArmValue:
    """As `clustered_ratio`, of a share in [0, 1]: the interval stays there, and is right at 0 and 1.

    Clopper and Pearson's exact interval of a binomial of the effective number of trials: as many
    independent ones as have the variance found, adjusted for its own error (Korn and Graubard). A share of
    0 or 1 has no variance to be seen; there a user counts as one trial, as if all its requests were alike.

    Source: Korn and Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 1998.
    """
    total = _Clustered.of(numerator, denominator, user_id, level)
    if total is None or total.se is None:
        return ArmValue(None if total is None else total.value, None)
    share, users = min(max(total.value, 0.0), 1.0), total.users
    trials = total.weight if total.se == 0 else share * (1 - share) / total.se**2
    normal, own = stats.norm.isf((1 - level) / 2), stats.t.isf((1 - level) / 2, users - 1)
    trials *= float(normal / own) ** 2
    hits, tail = share * trials, (1 - level) / 2
    low = float(stats.beta.ppf(tail, hits, trials - hits + 1)) if share > 0 else 0.0
    high = float(stats.beta.isf(tail, hits + 1, trials - hits)) if share < 1 else 1.0
    return ArmValue(total.value, (low, high))


@dataclass(frozen=True)
class _Clustered:
    """A ratio, its standard error over users (None of one), and the weight of how many equal users it has."""

    value: float
    se: float | None
    users: int
    weight: float

    @classmethod
    def of(
        cls, numerator: ArrayLike, denominator: ArrayLike, user_id: NDArray[np.uint64], level: float
    ) -> _Clustered | None:
        """By users; None where there is nothing to divide by."""
        y, x = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
        if not (y.shape == x.shape == user_id.shape and y.ndim == 1) or not 0 < level < 1:
            raise AnalysisError(
                f"Numerator {y.shape}, denominator {x.shape}, users {user_id.shape}, level {level}: expected "
                "equal (n,) and a level in (0, 1). Give one entry per row."
            )
        if not x.sum() > 0:
            return None
        value = float(y.sum() / x.sum())
        users, at = units_of(user_id)
        of_user = np.bincount(at, x)
        weight = float(of_user.sum() ** 2 / (of_user @ of_user))  # Kish's
        if len(users) < 2:
            return cls(value, None, len(users), weight)
        residual = np.bincount(at, y - value * x) / x.sum()
        se = math.sqrt(float(residual @ residual) * len(users) / (len(users) - 1))
        return cls(value, se, len(users), weight)
