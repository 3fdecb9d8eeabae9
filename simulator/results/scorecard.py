"""What a scorecard says: rows of one metric and treatment each, the arms, their users and verdicts.

Everything is read from the arms' entries; what a scorecard of two arms shows at its top is for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.metrics import METRICS, PRIMARY, Metric

MIN_UNITS = 100  # an arm with fewer gets no interval shown: its normal approximation is not to be trusted
MIN_EVENTS = 20  # users of an arm with an event below which a ratio's interval is not to be trusted
# Equal contributions to an arm's variance, likewise. Tests of 5 % on heavy-tailed draws without an effect
# (lognormal, Pareto, a few users far above the others) erred in 11 to 14 % below three, in 3 to 8 % above.
MIN_EFFECTIVE = 3
#: What is said where the checks of `simulator/analysis/health` found nothing.
SOUND = (
    "No sign in the logs of lost logs, bots, delayed or missing conversions, novelty or calibration drift."
)
#: What a service time from the edge of a profile is worth: see "Validity envelope" of docs/serving.md.
OUTSIDE = (
    "Below the least measured history the edge's times are too long, so latencies are if anything "
    "overstated; above the most, which only experiment.extrapolate = true allows, they are too short."
)
REAL_LOG = "Traffic: a real log"  #: how the note on a log's traffic begins
SRM_ALPHA = 0.001  # below, the split is not the one configured (Fabijan et al., KDD 2019)


@dataclass(frozen=True)
class Effect:
    """One metric of one treatment against control; None where unknown.

    Attributes:
        metric, arm, unit, role: what is compared; arm is the treatment's name.
        control, treatment: the arms' values, in `unit`.
        lift, ci_low, ci_high, true_lift, true_se, mde: fractions.
        level, method, p_value: of the interval and its test.
        n: requests.
        enough: whether there is data enough to show the estimate.
        reason: why there is no estimate or no interval; empty otherwise.
    """

    metric: str
    arm: str
    unit: str
    role: str
    control: float | None
    treatment: float | None
    lift: float | None
    ci_low: float | None
    ci_high: float | None
    level: float | None
    method: str
    p_value: float | None
    true_lift: float | None
    true_se: float | None
    mde: float | None
    n: int | None
    enough: bool
    reason: str = ""

    @property
    def ci(self) -> tuple[float | None, float | None]:
        """Both ends of the interval."""
        return self.ci_low, self.ci_high

    @property
    def adjusted(self) -> bool:
        """Whether both values are CUPED-adjusted, so that control's depends on the treatment beside it."""
        return "CUPED" in self.method

    @property
    def covered(self) -> bool | None:
        """Whether the interval contains the true lift; None if either is unknown."""
        if self.ci_low is None or self.ci_high is None or self.true_lift is None:
            return None
        return self.ci_low <= self.true_lift <= self.ci_high


@dataclass(frozen=True)
class ArmUsers:
    """Users of an arm with at least one request, and the number its configured share promised."""

    name: str
    users: int
    expected: float


def effects(scorecard: Mapping[str, Any]) -> list[Effect]:
    """Every effect, by treatment: the known metrics in their order, then others as they come."""
    found = []
    for arm in treatment_names(scorecard):
        metrics = arms_of(scorecard)[arm]["metrics"]
        names = dict.fromkeys([*(m.name for m in METRICS if m.name in metrics), *metrics])
        populous = has_enough_users(scorecard, arm)
        found += [_effect(name, arm, metrics[name], scorecard, populous) for name in names]
    return found


def tile_metrics(scorecard: Mapping[str, Any]) -> list[Metric]:
    """The metrics that a page shows first, the primary one leading."""
    effect = primary(scorecard)
    leading = effect.metric if effect else PRIMARY
    shown = [metric for metric in METRICS if metric.tile or metric.name == leading]
    return sorted(shown, key=lambda metric: metric.name != leading)


def has_enough_users(scorecard: Mapping[str, Any], arm: str) -> bool:
    """Whether the control and this arm have MIN_UNITS users each."""
    arms = arms_of(scorecard)
    return all(arms[name]["units"] >= MIN_UNITS for name in (control_name(scorecard), arm))


def has_enough_events(entry: Mapping[str, Any]) -> bool:
    """Whether a metric's interval rests on enough users with an event, where these are counted."""
    return not too_few_events(entry.get("events"))


def too_few_events(events: Mapping[str, Any] | None) -> str:
    """Why an interval is not to be trusted; empty where it is, or where events are not counted."""
    if events is None:
        return ""
    if not _many(events):
        return f"Fewer than {MIN_EVENTS} users with an event in an arm."
    effective = events.get("effective")
    if effective is None or effective >= MIN_EFFECTIVE:
        return ""
    return (
        f"A few users outweigh the rest: an arm's variance is that of {effective:.1f} equal contributions, "
        f"and {MIN_EFFECTIVE} are needed for an interval."
    )


def _many(events: Mapping[str, Any]) -> bool:
    return bool(min(events["control"], events["treatment"]) >= MIN_EVENTS)


def heavy_tails(scorecard: Mapping[str, Any]) -> list[str]:
    """Metrics whose variance a few users make although many have an event, a sentence each."""
    found = []
    for arm in treatment_names(scorecard):
        for name, entry in arms_of(scorecard)[arm]["metrics"].items():
            events = entry.get("events") or {}
            effective = events.get("effective")
            if effective is not None and effective < MIN_EVENTS and _many(events):
                found.append(
                    f"Heavy tail: of {name} in {arm} or its control, the variance is that of {effective:.0f} "
                    "equal contributions. A few users outweigh the rest; look at the winsorised variant too."
                )
    return found


def of_table(scorecard: Mapping[str, Any]) -> bool:
    """Whether it judges a table of one's own, where there are no servers and no truth."""
    return scorecard.get("source") == "table"


def of_log(scorecard: Mapping[str, Any]) -> bool:
    """Whether its traffic is a real log, whose truth is a model fitted on it."""
    return any(str(note).startswith(REAL_LOG) for note in scorecard.get("notes") or ())


def arm_users(scorecard: Mapping[str, Any]) -> list[ArmUsers]:
    """Users by arm, in order."""
    arms = arms_of(scorecard).items()
    return [ArmUsers(name, arm["units"], scorecard["srm"]["expected"][name]) for name, arm in arms]


def primary(scorecard: Mapping[str, Any], arm: str | None = None) -> Effect | None:
    """The primary metric's effect, of the first treatment or of `arm`; None if there is none."""
    found = (e for e in effects(scorecard) if e.role == "primary" and arm in (None, e.arm))
    return next(found, None)


def arms_of(scorecard: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Each arm's entry, in order; none of a scorecard that was not written yet."""
    found: Mapping[str, Mapping[str, Any]] = scorecard.get("arms") or {}
    return found


def control_name(scorecard: Mapping[str, Any]) -> str:
    """The control arm's name; "control" if it is unknown."""
    named = (name for name, arm in arms_of(scorecard).items() if arm["role"] == "control")
    return next(named, "control")


def treatment_names(scorecard: Mapping[str, Any]) -> list[str]:
    """The treatments' names, in order."""
    return [name for name, arm in arms_of(scorecard).items() if arm["role"] == "treatment"]


def verdict_of(scorecard: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    """The verdict on one treatment: text, and decision (ship, stop, inconclusive, invalid)."""
    found: Mapping[str, Any] = arms_of(scorecard)[arm]["verdict"]
    return found


def faults(scorecard: Mapping[str, Any]) -> list[str]:
    """What is wrong with the logs that arms were judged by, a sentence for each treatment."""
    return [
        f"{arm} against {control_name(scorecard)}: {fault['fault']}. {fault['text']}"
        for arm in treatment_names(scorecard)
        if (fault := arms_of(scorecard)[arm].get("fault"))
    ]


def checked_for_faults(scorecard: Mapping[str, Any]) -> bool:
    """Whether its logs were looked at; those of older runs, and tables of one's own, were not."""
    return any("fault" in arm for arm in arms_of(scorecard).values())


def split_is_off(scorecard: Mapping[str, Any]) -> bool:
    """Whether the sample ratio test rejects the configured split, or an arm got nobody."""
    srm = scorecard.get("srm") or {}
    p = srm.get("p_value")
    return srm.get("status") in ("alert", "empty") or (p is not None and p < SRM_ALPHA)


def _effect(
    name: str, arm: str, entry: Mapping[str, Any], scorecard: Mapping[str, Any], populous: bool
) -> Effect:
    low, high = entry.get("ci") or (None, None)
    return Effect(
        metric=name,
        arm=arm,
        unit=str(entry.get("unit") or ""),
        role=str(entry.get("role") or "secondary"),
        control=entry.get("control"),
        treatment=entry.get("treatment"),
        lift=entry.get("lift"),
        ci_low=low,
        ci_high=high,
        level=entry.get("level", scorecard.get("level")),
        method=str(entry.get("method") or ""),
        p_value=entry.get("p_value"),
        true_lift=entry.get("true_lift"),
        true_se=entry.get("true_se"),
        mde=entry.get("mde"),
        n=entry.get("n"),
        enough=populous and has_enough_events(entry) and None not in (entry.get("lift"), low, high),
        reason=str(entry.get("reason") or _too_few(entry, populous)),
    )


def _too_few(entry: Mapping[str, Any], populous: bool) -> str:
    """Why an estimate that was made is not shown; empty where it is."""
    if not populous:
        return f"Fewer than {MIN_UNITS} users in an arm."
    return too_few_events(entry.get("events"))
