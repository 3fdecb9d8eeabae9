"""The scorecard as rows: one a metric and treatment, whatever the number of arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.metrics import METRICS, PRIMARY, Metric

MIN_UNITS = 100  # an arm with fewer gets no interval shown: its normal approximation is not to be trusted
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
    expected: float | None


def effects(scorecard: Mapping[str, Any]) -> list[Effect]:
    """Every effect of a scorecard: the known metrics in their order, then others as they come.

    With two arms the entries are `metrics`; with more, `arms` holds one object an arm, each
    treatment's with `metrics` of its own, and those are read instead.
    """
    found = []
    for arm, metrics in _by_treatment(scorecard).items():
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
    """Whether the control and this arm have MIN_UNITS users each; arms nobody counted pass."""
    users = {counted.name: counted.users for counted in arm_users(scorecard)}
    return all(users.get(name, MIN_UNITS) >= MIN_UNITS for name in (control_name(scorecard), arm))


def arm_users(scorecard: Mapping[str, Any]) -> list[ArmUsers]:
    """Users by arm, in order; a scorecard of two arms counts them by role, and `names` says whose."""
    names = scorecard.get("names") or {}
    expected = (scorecard.get("srm") or {}).get("expected") or {}
    counts = {str(names.get(key, key)): n for key, n in (scorecard.get("units") or {}).items()}
    return [ArmUsers(name, int(n), expected.get(name)) for name, n in counts.items() if n is not None]


def primary(scorecard: Mapping[str, Any], arm: str | None = None) -> Effect | None:
    """The primary metric's effect, of the first treatment or of `arm`; None if there is none."""
    found = (e for e in effects(scorecard) if e.role == "primary" and arm in (None, e.arm))
    return next(found, None)


def control_name(scorecard: Mapping[str, Any]) -> str:
    """The control arm's name."""
    arms = scorecard.get("arms") or {}
    named = [name for name, arm in arms.items() if (arm or {}).get("role") == "control"]
    return str(named[0] if named else (scorecard.get("names") or {}).get("control", "control"))


def treatment_names(scorecard: Mapping[str, Any]) -> list[str]:
    """The treatments' names, in order."""
    return list(_by_treatment(scorecard))


def verdict_of(scorecard: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    """The verdict on one treatment: text, and maybe decision (ship, stop, inconclusive, invalid)."""
    own = ((scorecard.get("arms") or {}).get(arm) or {}).get("verdict")
    found: Mapping[str, Any] = own or scorecard.get("verdict") or {}
    return found


def split_is_off(scorecard: Mapping[str, Any]) -> bool:
    """Whether the sample ratio test rejects the configured split, or an arm got nobody."""
    srm = scorecard.get("srm") or {}
    p = srm.get("p_value")
    return srm.get("status") in ("alert", "empty") or (p is not None and p < SRM_ALPHA)


def _by_treatment(scorecard: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    arms = scorecard.get("arms") or {}
    entries = {name: arm["metrics"] for name, arm in arms.items() if (arm or {}).get("metrics")}
    if entries:
        return entries
    metrics = scorecard.get("metrics") or {}
    name = (scorecard.get("names") or {}).get("treatment", "treatment")
    return {str(name): metrics} if metrics else {}


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
        enough=populous and entry.get("lift") is not None and low is not None and high is not None,
        reason=str(entry.get("reason") or ("" if populous else f"Fewer than {MIN_UNITS} users in an arm.")),
    )
