"""What a treatment must not make worse: metrics with a margin, and limits of latency and of late answers.

A **margin** is relative: a guardrail metric falls where it is shown to be worse than control by more than the
margin. Without a margin of one's own that is "shown to be worse at all"; with one, the metric must also be
shown not to be worse by more (non-inferiority) before a treatment ships.

A **limit** is absolute: P99 within the latency budget, late and degraded shares below a number. It falls
where the arm's interval lies wholly beyond it, unless control breaks it too and treatment is not shown to be
worse: then treatment is not the cause.

All p-values here are one-sided, of being worse by no more than the margin, and read off the interval, so that
interval and decision agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scipy import stats

from simulator.metrics import GUARDRAILS, Metric
from simulator.results.numbers import metric_form, percent
from simulator.results.scorecard import has_enough_events

Entry = Mapping[str, Any]
#: P99 may double before it counts as worse by itself, where no budget says what is fast enough.
P99_MARGIN = 1.0
#: Of a limit's name in the experiment file, the arm value it is about.
LIMITS = {"p99_ms": "p99_ms", "late_share": "missed_share", "degraded_share": "degraded_share"}


@dataclass(frozen=True)
class Guardrails:
    """An experiment's guardrails.

    Attributes:
        limits: by name in LIMITS, the largest value that is accepted, in the value's unit.
        margins: by metric, the share by which it may be worse; None takes the guardrail away. Metrics that
            are not named keep the registry's: those marked there, at margin 0.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    margins: Mapping[str, float | None] = field(default_factory=dict)

    def margins_of(self, metrics: Mapping[str, Entry], primary: str) -> dict[str, float]:
        """The margin of each guardrail metric among `metrics`, the primary one left out."""
        found: dict[str, float | None] = {metric.name: 0.0 for metric in GUARDRAILS}
        if "p99_ms" not in self.limits:
            found["p99_ms"] = P99_MARGIN
        found |= self.margins
        return {n: m for n, m in found.items() if m is not None and n in metrics and n != primary}


@dataclass(frozen=True)
class Guard:
    """One guardrail's state.

    holds: True, False (shown to be broken) or None (not shown either way); only False stops a treatment,
        and None keeps it from shipping. rule: what is asked, in words; text: what was found.
    """

    name: str
    holds: bool | None
    rule: str
    text: str


def p_worse(entry: Entry, better: str, margin: float = 0.0) -> float | None:
    """P-value of "worse by no more than the margin"; None where nothing can be said.

    With few events the exact test of units with an event speaks, as it does where an arm has lost them all.

    Args:
        entry: a metric's entry.
        better: "higher" or "lower".
        margin: the share by which the metric may be worse; 1 for a lower-is-better metric means doubled.
    """
    events = entry.get("events")
    if events is not None and not has_enough_events(entry):
        loses = events["fewer"] if better == "higher" else not events["fewer"]
        return float(events["p_value"]) / 2 if loses else 1.0
    distance = _distance(entry, margin if better == "lower" else -margin)
    return None if distance is None else float(stats.norm.sf(distance if better == "lower" else -distance))


def _distance(entry: Entry, edge: float) -> float | None:
    """How far above `edge` the interval's middle is, in units that make the interval's end z."""
    ci = entry.get("ci")
    if ci is None:
        return None
    low, high = (float(end) for end in ci)
    if low > -1 and edge > -1:  # log-ratio intervals are even on the logarithm
        low, high, edge = math.log1p(low), math.log1p(high), math.log1p(edge)
    middle, half = (low + high) / 2 - edge, (high - low) / 2
    z = float(stats.norm.isf((1 - float(entry["level"])) / 2))
    if half <= 0:
        return 0.0 if middle == 0 else math.copysign(math.inf, middle)
    return z * middle / half


def metric_guard(metric: Metric, entry: Entry, margin: float, p: float | None, alpha: float) -> Guard:
    """A guardrail metric's state.

    Args:
        metric: which.
        entry: the metric's entry.
        margin: as in `Guardrails.margins_of`.
        p: of being worse by no more than the margin, corrected for the number of such tests.
        alpha: below which it is shown to be worse.
    """
    rule = f"{metric.label} is not shown to be worse" + (f" by more than {percent(margin)}" if margin else "")
    fallen = p is not None and p < alpha
    holds: bool | None = not fallen
    if margin and not fallen and metric.name != "p99_ms":
        rule = f"{metric.label} is shown not to be worse by more than {percent(margin)}"
        distance = _distance(entry, margin if metric.better == "lower" else -margin)
        inferior = distance is None or not has_enough_events(entry)
        reach = -math.inf if inferior or distance is None else distance
        reach = -reach if metric.better == "lower" and not inferior else reach
        holds = True if reach > stats.norm.isf(alpha) else None
    return Guard(metric.name, holds, rule, "")


def limit_guard(name: str, limit: float, values: Mapping[str, Entry], lift: Entry | None) -> Guard | None:
    """A limit's state; None where the arm has no such value.

    Args:
        name: in LIMITS.
        limit: the largest value accepted.
        values: "control" and "treatment": the arms' own `value` and `ci`.
        lift: the metric's entry, where it is compared.
    """
    control, own = values["control"], values["treatment"]
    value, ci = own.get("value"), own.get("ci")
    if value is None:
        return None
    form = metric_form(LIMITS[name])
    rule = f"{form.label} is at most {form.form(limit)}"
    beyond = ci is not None and ci[0] > limit
    other = control.get("value")
    shared = other is not None and other > limit and not _shown_worse(control, own, lift)
    found = f"{form.label} is {form.form(value)}, the limit {form.form(limit)}"
    if beyond and shared:
        return Guard(name, None, rule, f"{found}; control breaks it too ({form.form(other)}).")
    return Guard(name, False if beyond else True if value <= limit else None, rule, f"{found}.")


def _shown_worse(control: Entry, own: Entry, lift: Entry | None) -> bool:
    if lift is not None:
        ci = lift.get("ci")
        return ci is not None and ci[0] > 0
    ends = control.get("ci"), own.get("ci")
    return ends[0] is not None and ends[1] is not None and ends[1][0] > ends[0][1]
