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

from simulator.analysis.columns import AnalysisError


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
    y, x = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if not (y.shape == x.shape == user_id.shape and y.ndim == 1) or not 0 < level < 1:
        raise AnalysisError(
            f"Numerator {y.shape}, denominator {x.shape}, users {user_id.shape}, level {level}: expected "
            "equal (n,) and a level in (0, 1). Give one entry per row."
        )
    if not x.sum() > 0:
        return ArmValue(None, None)
    value = float(y.sum() / x.sum())
    users, at = np.unique(user_id, return_inverse=True)
    if len(users) < 2:
        return ArmValue(value, None)
    residual = np.bincount(at, y - value * x) / x.sum()
    se = math.sqrt(float(residual @ residual) * len(users) / (len(users) - 1))
    half = float(stats.t.ppf((1 + level) / 2, len(users) - 1)) * se
    return ArmValue(value, (value - half, value + half))
