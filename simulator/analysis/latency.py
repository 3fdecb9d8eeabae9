"""Latency quantiles with intervals that know requests of one user resemble each other.

One quantile rule everywhere: linear interpolation between order statistics (numpy's default,
DuckDB's `quantile_cont`). An interval's bounds are quantiles too, at shares p ∓ t·s, where s is the
user-clustered standard error of the share of requests above the estimate. t has Satterthwaite's
degrees of freedom of the users' contributions: few users make up the slowest 1 %.

The interval covers the sampling of users. Bursts in a queue also tie requests of different users
together; replications with other seeds show that part.

Source: Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018,
arXiv:1803.06336, section 4.2 (the "outer" interval).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simulator.analysis.columns import AnalysisError
from simulator.analysis.power import mde

F8 = NDArray[np.float64]


def quantile(values: F8, p: float) -> float | None:
    """The p-quantile by the project's one rule; None of nothing."""
    return float(np.quantile(values, p)) if len(values) else None


@dataclass(frozen=True)
class Quantile:
    """A quantile of one arm.

    value: the quantile; ci: its interval, None where a bound lies beyond the data.
    se_log: standard error of log(value); df: its degrees of freedom.
    influence: (U,) what each user adds to log(value), in the order of `users`.
    users: (U,) the user ids, sorted.
    """

    value: float
    ci: tuple[float, float] | None
    se_log: float | None
    df: float
    influence: F8 | None
    users: NDArray[np.uint64]


def clustered_quantile(
    values: F8, user_id: NDArray[np.uint64], p: float, level: float = 0.95
) -> Quantile | None:
    """The p-quantile of all values, with an interval clustered by user.

    Args:
        values: (n,) latencies [ms], >= 0.
        user_id: (n,) whose request each is.
        p, level: in (0, 1).

    Returns:
        `Quantile`, or None without values.

    Raises:
        AnalysisError: a value is NaN, lengths differ, or p or level is outside (0, 1).
    """
    return clustered_quantiles(values, user_id, (p,), level)[p]


def clustered_quantiles(
    values: F8, user_id: NDArray[np.uint64], shares: Sequence[float], level: float = 0.95
) -> dict[float, Quantile | None]:
    """Several quantiles of the same values, see `clustered_quantile`: sorted once for all of them."""
    if len(values) != len(user_id) or np.isnan(values).any():
        raise AnalysisError(
            f"{len(values)} latencies ({int(np.isnan(values).sum())} NaN) for {len(user_id)} user ids, "
            "expected one finite latency a request."
        )
    for p in shares:
        if not (0 < p < 1 and 0 < level < 1):
            raise AnalysisError(f"p is {p} and level {level}, expected numbers in (0, 1).")
    if not len(values):
        return dict.fromkeys(shares)
    users, at = np.unique(user_id, return_inverse=True)
    ordered = np.sort(values)
    return {p: _clustered(values, ordered, users, at, p, level) for p in shares}


def _clustered(
    values: F8, ordered: F8, users: NDArray[np.uint64], at: NDArray[np.int64], p: float, level: float
) -> Quantile:
    value = float(_at(ordered, p))
    # Ties at the quantile put the share above it on either side of 1 - p; take the wider.
    sides = [_residuals(values > value, at, len(users)), _residuals(values >= value, at, len(users))]
    residuals = max(sides, key=lambda r: float(r @ r))
    if len(users) < 2:
        return Quantile(value, None, None, math.nan, None, users)
    s, df = _share_error(residuals)
    t = float(stats.t.ppf((1 + level) / 2, df))
    if p - t * s <= 0 or p + t * s >= 1:
        return Quantile(value, None, None, df, None, users)
    low, high = float(_at(ordered, p - t * s)), float(_at(ordered, p + t * s))
    if s == 0 or low <= 0:
        still = (value, value) if s == 0 else (low, high)
        return Quantile(
            value, still, 0.0 if s == 0 else None, df, np.zeros(len(users)) if s == 0 else None, users
        )
    se_log = math.log(high / low) / (2 * t)
    return Quantile(value, (low, high), se_log, df, residuals * (se_log / s), users)


@dataclass(frozen=True)
class QuantileLift:
    """Treatment's quantile over control's, minus one; None where an arm has no interval.

    df: degrees of freedom of se_log; control_share: the part of its square that is control's.
    """

    lift: float | None
    ci: tuple[float, float] | None
    se_log: float | None
    p_value: float | None
    mde: float | None
    df: float | None = None
    control_share: float | None = None


def quantile_lift(control: Quantile, treatment: Quantile, level: float = 0.95) -> QuantileLift:
    """Log ratio of two arms' quantiles; the arms' users are different people."""
    if not control.value > 0:
        return QuantileLift(None, None, None, None, None)
    ratio = treatment.value / control.value
    if control.se_log is None or treatment.se_log is None or ratio <= 0:
        return QuantileLift(ratio - 1, None, None, None, None)
    se = math.hypot(control.se_log, treatment.se_log)
    if se == 0:
        return QuantileLift(ratio - 1, (ratio - 1, ratio - 1), 0.0, None, 0.0)
    df = se**4 / (control.se_log**4 / control.df + treatment.se_log**4 / treatment.df)
    half = math.exp(float(stats.t.ppf((1 + level) / 2, df)) * se)
    p_value = 2 * float(stats.t.sf(abs(math.log(ratio)) / se, df))
    ci = ratio / half - 1, ratio * half - 1
    return QuantileLift(ratio - 1, ci, se, p_value, mde(se), df, (control.se_log / se) ** 2)


def _at(ordered: F8, p: float) -> float:
    """`np.quantile(ordered, p)` of sorted values, without sorting again."""
    place = p * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def _residuals(above: NDArray[np.bool_], at: NDArray[np.int64], users: int) -> F8:
    """(U,) what each user adds to the share of requests above."""
    requests = np.bincount(at, minlength=users)
    slow = np.bincount(at[above], minlength=users)
    return np.asarray((slow - above.mean() * requests) / len(at), np.float64)


def _share_error(residuals: F8) -> tuple[float, float]:
    """Standard error of the share, and Satterthwaite's degrees of freedom of its estimate."""
    n, squares = len(residuals), float(residuals @ residuals)
    if squares == 0:
        return 0.0, float(n - 1)
    # Var of a sum of squares from its own fourth powers; n - 1 when all users weigh the same.
    spread = float((residuals**4).sum()) / squares**2 - 1 / n
    df = min(2 / spread, float(n - 1)) if spread > 0 else float(n - 1)
    return math.sqrt(squares * n / (n - 1)), max(df, 1.0)
