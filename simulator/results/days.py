"""What every arm did on every day: the run's long tables, added up. Start at `days_of`.

A row has two sides. The A/B's: the requests that it gave to the arm, what they showed and what came of it.
And the truth's: the expected outcomes of all the day's requests in the world where the arm serves everybody.
Days are the log's, counted from its first midnight; those before the experiment are the control's alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from simulator.metrics import BY_NAME, OUTCOMES, Ratio
from simulator.results.read import Run
from simulator.results.schemas import SCHEMAS
from simulator.results.tables import as_table

DAY_S = 86_400
#: Column of the days table -> percentile of latency_ms.
PERCENTILES = {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "p999_ms": 99.9}
I8 = NDArray[np.int64]
Columns = dict[str, Any]


def days_of(run: Run) -> pa.Table:
    """One row for each arm and day, in the arms' order, of the schema `days`.

    Of a run that was made small its own table, of a whole one what its tables add up to.

    Raises:
        ResultsError: a table is missing or damaged.
    """
    if run.has("days.parquet"):
        return run.table("days")
    return as_table("days", days_columns(run), run.path)


def lifts_by_day(days: pa.Table, metric: str, control: str) -> list[dict[str, Any]]:
    """How a metric's lift and its truth had grown by the end of each day of the experiment.

    Args:
        days: of `days_of`.
        metric: a ratio of the registry.
        control: the control's name.

    Returns:
        Records of arm (each treatment), day (1 is the experiment's first), lift and true_lift over all days
        until then, without intervals; None where the control has none of the metric yet. None at all for a
        metric that is no ratio.
    """
    ratio = BY_NAME.get(metric)
    if not isinstance(ratio, Ratio):
        return []
    frame = days.to_pandas()
    frame = frame[frame["period"] == "experiment"].sort_values("day")
    sums = {
        str(arm): own.set_index("day").cumsum(numeric_only=True)
        for arm, own in frame.groupby("arm", observed=True)
    }
    base = sums.pop(control)
    found = []
    for arm, own in sums.items():
        for number, day in enumerate(base.index.intersection(own.index), 1):
            now, then = own.loc[day], base.loc[day]
            top, below = f"expected_{ratio.top}", _expected(ratio.below)
            found.append(
                {
                    "arm": arm,
                    "day": number,
                    "lift": _lift(now[ratio.top], now[ratio.below], then[ratio.top], then[ratio.below]),
                    "true_lift": _lift(now[top], now[below], then[top], then[below]),
                }
            )
    return found


def _expected(below: str) -> str:
    return "true_requests" if below == "requests" else f"expected_{below}"


def _lift(top: float, below: float, control_top: float, control_below: float) -> float | None:
    if not (below and control_top and control_below):
        return None
    return float(top / below / (control_top / control_below) - 1)


def days_columns(run: Run) -> Columns:
    """`days_of` a whole run, by column.

    Raises:
        ResultsError: a table is missing or damaged.
    """
    served = run.table("served", ["arm", "request_id", "arrival_s", "period", "assigned", "step", "missed",
                                  "latency_ms"])  # fmt: skip
    arms = served["arm"].cast(pa.string()).unique().to_pylist()
    first = served.filter(pc.equal(served["arm"].cast(pa.string()), arms[0]))
    request_id = first["request_id"].to_numpy()  # ascending: so the table is sorted
    day_of = (first["arrival_s"].to_numpy() // DAY_S).astype(np.int64)
    start = int(day_of.min())
    days = int(day_of.max()) - start + 1
    before = pc.equal(first["period"].cast(pa.string()), "pre").to_numpy()
    period = np.where(np.bincount(day_of[before] - start, minlength=days) > 0, "pre", "experiment")

    def day(ids: NDArray[np.uint64]) -> I8:
        found: I8 = day_of[np.searchsorted(request_id, ids)] - start
        return found

    shown, truth = _shown(run, arms, day, days), _truth(run, arms, day, days)
    parts = []
    for place, name in enumerate(arms):
        mine = served.filter(pc.equal(served["arm"].cast(pa.string()), name))
        one = _served(mine, day(mine["request_id"].to_numpy()), days)
        one |= {key: table[place] for key, table in (shown | truth).items()}
        one |= {"arm": np.full(days, name, object), "day": start + np.arange(days), "period": period}
        keep = (one["requests"] > 0) | (one["true_requests"] > 0)
        parts.append({key: values[keep] for key, values in one.items()})
    return {key: np.concatenate([part[key] for part in parts]) for key in SCHEMAS["days"].names}


def _served(served: pa.Table, day: I8, days: int) -> Columns:
    """Of one arm's requests that the A/B assigned to it: how many, how late, how degraded, how long."""
    assigned = served["assigned"].to_numpy()
    latency_ms, day = served["latency_ms"].to_numpy()[assigned], day[assigned]
    missed, step = (served[name].to_numpy()[assigned] for name in ("missed", "step"))

    def count(which: NDArray[np.bool_]) -> I8:
        return np.bincount(day[which], minlength=days)

    order = np.argsort(day, kind="stable")
    ends = np.cumsum(np.bincount(day, minlength=days))[:-1]
    by_day = np.split(latency_ms[order], ends)
    quantiles = {
        key: np.array([np.percentile(some, p) if len(some) else np.nan for some in by_day])
        for key, p in PERCENTILES.items()
    }
    return {
        "requests": count(np.ones(len(day), np.bool_)), "missed": count(missed), "degraded": count(step > 0),
        **quantiles,
    }  # fmt: skip


def _shown(run: Run, arms: list[str], day: Any, days: int) -> dict[str, NDArray[Any]]:
    """By column (A, D), what the impressions of the A/B add up to."""
    found = run.table("impressions", ["arm", "request_id", "click", "conversion", "charged", "value"])
    place = _places(found["arm"], arms) * days + day(found["request_id"].to_numpy())
    weights = {
        "impressions": np.ones(len(place)),
        "clicks": found["click"].to_numpy(),
        "conversions": found["conversion"].to_numpy(),
        "revenue": found["charged"].to_numpy(),
        "advv": found["value"].to_numpy(),
    }
    sums = {key: _sums(place, values, len(arms), days) for key, values in weights.items()}
    whole = ("impressions", "clicks", "conversions")
    return {key: table.astype(np.int64) if key in whole else table for key, table in sums.items()}


def _truth(run: Run, arms: list[str], day: Any, days: int) -> dict[str, NDArray[Any]]:
    """By column (A, D), the expected outcomes of all requests of the experiment's days."""
    names = [f"expected_{name}" for name in OUTCOMES]
    found = run.table("truth", ["arm", "request_id", *names])
    place = _places(found["arm"], arms) * days + day(found["request_id"].to_numpy())
    sums = {name: _sums(place, found[name].to_numpy(), len(arms), days) for name in names}
    requests = np.bincount(place, minlength=len(arms) * days).reshape(len(arms), days)
    return {"true_requests": requests, **sums}


def _places(column: pa.ChunkedArray, arms: list[str]) -> I8:
    """Each row's arm, by its place among them."""
    places: I8 = pc.index_in(column.cast(pa.string()), pa.array(arms)).to_numpy().astype(np.int64)
    return places


def _sums(place: I8, values: NDArray[Any], arms: int, days: int) -> NDArray[np.float64]:
    sums: NDArray[Any] = np.bincount(place, values, arms * days)
    return sums.reshape(arms, days).astype(np.float64)
