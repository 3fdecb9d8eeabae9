"""Latency quantiles with intervals that know requests of one user resemble each other.

One quantile rule everywhere: linear interpolation between order statistics (numpy's default,
DuckDB's `quantile_cont`). An interval's bounds are quantiles too, at shares p ∓ t·s, where s is the
user-clustered standard error of the share of requests above the estimate. t has Satterthwaite's
degrees of freedom of the users' contributions: few users make up the slowest 1 %.

The bounds of a lift are quantiles of both arms, one arm's share moved up and the other's down (`Apart`). A
standard error of the logarithm times t would be wrong where the tail has steps, as bursts make them: it needs
the density at the quantile, and what two order statistics say of it is off by a factor on such a trace. On
eight bursty traces its 5 % test erred in 2.3 to 8.3 % of A/A re-splits, this one in 4.5 to 5.4 %.

The interval covers the sampling of users, who are what is randomised; so an A/A errs as it should on every
trace. Bursts in a queue also tie requests of different users together: of other traces an arm's interval
promises nothing, and a lift's only where the arms are alike (`benchmarks/inference/coverage.py` has rows of
it). Replications with other seeds show that part. Clusters of time beside those of users do not repair it: on
such traces the interval of P99 covered 83 % with 200 blocks of time (13 % without), the lift of a server that
is 10 % slower 80 % (65 %), and that of one that is not 84 % (96 %). The slowest 1 % are a handful of bursts,
too few to estimate a spread from; and a day's peak, which is no luck, would count as one.

Source: Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018,
arXiv:1803.06336, section 4.2 (the "outer" interval); Woodruff, "Confidence intervals for medians and other
position measures", JASA 1952.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from simulator.analysis.columns import AnalysisError, units_of
from simulator.analysis.power import mde
from simulator.scratch import mapped

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
    ordered: (n,) the values, sorted. p: whose quantile it is; share_se: standard error of the share above it.
    """

    value: float
    ci: tuple[float, float] | None
    se_log: float | None
    df: float
    influence: F8 | None
    users: NDArray[np.uint64]
    ordered: F8
    p: float
    share_se: float


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
    users, at = units_of(user_id)
    ordered = mapped({"ordered": np.sort(values)})["ordered"]
    return {p: _clustered(values, ordered, users, at, p, level) for p in shares}


def _clustered(
    values: F8, ordered: F8, users: NDArray[np.uint64], at: NDArray[np.int32], p: float, level: float
) -> Quantile:
    value = float(_at(ordered, p))
    # Ties at the quantile put the share above it on either side of 1 - p; take the wider.
    sides = [_residuals(values > value, at, len(users)), _residuals(values >= value, at, len(users))]
    residuals = max(sides, key=lambda r: float(r @ r))
    if len(users) < 2:
        return Quantile(value, None, None, math.nan, None, users, ordered, p, math.nan)
    s, df = _share_error(residuals)
    t = float(stats.t.ppf((1 + level) / 2, df))
    ci, se_log, influence = None, None, None
    if s == 0:
        ci, se_log, influence = (value, value), 0.0, np.zeros(len(users))
    elif p - t * s > 0 and p + t * s < 1:
        ci = low, high = float(_at(ordered, p - t * s)), float(_at(ordered, p + t * s))
        if low > 0:
            se_log = math.log(high / low) / (2 * t)
            influence = residuals * (se_log / s)
    return Quantile(value, ci, se_log, df, influence, users, ordered, p, s)


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


@dataclass(frozen=True)
class Apart:
    """Two arms' quantiles, moved away from each other or towards each other by c standard errors.

    Of all shares (p + a, p − b) of the two arms that are c standard errors away from p together, those with
    the largest ratio of quantiles have a and b in proportion to the shares' variances over the densities: by
    c·s·(se_log / se), each arm's own. So an error in se_log moves a little from one arm to the other and
    leaves the distance as it is.

    control, treatment: the arms; se: standard error of the log ratio.
    """

    control: Quantile
    treatment: Quantile
    se: float

    def log_ratio(self, c: float) -> float:
        """The log ratio of the quantiles c standard errors up, or down where c is negative."""
        over, under = self._moved(self.treatment, c), self._moved(self.control, -c)
        return math.log(over) - math.log(under)

    @property
    def reach(self) -> float:
        """How many standard errors may be gone before a share ends."""
        return min(
            min(arm.p, 1 - arm.p) / step
            for arm in (self.control, self.treatment)
            if (step := self._step(arm)) > 0
        )

    def distance(self) -> float:
        """How many standard errors the lift is away from none: the c at which the moved ratio is 1.

        Where the data end before that, how far they go: the distance is at least that.
        """
        way = -math.copysign(1.0, self.log_ratio(0.0))
        if self.log_ratio(way * self.reach) * way < 0:
            return self.reach
        return float(brentq(lambda c: way * self.log_ratio(way * c), 0.0, self.reach, xtol=1e-9))

    def _moved(self, arm: Quantile, c: float) -> float:
        share = min(max(arm.p + c * self._step(arm), 0.0), 1.0)
        return max(_at(arm.ordered, share), sys.float_info.min)  # a latency of 0 has no logarithm

    def _step(self, arm: Quantile) -> float:
        assert arm.se_log is not None
        return arm.share_se * arm.se_log / self.se


def quantile_lift(control: Quantile, treatment: Quantile, level: float = 0.95) -> QuantileLift:
    """The ratio of two arms' quantiles; the arms' users are different people."""
    if not control.value > 0:
        return QuantileLift(None, None, None, None, None)
    ratio = treatment.value / control.value
    if control.se_log is None or treatment.se_log is None or ratio <= 0:
        return QuantileLift(ratio - 1, None, None, None, None)
    se = math.hypot(control.se_log, treatment.se_log)
    if se == 0:
        return QuantileLift(ratio - 1, (ratio - 1, ratio - 1), 0.0, None, 0.0)
    df = se**4 / (control.se_log**4 / control.df + treatment.se_log**4 / treatment.df)
    apart, t = Apart(control, treatment, se), float(stats.t.ppf((1 + level) / 2, df))
    ci = math.expm1(apart.log_ratio(-t)), math.expm1(apart.log_ratio(t))
    p_value = 2 * float(stats.t.sf(apart.distance(), df))
    return QuantileLift(ratio - 1, ci, se, p_value, mde(se), df, (control.se_log / se) ** 2)


def _at(ordered: F8, p: float) -> float:
    """`np.quantile(ordered, p)` of sorted values, without sorting again."""
    place = p * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def _residuals(above: NDArray[np.bool_], at: NDArray[np.int32], users: int) -> F8:
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
