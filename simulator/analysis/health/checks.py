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

from simulator.analysis.health.logs import F8, Logs
from simulator.analysis.health.trends import Change, change
from simulator.analysis.srm import ALERT, check_split
from simulator.results.numbers import percent

Fault = Literal[
    "lost logs", "bots", "delayed conversions", "missing conversions", "novelty", "calibration drift"
]
#: Of each check but the split's, which has its own: six of them err in less than 1 % together.
ALPHA = 0.0015
#: No human clicks on more of what is shown, in the long run,
HUMAN = 0.5
#: unless the others, too, click on a large part of it: above this share of it, none is called a robot.
SELDOM = 0.2
#: Days at the end whose conversions may not be in yet.
RECENT = 2


@dataclass(frozen=True)
class Finding:
    """A fault, how surprising the logs were without it, and what was seen."""

    fault: Fault
    p_value: float
    text: str


@dataclass(frozen=True)
class Pair:
    """Two arms' logs, what the arms are called, and how surprising logs must be to be called a fault."""

    control: Logs
    treatment: Logs
    names: tuple[str, str]
    alpha: float

    @property
    def days(self) -> int:
        """Of the experiment."""
        return int(self.control.clicks.shape[1])

    def apart(self, top: str, below: str, along: F8) -> Change:
        """How much more a ratio of the treatment's changes along the days than control's."""
        own, other = (
            change(getattr(logs, top), getattr(logs, below), along) for logs in (self.treatment, self.control)
        )
        return own - other

    def both(self, column: str) -> F8:
        """All users' counts of a column, control's first."""
        return np.concatenate([getattr(self.control, column), getattr(self.treatment, column)])


def find_fault(
    control: Logs,
    treatment: Logs,
    treatment_share: float = 0.5,
    names: tuple[str, str] = ("control", "treatment"),
    pairs: int = 1,
) -> Finding | None:
    """The fault that explains the logs; None where they look sound.

    Args:
        control, treatment: of the two arms.
        treatment_share: planned, of the users of both.
        names: what the text calls the arms.
        pairs: of an experiment that are looked at, so that all of them together err in less than 1 %.
    """
    pair = Pair(control, treatment, names, ALPHA / pairs)
    lost = _lost(pair, treatment_share, ALERT / pairs)
    if lost is not None:
        return lost
    checks: tuple[Callable[[Pair], Finding | None], ...] = (_bots, _delayed, _missing, _novelty, _drift)
    found = (check(pair) for check in checks)
    return next((one for one in found if one is not None), None)


def _lost(pair: Pair, share: float, alert: float) -> Finding | None:
    """A split that is off; whether slow answers are the reason is said, not assumed."""
    arms = dict(zip(("control", "treatment"), (pair.control, pair.treatment), strict=True))
    counts = {name: int(logs.seen.sum()) for name, logs in arms.items()}
    split = check_split(counts, {"control": 1 - share, "treatment": share})
    if split.p_value is None or split.p_value >= alert:
        return None
    short, rest = sorted(arms, key=lambda name: counts[name] - split.expected[name])
    gone, stayed = _unseen(arms[short]), _unseen(arms[rest])
    extra = gone.difference - stayed.difference
    reason = (
        f"those served slowest before are missing most ({percent(gone.slow)} against "
        f"{percent(gone.others)}): slow answers lose their logs"
        if extra > 3 * (gone.variance + stayed.variance) ** 0.5
        else "slow and fast users are missing alike: look at the assignment, not at latency"
    )
    called = pair.names[short == "treatment"]
    missing = round(split.expected[short] - counts[short])
    return Finding("lost logs", split.p_value, f"Arm {called} has {missing:,} users too few; {reason}.")


@dataclass(frozen=True)
class _Unseen:
    """The share not seen again of the slowest third of those who were there before, and of the others."""

    slow: float
    others: float
    there: int

    @property
    def difference(self) -> float:
        return self.slow - self.others

    @property
    def variance(self) -> float:
        """Of the difference."""
        slow, others = (share * (1 - share) for share in (self.slow, self.others))
        return slow / (self.there / 3) + others / (2 * self.there / 3) if self.there else 0.0


def _unseen(logs: Logs) -> _Unseen:
    there = np.isfinite(logs.before_ms)
    before, gone = logs.before_ms[there], ~logs.seen[there]
    slow = before > np.quantile(before, 2 / 3) if len(before) else gone
    if not slow.any() or slow.all():
        return _Unseen(0.0, 0.0, 0)
    return _Unseen(float(gone[slow].mean()), float(gone[~slow].mean()), len(before))


def _bots(pair: Pair) -> Finding | None:
    clicks, shown = pair.both("clicks").sum(1), pair.both("impressions").sum(1)
    p = np.asarray(stats.binom.sf(clicks - 1, shown, HUMAN))
    least = min(1.0, float(p.min(initial=1.0)) * len(p))
    if least >= pair.alpha:
        return None
    bots = p * len(p) < pair.alpha
    if not shown[~bots].any() or clicks[~bots].sum() > SELDOM * shown[~bots].sum():
        return None
    share = float(clicks[bots].sum() / max(clicks.sum(), 1))
    return Finding(
        "bots",
        least,
        f"{int(bots.sum())} users click on most of what they see; they make {percent(share)} of all "
        "clicks. Leave them out.",
    )


def _delayed(pair: Pair) -> Finding | None:
    step = _from(pair, pair.days - RECENT)
    found = change(pair.both("conversions"), pair.both("clicks"), step)
    if found.p_value >= pair.alpha or found.size > 0:
        return None
    if pair.apart("conversions", "clicks", step).p_value < pair.alpha:
        return None  # one arm alone: its conversions are missing, not late
    return Finding(
        "delayed conversions",
        found.p_value,
        f"Clicks of the last {RECENT} days have {percent(-np.expm1(found.size))} fewer conversions, in both "
        "arms: they are not in yet. Wait, or leave these days out.",
    )


def _missing(pair: Pair) -> Finding | None:
    found = {
        day: pair.apart("conversions", "clicks", _from(pair, day)) for day in range(1, max(pair.days, 2))
    }
    first = min(found, key=lambda day: found[day].p_value)
    p = min(1.0, found[first].p_value * len(found))
    if p >= pair.alpha:
        return None
    arm = pair.names[found[first].size < 0]
    return Finding(
        "missing conversions",
        p,
        f"From day {first + 1} on, clicks of arm {arm} have {percent(-np.expm1(-abs(found[first].size)))} "
        "fewer conversions than before, against the other arm's: they are not logged.",
    )


def _novelty(pair: Pair) -> Finding | None:
    found = pair.apart("clicks", "impressions", _along(pair))
    if found.p_value >= pair.alpha:
        return None
    way = "fades" if found.size < 0 else "grows"
    return Finding(
        "novelty",
        found.p_value,
        f"The lift of the click rate {way} by {percent(abs(found.size))} a day: it is not what it will be. "
        "Run longer, and judge the last days.",
    )


def _drift(pair: Pair) -> Finding | None:
    found = pair.apart("clicks", "predicted", _along(pair))
    if found.p_value >= pair.alpha:
        return None
    own = {
        name: change(logs.clicks, logs.predicted, _along(pair))
        for name, logs in zip(pair.names, (pair.control, pair.treatment), strict=True)
    }
    arm = max(own, key=lambda name: abs(own[name].size))
    return Finding(
        "calibration drift",
        found.p_value,
        f"Clicks over predictions of arm {arm} change by {percent(own[arm].size, signed=True)} a day, and "
        "its click rate does not: the model's calibration drifts. Fit it again.",
    )


def _along(pair: Pair) -> F8:
    """0, 1, 2, ...: a trend."""
    return np.arange(pair.days, dtype=np.float64)


def _from(pair: Pair, day: int) -> F8:
    """0 before the day, 1 from it on: a step."""
    return np.asarray(np.arange(pair.days) >= day, np.float64)
