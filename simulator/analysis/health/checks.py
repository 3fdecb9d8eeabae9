"""Faults told apart: each has a check of its own, and what several of them see is put down to the first.

| fault | what gives it away |
|---|---|
| lost logs | an arm lacks users, and they are those who were served slowly before |
| bots | a user clicks on more than half of what it sees, beyond chance |
| delayed conversions | clicks of the last days have fewer conversions, in both arms alike |
| missing conversions | from some day on, one arm's clicks have fewer conversions |
| novelty | the lift of the click rate fades |
| calibration drift | one arm's predictions move away from its clicks, which themselves do not change |

The order is that of what disturbs most: who lacks users, or has robots among them, cannot be judged further.
Together the checks err in less than 1 % of sound tests (`ALPHA`). Start at `find_fault`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from simulator.analysis.health.trends import F8, Change, change
from simulator.analysis.srm import ALERT, check_split
from simulator.results.numbers import percent

Fault = Literal[
    "lost logs", "bots", "delayed conversions", "missing conversions", "novelty", "calibration drift"
]
#: Of each check but the split's, which has its own: six of them err in less than 1 % together.
ALPHA = 0.0015
#: No human clicks on more of what is shown, in the long run.
HUMAN = 0.5
#: Days at the end whose conversions may not be in yet.
RECENT = 2


@dataclass(frozen=True)
class Logs:
    """What was logged of one arm's users, those included who are assigned and were not seen. U users, D days.

    Attributes:
        requests, impressions, clicks, conversions, predicted: (U, D) counts; predicted clicks are the sum of
            pCTR over impressions.
        before_ms: (U,) latency before the experiment; NaN of users who were not there.
    """

    requests: F8
    impressions: F8
    clicks: F8
    conversions: F8
    predicted: F8
    before_ms: F8

    @property
    def seen(self) -> np.ndarray:
        """(U,) who has a logged request."""
        return np.asarray(self.requests.sum(1) > 0)


@dataclass(frozen=True)
class Finding:
    """A fault, how surprising the logs were without it, and what was seen."""

    fault: Fault
    p_value: float
    text: str


def find_fault(control: Logs, treatment: Logs, treatment_share: float = 0.5) -> Finding | None:
    """The fault that explains the logs; None where they look sound.

    Args:
        control, treatment: of the two arms.
        treatment_share: planned, of the users.
    """
    lost = _lost(control, treatment, treatment_share)
    if lost is not None:
        return lost
    checks: tuple[Callable[[Logs, Logs], Finding | None], ...] = (_bots, _delayed, _missing, _novelty, _drift)
    found = (check(control, treatment) for check in checks)
    return next((one for one in found if one is not None), None)


def _lost(control: Logs, treatment: Logs, share: float) -> Finding | None:
    """A split that is off; whether slow answers are the reason is said, not assumed."""
    counts = {"control": int(control.seen.sum()), "treatment": int(treatment.seen.sum())}
    split = check_split(counts, {"control": 1 - share, "treatment": share})
    if split.p_value is None or split.p_value >= ALERT:
        return None
    short = "treatment" if counts["treatment"] < split.expected["treatment"] else "control"
    own, other = (treatment, control) if short == "treatment" else (control, treatment)
    slow, rest = _unseen(own)
    extra = slow - rest - (_unseen(other)[0] - _unseen(other)[1])
    se = _unseen_error(own) + _unseen_error(other)
    reason = (
        f"those served slowest before are missing most ({percent(slow)} against {percent(rest)}): slow "
        "answers lose their logs"
        if extra > 3 * se**0.5
        else "slow and fast users are missing alike: look at the assignment, not at latency"
    )
    return Finding(
        "lost logs", split.p_value, f"{short.capitalize()} has {counts[short]} users too few; {reason}."
    )


def _unseen(logs: Logs) -> tuple[float, float]:
    """The share not seen again of the slowest third of those who were there before, and of the others."""
    there = np.isfinite(logs.before_ms)
    edge = np.quantile(logs.before_ms[there], 2 / 3)
    slow = logs.before_ms[there] > edge
    gone = ~logs.seen[there]
    return float(gone[slow].mean()), float(gone[~slow].mean())


def _unseen_error(logs: Logs) -> float:
    """Variance of the difference of `_unseen`."""
    n = max(int(np.isfinite(logs.before_ms).sum()), 1)
    slow, rest = _unseen(logs)
    return slow * (1 - slow) / (n / 3) + rest * (1 - rest) / (2 * n / 3)


def _bots(control: Logs, treatment: Logs) -> Finding | None:
    clicks = np.concatenate([control.clicks.sum(1), treatment.clicks.sum(1)])
    shown = np.concatenate([control.impressions.sum(1), treatment.impressions.sum(1)])
    p = np.asarray(stats.binom.sf(clicks - 1, shown, HUMAN))
    least = min(1.0, float(p.min(initial=1.0)) * len(p))
    if least >= ALPHA:
        return None
    bots = p * len(p) < ALPHA
    share = float(clicks[bots].sum() / max(clicks.sum(), 1))
    return Finding(
        "bots",
        least,
        f"{int(bots.sum())} users click on most of what they see; they make {percent(share)} of all "
        "clicks. Leave them out.",
    )


def _delayed(control: Logs, treatment: Logs) -> Finding | None:
    days = control.clicks.shape[1]
    step = np.arange(days) >= days - RECENT
    bought = np.concatenate([control.conversions, treatment.conversions])
    found = change(bought, np.concatenate([control.clicks, treatment.clicks]), step.astype(np.float64))
    if found.p_value >= ALPHA or found.size > 0:
        return None
    apart = change(treatment.conversions, treatment.clicks, step) - change(
        control.conversions, control.clicks, step
    )
    if apart.p_value < ALPHA:
        return None  # one arm alone: its conversions are missing, not late
    return Finding(
        "delayed conversions",
        found.p_value,
        f"Clicks of the last {RECENT} days have {percent(-np.expm1(found.size))} fewer conversions, in both "
        "arms: they are not in yet. Wait, or leave these days out.",
    )


def _missing(control: Logs, treatment: Logs) -> Finding | None:
    days = control.clicks.shape[1]
    found: dict[int, Change] = {}
    for first in range(1, days):
        step = (np.arange(days) >= first).astype(np.float64)
        found[first] = change(treatment.conversions, treatment.clicks, step) - change(
            control.conversions, control.clicks, step
        )
    first = min(found, key=lambda day: found[day].p_value)
    p = min(1.0, found[first].p_value * len(found))
    if p >= ALPHA:
        return None
    arm = "treatment" if found[first].size < 0 else "control"
    return Finding(
        "missing conversions",
        p,
        f"From day {first + 1} on, {arm}'s clicks have {percent(-np.expm1(-abs(found[first].size)))} fewer "
        "conversions than before, against the other arm's: they are not logged.",
    )


def _trend(control: Logs, treatment: Logs, below: str) -> Change:
    along = np.arange(control.clicks.shape[1], dtype=np.float64)
    return change(treatment.clicks, getattr(treatment, below), along) - change(
        control.clicks, getattr(control, below), along
    )


def _novelty(control: Logs, treatment: Logs) -> Finding | None:
    found = _trend(control, treatment, "impressions")
    if found.p_value >= ALPHA:
        return None
    way = "fades" if found.size < 0 else "grows"
    return Finding(
        "novelty",
        found.p_value,
        f"The lift of the click rate {way} by {percent(abs(found.size))} a day: it is not what it will be. "
        "Run longer, and judge the last days.",
    )


def _drift(control: Logs, treatment: Logs) -> Finding | None:
    found = _trend(control, treatment, "predicted")
    if found.p_value >= ALPHA:
        return None
    own = {
        name: change(logs.clicks, logs.predicted, np.arange(logs.clicks.shape[1], dtype=np.float64))
        for name, logs in (("control", control), ("treatment", treatment))
    }
    arm = max(own, key=lambda name: abs(own[name].size))
    return Finding(
        "calibration drift",
        found.p_value,
        f"{arm.capitalize()}'s clicks over its predictions change by {percent(own[arm].size, signed=True)} a "
        "day, and its click rate does not: the model's calibration drifts. Fit it again.",
    )
