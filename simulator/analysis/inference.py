"""Estimates of ratio metrics from units' totals: values, lift, interval, p-value, difference, MDE, events.

Start at `estimate`, for a run's users table; `estimate_arms` takes any two arms' totals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.analysis.columns import AnalysisError, Table, columns, labels
from simulator.analysis.events import Events, count_events
from simulator.analysis.log_ratio import F8, LogRatio, log_ratio, moments
from simulator.analysis.power import mde
from simulator.analysis.sequential import always_valid_factor
from simulator.metrics import Ratio

MIN_USERS = 2  # of an arm: a variance needs two


class Totals(Protocol):
    """What an estimate must know of a metric: its name, and what its two totals are called."""

    @property
    def name(self) -> str:
        """The metric's."""

    @property
    def top(self) -> str:
        """The numerator's."""

    @property
    def below(self) -> str:
        """The denominator's."""


@dataclass(frozen=True)
class Difference:
    """Treatment minus control, in the metric's unit, with its interval and p-value (Welch)."""

    value: float
    ci: tuple[float, float]
    p_value: float | None


@dataclass(frozen=True)
class Estimate:
    """What one A/B says of one metric; None where it says nothing, and why.

    control, treatment: the arms' values; lift, ci: treatment / control - 1 (fractions).
    method: how the interval was made; n: requests, or a table's rows, of the two arms; se_log: standard
    error of the log ratio, df: its degrees of freedom, control_share: the part of its square that is
    control's; mde: smallest true lift found with 80 % power; variance_reduction: by CUPED, theta its
    coefficient.
    """

    control: float | None
    treatment: float | None
    lift: float | None
    ci: tuple[float, float] | None
    level: float
    method: str
    p_value: float | None
    n: int
    se_log: float | None
    mde: float | None
    variance_reduction: float | None
    reason: str | None = None
    theta: float | None = None
    df: float | None = None
    control_share: float | None = None
    difference: Difference | None = None
    events: Events | None = None


def estimate(
    users: Table,
    metric: Ratio,
    control: str,
    treatment: str,
    *,
    level: float = 0.95,
    cuped: bool = True,
    winsorise: float | None = None,
    sequential: float | None = None,
) -> Estimate:
    """The metric's lift of `treatment` over `control`, clustered by user.

    Args:
        users: the users table.
        metric: which ratio.
        control, treatment: names of the two arms; rows of other arms are left out.
        level: of the interval.
        cuped: regress out the metric's own pre-period ratio.
        winsorise: the share of users, such as 0.999, whose totals of the numerator stay as they are; what
            is above their largest counts as that. None leaves all.
        sequential: see `estimate_arms`.

    Returns:
        `Estimate`. An arm without users, denominators or events has None values and a reason.

    Raises:
        AnalysisError: a column is missing, the arms are equal, or level or winsorise is outside (0, 1).
    """
    if control == treatment:
        raise AnalysisError(f"Both arms are {control!r}, expected two different ones.")
    names: tuple[str, ...] = (metric.top, metric.below)
    if cuped:
        names += (f"pre_{metric.top}", f"pre_{metric.below}")
    table = columns(users, *names, "requests")
    arm = labels(users, "arm", (control, treatment))
    values = np.stack([table[name].astype(np.float64) for name in names], axis=1)
    values = winsorised(values, arm >= 0, winsorise)
    arms = values[arm == 0], values[arm == 1]
    n = int(table["requests"][arm >= 0].sum())
    return estimate_arms(
        arms, metric, (control, treatment), n, level=level, sequential=sequential, winsorise=winsorise
    )


def winsorised(values: F8, rows: np.ndarray, share: float | None) -> F8:
    """Totals whose numerators (every other column, from the first) end at their `share` quantile over `rows`.

    Raises:
        AnalysisError: share outside (0, 1).
    """
    if share is None:
        return values
    if not 0 < share < 1:
        raise AnalysisError(f"winsorise is {share}, expected a share in (0, 1), such as 0.999.")
    capped = values.copy()
    for column in range(0, values.shape[1], 2):
        # A value that was seen, not one between two: a cap among counts stays a count.
        edge = np.quantile(values[rows, column], share, method="higher")
        capped[:, column] = np.minimum(values[:, column], edge)
    return capped


def estimate_arms(
    arms: tuple[F8, F8],
    metric: Totals,
    names: tuple[str, str],
    n: int,
    *,
    level: float = 0.95,
    sequential: float | None = None,
    winsorise: float | None = None,
) -> Estimate:
    """The lift of the second arm over the first.

    Args:
        arms: each (U, 2 + 2K), a row per unit: numerator, denominator, then covariates' numerators and
            denominators in pairs.
        metric: what the numbers are of, for messages.
        names: the arms'.
        n: observations, to be copied.
        level: of the intervals.
        sequential: intervals that hold at every sample size, tightest at this number of units; None for
            intervals that hold at one.
        winsorise: said in the method; the caller has done it.

    Raises:
        AnalysisError: level is outside (0, 1), or sequential below 1.
    """
    if not 0 < level < 1:
        raise AnalysisError(f"level is {level}, expected a number in (0, 1), such as 0.95.")
    reason = _unusable(arms, names, metric)
    method = "log-ratio" if sequential is None else SEQUENTIAL
    if min(map(len, arms)) < MIN_USERS:
        raw = [_ratio(a) for a in arms]
        return Estimate(raw[0], raw[1], None, None, level, method, None, n, None, None, None, reason)
    width = arms[0].shape[1] if all(_useful(a[:, 2:]) for a in arms) else 2
    result = log_ratio(*(moments(a[:, :width]) for a in arms))
    reduction = float(result.variance_reduction)
    adjusted = width > 2 and np.isfinite(reduction) and reduction != 0  # 0 where the covariate was left out
    method += ", CUPED" if adjusted else ""
    method += f", winsorised at {100 * winsorise:g} %" if winsorise is not None else ""
    factor = (
        None if sequential is None else float(always_valid_factor(sum(map(len, arms)), sequential, level))
    )
    difference = _difference(result, level, factor)
    events = count_events(arms, effective=reason is None)
    if reason:
        raw = [_ratio(a) for a in arms]
        return Estimate(
            raw[0], raw[1], None, None, level, method, None, n, None, None, None, reason,
            difference=difference, events=events,
        )  # fmt: skip
    se = float(result.se_log)
    return Estimate(
        control=float(result.control),
        treatment=float(result.treatment),
        lift=float(result.lift),
        ci=_interval(result, level, factor),
        level=level,
        method=method,
        p_value=_p_value(result, factor is None),
        n=n,
        se_log=se,
        mde=mde(se),
        variance_reduction=reduction if adjusted and se > 0 else None,
        theta=float(result.theta[0]) if adjusted else None,
        df=float(result.df) if se > 0 else None,
        control_share=float(result.share) if se > 0 else None,
        difference=difference,
        events=events,
    )


SEQUENTIAL = "always valid (asymptotic confidence sequence)"


def _interval(result: LogRatio, level: float, factor: float | None) -> tuple[float, float]:
    lift, se = float(result.lift), float(result.se_log)
    if se == 0:
        return lift, lift
    if factor is not None:
        # On the lift itself, by the delta method, as the sequence is published.
        half = factor * (1 + lift) * se
        return lift - half, lift + half
    low, high = result.interval(level)
    return float(low), float(high)


def _p_value(result: LogRatio, fixed: bool) -> float | None:
    """Of an always-valid interval none is given: it is made to be looked at again."""
    return float(result.p_value) if fixed and float(result.se_log) > 0 else None


def _difference(result: LogRatio, level: float, factor: float | None) -> Difference | None:
    value, se = float(result.difference), float(result.se_difference)
    if not np.isfinite(value) or not np.isfinite(se):
        return None
    if se == 0:
        return Difference(value, (value, value), None)
    low, high = (float(x) for x in result.difference_interval(level))
    if factor is not None:
        low, high = value - factor * se, value + factor * se
    return Difference(value, (low, high), float(result.difference_p_value) if factor is None else None)


def _useful(covariate: F8) -> bool:
    """The arm's units have a ratio before the experiment."""
    return bool((covariate[:, 1::2].sum(0) > 0).all() and (covariate[:, 0::2] != 0).any(0).all())


def _ratio(arm: F8) -> float | None:
    below = arm[:, 1].sum() if len(arm) else 0.0
    return float(arm[:, 0].sum() / below) if below > 0 else None


def _unusable(arms: tuple[F8, F8], names: tuple[str, str], metric: Totals) -> str | None:
    """Why no log ratio exists, in words; None if it does."""
    for values, name in zip(arms, names, strict=True):
        if len(values) < MIN_USERS:
            return f"Arm {name!r} has {len(values)} users; an interval needs at least {MIN_USERS}."
        if not values[:, 1].sum() > 0:
            return f"Arm {name!r} has no {metric.below}; {metric.name} is undefined there."
        total = values[:, 0].sum()
        if total < 0:
            found = f"Arm {name!r} has a {metric.top} of {total:g}"
            return f"{found}; a relative lift needs more than 0 in both arms."
        if total == 0:
            return f"Arm {name!r} has no {metric.top}; a relative lift needs some in both arms."
    return None
