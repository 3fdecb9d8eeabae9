"""Estimates of the ratio metrics from the users table: value, lift, interval, p-value, MDE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.analysis.columns import AnalysisError, Table, columns, labels
from simulator.analysis.log_ratio import F8, log_ratio, moments
from simulator.analysis.power import mde
from simulator.metrics import Ratio

MIN_USERS = 2  # of an arm: a variance needs two


@dataclass(frozen=True)
class Estimate:
    """What one A/B says of one metric; None where it says nothing, and why.

    control, treatment: the arms' values; lift, ci: treatment / control - 1 (fractions).
    method: how the interval was made; n: requests of the two arms; se_log: standard error of the
    log ratio; mde: smallest true lift found with 80 % power; variance_reduction: by CUPED.
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


def estimate(
    users: Table, metric: Ratio, control: str, treatment: str, *, level: float = 0.95, cuped: bool = True
) -> Estimate:
    """The metric's lift of `treatment` over `control`, clustered by user.

    Args:
        users: the users table.
        metric: which ratio.
        control, treatment: names of the two arms; rows of other arms are left out.
        level: of the interval.
        cuped: regress out the metric's own pre-period ratio.

    Returns:
        `Estimate`. An arm without users, denominators or events has None values and a reason.

    Raises:
        AnalysisError: a column is missing, the arms are equal, or level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise AnalysisError(f"level is {level}, expected a number in (0, 1), such as 0.95.")
    if control == treatment:
        raise AnalysisError(f"Both arms are {control!r}, expected two different ones.")
    names: tuple[str, ...] = (metric.top, metric.below)
    if cuped:
        names += (f"pre_{metric.top}", f"pre_{metric.below}")
    table = columns(users, *names, "requests")
    arm = labels(users, "arm", (control, treatment))
    values = np.stack([table[name].astype(np.float64) for name in names], axis=1)
    arms = values[arm == 0], values[arm == 1]
    n = int(table["requests"][arm >= 0].sum())
    reason = _unusable(arms, (control, treatment), metric)
    if reason:
        raw = [_ratio(a) for a in arms]
        return Estimate(raw[0], raw[1], None, None, level, "log-ratio", None, n, None, None, None, reason)
    return _estimate(arms, level, n)


def _estimate(arms: tuple[F8, F8], level: float, n: int) -> Estimate:
    covariate = arms[0].shape[1] > 2 and all(_useful(a[:, 2:]) for a in arms)
    width = arms[0].shape[1] if covariate else 2
    result = log_ratio(*(moments(a[:, :width]) for a in arms))
    reduction = float(result.variance_reduction)
    adjusted = covariate and reduction != 0  # exactly 0 where the covariate was left out
    se = float(result.se_log)
    low, high = (float(x) for x in result.interval(level)) if se > 0 else (float(result.lift),) * 2
    return Estimate(
        control=float(result.control),
        treatment=float(result.treatment),
        lift=float(result.lift),
        ci=(low, high),
        level=level,
        method="log-ratio, CUPED" if adjusted else "log-ratio",
        p_value=float(result.p_value) if se > 0 else None,
        n=n,
        se_log=se,
        mde=mde(se),
        variance_reduction=reduction if adjusted and se > 0 else None,
    )


def _useful(covariate: F8) -> bool:
    """The arm's users have a pre-period ratio."""
    return bool((covariate.sum(0) > 0).all())


def _ratio(arm: F8) -> float | None:
    below = arm[:, 1].sum() if len(arm) else 0.0
    return float(arm[:, 0].sum() / below) if below > 0 else None


def _unusable(arms: tuple[F8, F8], names: tuple[str, str], metric: Ratio) -> str | None:
    """Why no log ratio exists, in words; None if it does."""
    for values, name in zip(arms, names, strict=True):
        if len(values) < MIN_USERS:
            return f"Arm {name!r} has {len(values)} users; an interval needs at least {MIN_USERS}."
        if not values[:, 1].sum() > 0:
            return f"Arm {name!r} has no {metric.below}; {metric.name} is undefined there."
        if not values[:, 0].sum() > 0:
            return f"Arm {name!r} has no {metric.top}; a relative lift needs some in both arms."
    return None
