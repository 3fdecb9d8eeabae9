"""What a test of this size can see."""

from __future__ import annotations

import math

from scipy import stats

ALPHA = 0.05
POWER = 0.80
_QUANTILES = float(stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER))  # 1.960 + 0.842


def mde(se_log: float) -> float:
    """Smallest true lift a two-sided 5 % test finds with 80 % power, from its standard error."""
    return math.exp(_QUANTILES * se_log) - 1


def power(lift: float, se_log: float) -> float:
    """Chance that a two-sided 5 % test finds a true lift > -1."""
    if se_log == 0:
        return float(lift != 0)
    shift, edge = math.log1p(lift) / se_log, stats.norm.ppf(1 - ALPHA / 2)
    return float(stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift))
