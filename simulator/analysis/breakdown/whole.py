"""The whole breakdown of a run, from its tables. Start at `breakdown`."""

from __future__ import annotations

from typing import Any

from simulator.analysis.breakdown.days import by_day
from simulator.analysis.breakdown.parts import Requests
from simulator.analysis.breakdown.segments import by_segment
from simulator.analysis.columns import Table
from simulator.metrics import RATIOS


def breakdown(
    served: Table,
    impressions: Table,
    truth: Table,
    users: Table,
    arms: tuple[str, ...],
    level: float = 0.95,
) -> dict[str, Any]:
    """Every treatment's effects by day and by segment.

    Args:
        served, impressions, truth, users: the run's tables.
        arms: control first.
        level: of the intervals.

    Returns:
        "level", and "treatments": by name "days", by metric as of `by_day`, and "segments" as of
        `by_segment`.

    Raises:
        AnalysisError: a column is missing, or the tables are not of one run.
    """
    control, *treatments = arms
    found = {}
    for treatment in treatments:
        pair = (control, treatment)
        requests = Requests.of(served, impressions, truth, users, pair)
        found[treatment] = {
            "days": {metric.name: by_day(requests, metric, pair, level) for metric in RATIOS},
            "segments": by_segment(requests, RATIOS, pair, level),
        }
    return {"level": level, "treatments": found}
