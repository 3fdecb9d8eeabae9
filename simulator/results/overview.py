"""Several treatments side by side: one row an arm, above the tables that tell each of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.results import numbers
from simulator.results.scorecard import Effect, control_name, effects, primary, treatment_names, verdict_of

_LATENCY = "p99_ms"


def overview(scorecard: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Headings, then the control and every treatment: verdict, the primary metric's lift, P99 latency.

    Empty where there are fewer than two treatments, which one table tells already, or no primary metric.
    """
    arms, first = treatment_names(scorecard), primary(scorecard)
    if len(arms) < 2 or first is None:
        return []
    latency = {effect.arm: effect for effect in effects(scorecard) if effect.metric == _LATENCY}
    rows = [_row(scorecard, arm, primary(scorecard, arm), latency.get(arm)) for arm in arms]
    label = numbers.metric_form(first.metric, first.unit).label
    headings = ("arm", "verdict", f"{label}, lift", numbers.level_name(first.level), "true lift", "P99")
    of_control = next((effect.control for effect in latency.values()), None)
    control = (control_name(scorecard), "control", *[numbers.MISSING] * 3, numbers.ms(of_control))
    return [headings, control, *rows]


def _row(
    scorecard: Mapping[str, Any], arm: str, effect: Effect | None, latency: Effect | None
) -> tuple[str, ...]:
    decision = str(verdict_of(scorecard, arm)["decision"])
    p99 = numbers.ms(None if latency is None else latency.treatment)
    if effect is None:
        return (arm, decision, *[numbers.MISSING] * 3, p99)
    lift = numbers.lift(effect.lift) if effect.enough else numbers.NOT_ENOUGH
    ends = numbers.interval(effect.ci, numbers.lift) if effect.enough else numbers.MISSING
    return (arm, decision, lift, ends, numbers.lift(effect.true_lift), p99)
