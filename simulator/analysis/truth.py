"""The true effect: everyone served by treatment against everyone served by control.

Both worlds meet the same requests and draws, so users are paired and the standard error is that of
their differences. Outcomes are expected: true probabilities at realised prices and budgets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from simulator.analysis.columns import AnalysisError, Array, Table, columns, units_of
from simulator.analysis.latency import F8, Quantile
from simulator.metrics import OUTCOMES, Ratio


@dataclass(frozen=True)
class TrueLift:
    """The true lift of treatment over control, and its standard error over users of the world.

    control, treatment: the metric's true values. None where undefined.
    """

    lift: float | None
    se: float | None
    control: float | None
    treatment: float | None


# Worlds that earn the same add it up in another order.
_ROUNDING = 1e-12
UNKNOWN = TrueLift(None, None, None, None)


#: Of the truth table.
OUTCOME_COLUMNS = tuple(f"expected_{name}" for name in OUTCOMES)


def by_user(truth: Table) -> dict[str, Array]:
    """One arm's rows of the truth table, added up: user_id u8 (sorted), requests i8, expected_*."""
    rows = columns(truth, "user_id", *OUTCOME_COLUMNS)
    users, at = units_of(rows["user_id"])
    found = {"user_id": users, "requests": np.bincount(at, minlength=len(users))}
    return found | {
        name: np.bincount(at, rows[name].astype(np.float64), len(users)) for name in OUTCOME_COLUMNS
    }


def true_lift(
    control: Table,
    treatment: Table,
    metric: Ratio,
    paths: tuple[Mapping[str, Array], Mapping[str, Array]] | None = None,
) -> TrueLift:
    """A ratio metric's true lift, paired by user.

    Args:
        control, treatment: either arm's totals by user, see `by_user`.
        paths: of either arm, each expected column's total on every path of clicks that the rows are
            the mean of, paired; what the lift varies between paths then enters its standard error.

    Raises:
        AnalysisError: the two do not hold as many requests of the same users.
    """
    values, influences = _influences(control, treatment, metric)
    if not values[0] or not values[1]:
        return TrueLift(None, None, values[0], values[1])
    found = _lift(values[0], values[1], influences[1] - influences[0])
    if paths is None or found.se is None:
        return found
    return replace(found, se=math.hypot(found.se, (1 + (found.lift or 0.0)) * path_error(paths, metric)))


def added_by_user(control: Table, treatment: Table, metric: Ratio) -> F8 | None:
    """(users,) what each user adds to the logarithm of the true lift; None where that is undefined.

    Differences of two lifts over the same requests are paired by these.

    Args:
        control, treatment: as of `true_lift`.
        metric: which.

    Raises:
        AnalysisError: as of `true_lift`.
    """
    values, (own, other) = _influences(control, treatment, metric)
    return other - own if values[0] and values[1] else None


def pairing_gain(control: Table, treatment: Table, metric: Ratio) -> float | None:
    """How many times as many users would say as much if the worlds did not share users and draws.

    The variance of two unpaired arms of the log lift, over that of the users' differences; None where it is
    undefined, or where the worlds do not differ at all.

    Args:
        control, treatment: as of `true_lift`.
        metric: which.

    Raises:
        AnalysisError: as of `true_lift`.
    """
    _, (own, other) = _influences(control, treatment, metric)
    paired = float((other - own) @ (other - own))
    return float(own @ own + other @ other) / paired if paired > 0 else None


def _influences(control: Table, treatment: Table, metric: Ratio) -> tuple[list[float | None], tuple[F8, F8]]:
    """Both worlds' values, and what each user adds to the logarithm of either; 0 where one has none."""
    sides = [columns(t, "user_id", "requests", *OUTCOME_COLUMNS) for t in (control, treatment)]
    if not all(np.array_equal(sides[0][name], sides[1][name]) for name in ("user_id", "requests")):
        counts = " and ".join(f"{int(s['requests'].sum())} of {len(s['user_id'])} users" for s in sides)
        raise AnalysisError(
            f"The requests of the two worlds are {counts}, expected the same ones. "
            "Run both over the whole trace."
        )
    (yc, xc), (yt, xt) = (_totals(side, metric) for side in sides)
    values = [float(y.sum() / x.sum()) if x.sum() > 0 else None for y, x in ((yc, xc), (yt, xt))]
    if not values[0] or not values[1]:
        return values, (np.zeros_like(yc), np.zeros_like(yc))
    return values, (yc / yc.sum() - xc / xc.sum(), yt / yt.sum() - xt / xt.sum())


def path_error(paths: tuple[Mapping[str, Array], Mapping[str, Array]], metric: Ratio) -> float:
    """Standard error of the log lift that comes from the paths alone; 0 with a single one."""
    logs = []
    for totals in paths:
        top = totals[f"expected_{metric.top}"]
        below = 1.0 if metric.below == "requests" else totals[f"expected_{metric.below}"]
        logs.append(np.log(np.maximum(top, 1e-300)) - np.log(np.maximum(below, 1e-300)))
    difference = logs[1] - logs[0]
    if len(difference) < 2:
        return 0.0
    return float(difference.std(ddof=1) / math.sqrt(len(difference)))


def true_quantile_lift(control: Quantile | None, treatment: Quantile | None) -> TrueLift:
    """A quantile's true lift, from both arms' quantiles over all requests, paired by user.

    Raises:
        AnalysisError: the two arms served different users.
    """
    if control is None or treatment is None:
        return UNKNOWN
    if not np.array_equal(control.users, treatment.users):
        raise AnalysisError(
            f"The arms' latencies are of {len(control.users)} and {len(treatment.users)} users, "
            "expected the same. Give every request of the experiment in both arms."
        )
    if not control.value > 0:
        return TrueLift(None, None, control.value, treatment.value)
    if control.influence is None or treatment.influence is None:
        return TrueLift(treatment.value / control.value - 1, None, control.value, treatment.value)
    return _lift(control.value, treatment.value, treatment.influence - control.influence)


def _totals(side: dict[str, Array], metric: Ratio) -> tuple[F8, F8]:
    """Per user, the metric's expected numerator and denominator."""
    names = ["requests" if name == "requests" else f"expected_{name}" for name in (metric.top, metric.below)]
    top, below = (side[name].astype(np.float64) for name in names)
    return top, below


def _lift(control: float, treatment: float, influence: F8) -> TrueLift:
    """Influences are on the log ratio; the lift's error follows by the delta method."""
    n = len(influence)
    ratio = treatment / control
    if abs(ratio - 1) < _ROUNDING:
        ratio = 1.0
    se = ratio * math.sqrt(float(influence @ influence) * n / (n - 1)) if n > 1 else None
    return TrueLift(ratio - 1, se, control, treatment)
