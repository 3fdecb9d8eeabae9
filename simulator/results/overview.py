"""The arms side by side, one row each: several treatments' verdicts, and how every arm served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.metrics import METRICS
from simulator.results import numbers
from simulator.results.bottleneck import UTILISATIONS, serving_of
from simulator.results.scorecard import (
    Effect,
    arms_of,
    control_name,
    effects,
    of_table,
    primary,
    treatment_names,
    verdict_of,
)

_LATENCY = "p99_ms"


def overview(scorecard: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Headings, then the control and every treatment: verdict, the primary metric's lift, P99 latency.

    Empty where there are fewer than two treatments, which one table shows already, or no primary metric.
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


def serving(scorecard: Mapping[str, Any], *, intervals: bool = False) -> list[tuple[str, ...]]:
    """Headings, then every arm: P99, its late, degraded and full-history requests, and its fullest server.

    The shares are of the requests that the A/B assigned to the arm; servers are those of an arm that
    serves all requests. Empty for a scorecard without arms.

    Args:
        intervals: whether to put the intervals beside the values.
    """
    shown = [metric for metric in METRICS if metric.of_serving and (metric.compared or metric.unit != "ms")]
    rows = [("arm", *(metric.label for metric in shown), "Bottleneck")]
    loads = serving_of(scorecard)
    for name, arm in arms_of(scorecard).items():
        values = arm.get("values") or {}
        cells = []
        for metric in shown:
            found, form = values.get(metric.name) or {}, numbers.metric_form(metric.name).form
            ends = numbers.interval(found.get("ci"), form) if intervals else numbers.MISSING
            cells.append(form(found.get("value")) + (f" ({ends})" if ends != numbers.MISSING else ""))
        rows.append((name, *cells, _fullest(loads.get(name) or {})))
    return [] if len(rows) < 2 or of_table(scorecard) else rows


def _fullest(load: Mapping[str, Any]) -> str:
    """The bottleneck and how busy it is: "scorer 79.0%"."""
    if not load.get("bottleneck"):
        return numbers.MISSING
    # A store worker holds its request through reading and transport.
    reading, transport, scorer = (load[name] for name in UTILISATIONS)
    busy = scorer if load["bottleneck"] == "scorer" else reading + transport
    return f"{load['bottleneck']} {numbers.percent(busy, digits=0)}"
