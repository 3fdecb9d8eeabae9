"""The scorecard as rows: one a metric and treatment, whatever the number of arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_UNITS = 100  # an arm with fewer gets no interval shown: its normal approximation is not to be trusted
SRM_ALPHA = 0.001  # below, the split is not the one configured (Fabijan et al., KDD 2019)
ORDER = ("advv_per_request", "revenue_per_request", "ctr", "cvr", "p99_ms")


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


def effects(scorecard: Mapping[str, Any]) -> list[Effect]:
    """Every effect of a scorecard: the known metrics in their order, then others as they come.

    With two arms the entries are `metrics`; with more, `arms` holds one object a treatment with
    `metrics` of its own, and those are read instead.
    """
    units = scorecard.get("units") or {}
    found = []
    for arm, metrics in _by_treatment(scorecard).items():
        names = dict.fromkeys([*(name for name in ORDER if name in metrics), *metrics])
        counts = [units[key] for key in (control_name(scorecard), arm) if units.get(key) is not None]
        populous = all(number >= MIN_UNITS for number in counts)
        found += [_effect(name, arm, metrics[name], scorecard, populous) for name in names]
    return found


def primary(scorecard: Mapping[str, Any]) -> Effect | None:
    """The primary metric's effect (of the first treatment), if there is one."""
    return next((effect for effect in effects(scorecard) if effect.role == "primary"), None)


def control_name(scorecard: Mapping[str, Any]) -> str:
    """The control arm's name: "control", else the first arm with units."""
    units = scorecard.get("units") or {}
    return "control" if "control" in units or not units else str(next(iter(units)))


def treatment_names(scorecard: Mapping[str, Any]) -> list[str]:
    """The treatments' names, in order."""
    return list(_by_treatment(scorecard))


def split_is_off(scorecard: Mapping[str, Any]) -> bool:
    """Whether the sample ratio test rejects the configured split."""
    p = (scorecard.get("srm") or {}).get("p_value")
    return p is not None and p < SRM_ALPHA


def _by_treatment(scorecard: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    arms = scorecard.get("arms") or {}
    entries = {name: arm["metrics"] for name, arm in arms.items() if (arm or {}).get("metrics")}
    if entries:
        return entries
    metrics = scorecard.get("metrics") or {}
    names = [name for name in scorecard.get("units") or {} if name != control_name(scorecard)]
    return {names[0] if names else "treatment": metrics} if metrics else {}


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
    )
