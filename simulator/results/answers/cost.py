"""What it costs: the cheapest arm and setting that hold what is asked; the front of lift, P99 and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.results.answers.apart import above
from simulator.results.answers.grid import ARMS, Known, Point, Settings, groups_of, groups_of_arm
from simulator.results.answers.terms import Terms
from simulator.results.answers.worth import known
from simulator.results.numbers import metric_form


def options(points: Sequence[Point], terms: Terms) -> list[list[dict[str, Any]]]:
    """Every arm at each of its settings, by what is not for arms to choose: traffic, budget, market, world.

    Cells differ in what the arms are; what they must serve, and how fast, is asked of all of them alike. A
    cell in which nothing differs that an arm's outcome depends on is no further option of it.
    """
    groups = groups_of(points, lambda key: not key.startswith(ARMS))
    return [_options(group, terms) for _, group in groups]


def _options(group: Sequence[Point], terms: Terms) -> list[dict[str, Any]]:
    return [
        _option(alike[0], arm, at, terms) for arm in group[0].arms for at, alike in groups_of_arm(group, arm)
    ]


def _option(point: Point, arm: str, at: Settings, terms: Terms) -> dict[str, Any]:
    serving = point.serving(arm)
    treated = arm in point.treatments
    lift = point.lift(arm) if treated else Known(0.0, (0.0, 0.0), 0.0, 0.0)
    revenue = point.lift(arm, "revenue_per_request") if treated else Known(0.0, (0.0, 0.0), 0.0, 0.0)
    cost, rate = terms.cost(point, arm), serving.get("requests_per_s")
    return {
        "arm": arm,
        "cell": point.cell,
        "at": dict(at),
        "scorers": serving.get("scorers"),
        "store_workers": serving.get("store_workers"),
        "per_hour": cost,
        "per_million_requests": None if cost is None or not rate else cost / rate * 1e6 / 3600,
        "lift": known(lift),
        "revenue_lift": known(revenue),
        "p99_ms": known(point.of_arm(arm, "p99_ms")),
        "late_share": known(point.of_arm(arm, "missed_share")),
        "breaks": terms.breaks(point, arm),
        "doubts": terms.doubts(point, arm),
        "needed": terms.needed(point, arm),
    }


def cheapest(
    groups: Sequence[Sequence[dict[str, Any]]], points: Sequence[Point] = ()
) -> list[dict[str, Any]]:
    """Of each group the cheapest that holds everything in truth, and the cheapest that the A/B shows to.

    At equal cost the higher true lift wins; `as_good` are those of that cost whose lift is not told from it.
    `needed` is the size of experiment that shows the first to hold, where this one does not.

    Args:
        groups: of `options`.
        points: the sweep's, by which lifts are told apart; without them that is not asked.
    """
    found = []
    for group in groups:
        priced = [option for option in group if option["per_hour"] is not None]
        true = [option for option in priced if not option["breaks"]]
        shown = [option for option in priced if not option["doubts"]]
        record: dict[str, Any] = {
            "at": asked_of(group[0]["at"]),
            "true_value": min(true, key=_cost, default=None),
            "value": min(shown, key=_cost, default=None),
            "as_good": _as_good(true, {point.cell: point for point in points}),
            "needed": min(true, key=_cost)["needed"] if true else None,
            "reason": None,
        }
        if not true:
            broken = dict.fromkeys(name for option in priced for name in option["breaks"])
            labels = ", ".join(metric_form(name).label for name in broken)
            record["reason"] = (
                f"no simulated setting holds everything; broken are {labels}"
                if priced
                else "no arm's servers are known"
            )
        found.append(record)
    return found


def _as_good(true: Sequence[dict[str, Any]], of_cell: Mapping[int, Point]) -> list[dict[str, Any]]:
    best, found = min(true, key=_cost, default=None), []
    for option in true if of_cell else ():
        if option is best or best is None or option["per_hour"] != best["per_hour"]:
            continue
        how = above(of_cell[best["cell"]], best["arm"], of_cell[option["cell"]], option["arm"])
        if how is None or not how["told_apart"]:
            found.append({key: option[key] for key in ("arm", "cell", "at")})
    return found


def pareto(groups: Sequence[Sequence[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Of each group the options that no other beats in true lift, true P99 and cost at once."""
    return [
        sorted((option for option in group if not any(_beats(other, option) for other in group)), key=_cost)
        for group in ([option for option in group if None not in _goods(option)] for group in groups)
    ]


def asked_of(settings: Settings) -> dict[str, Any]:
    """Of a cell's settings, what is asked of its arms."""
    return {key: value for key, value in settings.items() if not key.startswith(ARMS)}


def _beats(other: dict[str, Any], option: dict[str, Any]) -> bool:
    mine, theirs = _goods(option), _goods(other)
    return theirs != mine and all(t >= m for t, m in zip(theirs, mine, strict=True))


def _goods(option: dict[str, Any]) -> tuple[Any, ...]:
    """Three numbers, the more the better."""
    p99_ms, cost = option["p99_ms"]["true_value"], option["per_hour"]
    return option["lift"]["true_value"], p99_ms and -p99_ms, cost and -cost


def _cost(option: dict[str, Any]) -> tuple[float, float]:
    return option["per_hour"], -(option["lift"]["true_value"] or 0.0)
