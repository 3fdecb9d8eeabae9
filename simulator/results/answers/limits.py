"""How far one can go: the budget at which a treatment stops winning, the most traffic an arm takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.results.answers.edge import Edge, Place, place
from simulator.results.answers.grid import Known, Point, Settings, groups_of_arm, lines_along
from simulator.results.answers.size import largest, size_to_tell
from simulator.results.answers.terms import Terms, margin
from simulator.results.axes import BUDGET, Axis

TRAFFIC = ("traffic.load", "traffic.requests_per_s", "traffic.time_compression")
_TOLD = {
    "always": "the A/B shows no end of it at any simulated value",
    "never": "by the A/B's estimate it never holds",
    "unknown": "the A/B has no estimate",
}


def break_even(points: Sequence[Point], axes: Sequence[Axis]) -> tuple[list[dict[str, Any]], str | None]:
    """The latency budget below which a treatment no longer wins, for each of the other settings.

    Returns:
        A record each, and why there is none.
    """
    if not any(axis.key == BUDGET and axis.numeric for axis in axes):
        return [], f"the sweep does not vary the latency budget: add --over {BUDGET}=A,B,C"
    found = []
    for rest, line in lines_along(points, BUDGET):
        # From the longest budget down.
        line, budgets = line[::-1], [float(point.settings[BUDGET]) for point in line[::-1]]
        for arm in line[0].treatments:
            place_ = place(budgets, [point.lift(arm) for point in line], lambda lift: lift > 0)
            record = _record(place_, budgets, rest, arm, "ms", "wins", "budget")
            found.append(record | {"needed": _needed_lift(line, place_, arm)})
    return found, None


def max_traffic(
    points: Sequence[Point], axes: Sequence[Axis], terms: Terms
) -> tuple[list[dict[str, Any]], str | None]:
    """The most requests per second that each arm takes within the limits, for each of the other settings.

    Returns:
        A record each, and why there is none.
    """
    key = next((axis.key for axis in axes if axis.key in TRAFFIC and axis.numeric), None)
    if key is None:
        return [], "the sweep does not vary the traffic: add --over traffic.requests_per_s=A,B,C"
    found = [
        _traffic([rated[rate] for rate in sorted(rated)], arm, rest, terms)
        for arm in (points[0].arms if points else ())
        for rest, line in groups_of_arm(points, arm, but=key)
        if (rated := _by_rate(line, arm))
    ]
    return found, None if found else "no request reached a server of any arm"


def _by_rate(line: Sequence[Point], arm: str) -> dict[float, Point]:
    """The first point of each rate at which an arm was asked."""
    rates = [(point.serving(arm).get("requests_per_s"), point) for point in line]
    return {rate: point for rate, point in reversed(rates) if rate}


def _traffic(line: Sequence[Point], arm: str, rest: Settings, terms: Terms) -> dict[str, Any]:
    """The limit that is reached first."""
    rates = [float(point.serving(arm)["requests_per_s"]) for point in line]
    records = []
    for name in terms.limits(line[0]):
        margins = [margin(point.of_arm(arm, name), terms.limits(point)[name]) for point in line]
        place_ = place(rates, margins, lambda left: left >= 0)
        records.append(
            _record(place_, rates, rest, arm, "requests/s", "holds its limits", "traffic")
            | {"limit": name, "needed": _needed_margin(line, place_, margins)}
        )
    return min(records, key=lambda record: _reached(record, rates))


def _reached(record: Mapping[str, Any], rates: Sequence[float]) -> float:
    if record["true_value"] is not None:
        return float(record["true_value"])
    return rates[0] if record["state"] == "never" else 2 * rates[-1]


def _record(
    found: Place, xs: Sequence[float], rest: Settings, arm: str, unit: str, what: str, axis: str
) -> dict[str, Any]:
    true, told = found.true, found.told
    between = sorted((xs[true.index], xs[true.index + 1])) if true.at is not None else None
    return {
        "arm": arm,
        "at": dict(rest),
        "unit": unit,
        "value": told.at,
        "ci": list(found.ci),
        "true_value": true.at,
        "true_se": found.true_se,
        "between": between,
        "state": true.state,
        "reason": _reason(true, xs, arm, unit, what, axis),
        "told": None if told.at is not None else _TOLD[told.state],
    }


def _reason(true: Edge, xs: Sequence[float], arm: str, unit: str, what: str, axis: str) -> str | None:
    """Why there is no true place."""
    if true.state == "unknown":
        return f"nothing is known of {arm} at any simulated {axis}"
    if true.state == "never":
        return f"{arm} {what} at no simulated {axis}, not even at {xs[0]:,.4g} {unit}"
    if true.state == "always":
        return f"{arm} {what} at every simulated {axis}, to {xs[-1]:,.4g} {unit}"
    return None


def _needed_lift(line: Sequence[Point], found: Place, arm: str) -> dict[str, Any] | None:
    """What it takes to tell the lift on both sides of the edge; None where the interval bounds it."""
    if found.true.at is None or None not in found.ci:
        return None
    sides = [point.needed(arm) for point in line[found.true.index : found.true.index + 2]]
    known = [side for side in sides if side is not None]
    return dict(max(known, key=lambda side: side["requests"])) if known else None


def _needed_margin(line: Sequence[Point], found: Place, margins: Sequence[Known]) -> dict[str, Any] | None:
    """What it takes to tell the margins on both sides of the edge; None where the interval bounds it."""
    if found.true.at is None or None not in found.ci:
        return None
    sides = slice(found.true.index, found.true.index + 2)
    return largest([size_to_tell(p, m, 0.0) for p, m in zip(line[sides], margins[sides], strict=True)])


def nothing(reason: str) -> dict[str, Any]:
    """An answer that there is not, and why."""
    return {"value": None, "ci": None, "true_value": None, "true_se": None, "reason": reason, "all": []}
