"""The answers of a sweep, as `laser-ab report SWEEP --json` has them. Start at `answers_of`.

By the truth where it says "true", else by the A/B: an estimate with its interval over users. Between two
simulated values an edge is interpolated, and the answer says between which; nothing is told beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.results.answers.cost import asked_of, cheapest, options, pareto
from simulator.results.answers.grid import Point, is_own, points_of
from simulator.results.answers.limits import break_even, max_traffic, nothing
from simulator.results.answers.replications import replications
from simulator.results.answers.terms import Terms
from simulator.results.answers.worth import versus, worth
from simulator.results.axes import Axis
from simulator.results.files import plain
from simulator.results.read import Sweep


def answers_of(sweep: Sweep, terms: Terms) -> dict[str, Any]:
    """What the sweep says.

    Args:
        sweep: with at least one cell.
        terms: what is asked of a setting.

    Returns:
        What JSON can hold: `worth`, each treatment in each cell; `versus`, treatment against treatment;
        `replications`, the spread over seeds where there are several; `break_even_ms`, `max_requests_per_s`,
        `cheapest` and `pareto`, each that of the experiment's own settings, with those of every other setting
        under `all`; where there is none, null and the `reason`.

    Raises:
        ResultsError: a cell's scorecard is damaged.
    """
    points, axes = points_of(sweep), sweep.axes
    if not points:
        reason = "the sweep has no cell yet"
        empty = dict.fromkeys(("break_even_ms", "max_requests_per_s", "cheapest", "pareto"), nothing(reason))
        return {"terms": terms.note(), "worth": [], "versus": [], "replications": [], **empty}
    own = _own(points, axes)
    groups = options(points, terms)
    fronts = [
        {"true_value": front, "reason": None if front else "a lift, P99 or price is unknown"}
        for front in pareto(groups)
    ]
    found: dict[str, Any] = plain(
        {
            "terms": terms.note(),
            "worth": worth(points, terms),
            "versus": versus(points),
            "replications": replications(points),
            "break_even_ms": _headed(*break_even(points, axes), axes, own.treatments),
            "max_requests_per_s": _headed(
                *max_traffic(points, axes, terms), axes, own.arms[1:] + own.arms[:1]
            ),
            "cheapest": _of_own(groups, cheapest(groups, points), own),
            "pareto": _of_own(groups, fronts, own),
        }
    )
    return found


def _own(points: Sequence[Point], axes: Sequence[Axis]) -> Point:
    """The cell next to the experiment's own settings."""
    return next((point for point in points if is_own(axes, point.settings)), points[0])


def _headed(
    records: Sequence[Mapping[str, Any]], reason: str | None, axes: Sequence[Axis], arms: Sequence[str]
) -> dict[str, Any]:
    """Records under the one of the experiment's own settings and the first of the arms."""
    if reason is not None or not records:
        return nothing(reason or "the sweep has no cell yet")
    mine = [record for record in records if is_own(axes, record["at"])] or list(records)
    head = min(mine, key=lambda record: arms.index(record["arm"]))
    return {**head, "all": list(records)}


def _of_own(
    groups: Sequence[Sequence[Mapping[str, Any]]], found: Sequence[Mapping[str, Any]], own: Point
) -> dict[str, Any]:
    """What was found of each group, under that of the group of the experiment's own cell."""
    asked = asked_of(own.settings)
    index = next(i for i, group in enumerate(groups) if asked_of(group[0]["at"]) == asked)
    return {"value": None, **found[index], "all": list(found)}
