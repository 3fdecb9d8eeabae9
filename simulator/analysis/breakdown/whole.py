"""The whole breakdown of a run, from its tables. Start at `breakdown_of`."""

from __future__ import annotations

from typing import Any

from simulator.analysis.breakdown.days import by_day
from simulator.analysis.breakdown.parts import Requests
from simulator.analysis.breakdown.segments import by_segment
from simulator.analysis.columns import AnalysisError, Table
from simulator.metrics import RATIOS
from simulator.results.read import Run
from simulator.results.scorecard import control_name, treatment_names

# Of the tables of a run; None for all columns.
_READ: dict[str, tuple[str, ...] | None] = {
    "served": ("arm", "request_id", "user_id", "period", "arrival_s", "history_available", "latency_ms"),
    "impressions": ("request_id", "click", "conversion", "charged", "value"),
    "truth": None,
    "users": None,
}


def breakdown_of(run: Run) -> dict[str, Any]:
    """`breakdown` of a run folder.

    Raises:
        AnalysisError: the run is not finished, or was made small.
        ResultsError: a table is missing or damaged.
    """
    card = run.scorecard
    if run.status != "finished" or card is None:
        raise AnalysisError(
            f"{run.path}: found a run that is {run.status}, expected a finished one. Resume it."
        )
    if "small" in run.manifest:
        raise AnalysisError(
            f"{run.path}: found a run that was made small, expected one with all of its requests. Give that."
        )
    tables = {name: run.table(name, columns) for name, columns in _READ.items()}
    return breakdown(**tables, arms=(control_name(card), *treatment_names(card)), level=card["level"])


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
