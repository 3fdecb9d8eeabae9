"""Schemas of the result tables, defined once. Units are in the column names; a fraction has none.

`served` has the timing plane's story of every request in every arm, `impressions` what the A/B
showed, `truth` the expected outcome of each request under each arm, `users` the table inference
starts from, `ledger` the advertisers' money, `sweep` one row per cell, arm and metric, `paired` what
compares a sweep's cells in the same users, `days` what a run that was made small keeps of the long tables.
A column is null where a thing did not happen; nothing is ever 0 for "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from simulator.results.axes import Axis

SCHEMA_VERSION = 1  # of the manifest and all tables together; a reader refuses another
SCORECARD_VERSION = 2  # of scorecard.json; a reader refuses another
ROW_GROUP_ROWS = 65_536  # fixed, so that equal tables are equal bytes

_NAME = pa.dictionary(pa.int8(), pa.string())  # few distinct values: arms, periods, ladder steps


def _schema(*fields: tuple[str, pa.DataType] | tuple[str, pa.DataType, str]) -> pa.Schema:
    """Fields are required unless marked "null"."""
    return pa.schema([pa.field(f[0], f[1], nullable=len(f) == 3) for f in fields])


SERVED = _schema(
    ("arm", _NAME),
    ("request_id", pa.uint64()),
    ("user_id", pa.uint64()),
    ("assigned", pa.bool_()),  # the A/B gave this request to this arm
    ("period", _NAME),  # "pre" | "experiment"
    ("arrival_s", pa.float64()),  # log time
    ("sim_arrival_s", pa.float64()),  # timing plane: log time / time_compression
    ("history_available", pa.int32()),  # behaviours
    ("history_used", pa.int32()),
    ("step", pa.int8()),  # index on the arm's ladder, 0 is the best
    ("step_name", _NAME),
    ("missed", pa.bool_()),  # completed after its deadline
    # Milliseconds since sim_arrival_s; null where the stage did not happen.
    ("store_start_ms", pa.float64(), "null"),
    ("store_end_ms", pa.float64(), "null"),
    ("transport_start_ms", pa.float64(), "null"),
    ("transport_end_ms", pa.float64(), "null"),
    ("score_start_ms", pa.float64(), "null"),
    ("score_end_ms", pa.float64(), "null"),
    ("deadline_ms", pa.float64(), "null"),  # null: no budget
    ("latency_ms", pa.float64()),  # arrival to completion, never capped
)

IMPRESSIONS = _schema(
    ("request_id", pa.uint64()),
    ("user_id", pa.uint64()),
    ("arm", _NAME),
    ("period", _NAME),
    ("slot", pa.uint8()),  # 0 is the top of the page
    ("ad_id", pa.uint64()),
    ("advertiser", pa.uint32()),
    ("pctr", pa.float64()),
    ("pcvr", pa.float64()),
    ("bid", pa.float64()),  # tCPA, currency per conversion
    ("price", pa.float64()),  # currency per click
    ("p_click", pa.float64()),  # truth
    ("p_convert", pa.float64()),  # truth, given a click
    ("click", pa.bool_()),
    ("conversion", pa.bool_()),
    ("conversion_s", pa.float64(), "null"),  # log time
    ("charged", pa.float64()),  # currency
    ("value", pa.float64()),  # currency: tCPA if converted
)

TRUTH = _schema(
    ("arm", _NAME),
    ("request_id", pa.uint64()),
    ("user_id", pa.uint64()),
    ("expected_impressions", pa.float64()),
    ("expected_clicks", pa.float64()),
    ("expected_conversions", pa.float64()),
    ("expected_revenue", pa.float64()),  # currency
    ("expected_advv", pa.float64()),  # currency
)

USERS = _schema(
    ("user_id", pa.uint64()),
    ("arm", _NAME),
    ("requests", pa.int64()),
    ("impressions", pa.int64()),
    ("clicks", pa.int64()),
    ("conversions", pa.int64()),
    ("revenue", pa.float64()),  # currency
    ("advv", pa.float64()),  # currency
    ("missed", pa.int64()),  # requests
    ("degraded", pa.int64()),  # requests below the ladder's first step
    ("pre_requests", pa.int64()),
    ("pre_impressions", pa.int64()),
    ("pre_clicks", pa.int64()),
    ("pre_conversions", pa.int64()),
    ("pre_revenue", pa.float64()),
    ("pre_advv", pa.float64()),
)

LEDGER = _schema(
    ("world", pa.string()),  # "ab", or "all:<arm>"
    ("day", pa.int32()),  # log time // 86,400 s
    ("advertiser", pa.uint32()),
    ("budget", pa.float64(), "null"),  # currency per day; null: unlimited
    ("spend", pa.float64()),  # currency
    ("clicks", pa.int64()),
    ("conversions", pa.int64()),
    ("value", pa.float64()),  # currency
)

DAYS = _schema(
    ("arm", _NAME),
    ("day", pa.int32()),  # log time // 86,400 s
    ("period", _NAME),  # "pre" | "experiment"
    # Of the requests that the A/B gave to the arm.
    ("requests", pa.int64()),
    ("missed", pa.int64()),  # requests
    ("degraded", pa.int64()),  # requests below the ladder's first step
    ("p50_ms", pa.float64(), "null"),  # of latency_ms; null: no request
    ("p95_ms", pa.float64(), "null"),
    ("p99_ms", pa.float64(), "null"),
    ("p999_ms", pa.float64(), "null"),
    ("impressions", pa.int64()),
    ("clicks", pa.int64()),
    ("conversions", pa.int64()),
    ("revenue", pa.float64()),  # currency
    ("advv", pa.float64()),  # currency
    # Of all requests of the day, in the world where the arm serves everybody; none before the experiment.
    ("true_requests", pa.int64()),
    ("expected_impressions", pa.float64()),
    ("expected_clicks", pa.float64()),
    ("expected_conversions", pa.float64()),
    ("expected_revenue", pa.float64()),  # currency
    ("expected_advv", pa.float64()),  # currency
)

SWEEP = _schema(
    ("cell", pa.int32()),
    # Here come the sweep's axes, a column each: see `sweep_schema`.
    ("arm", pa.string()),
    ("metric", pa.string()),
    ("value", pa.float64(), "null"),
    ("ci_low", pa.float64(), "null"),
    ("ci_high", pa.float64(), "null"),
    ("true_value", pa.float64(), "null"),
    ("unit", pa.string()),
)


def sweep_schema(axes: Sequence[Axis]) -> pa.Schema:
    """The table of a sweep over these axes: a column each, named by its key, after the cell's number."""
    fields = [pa.field(axis.key, _axis_type(axis), nullable=False) for axis in axes]
    return pa.schema([SWEEP.field("cell"), *fields, *(one for one in SWEEP if one.name != "cell")])


def _axis_type(axis: Axis) -> pa.DataType:
    first = axis.column(axis.values[0])
    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(type(first), pa.string())


# Of a sweep's cell, by treatment: what a user adds to the logarithm of its true lift in the primary metric.
PAIRED = _schema(
    ("arm", _NAME),
    ("user_id", pa.uint64()),
    ("requests", pa.int32()),  # in the experiment's period
    ("log_lift", pa.float64()),
)

SCHEMAS: dict[str, pa.Schema] = {
    "served": SERVED,
    "impressions": IMPRESSIONS,
    "truth": TRUTH,
    "users": USERS,
    "ledger": LEDGER,
    "days": DAYS,
    "sweep": SWEEP,
    "paired": PAIRED,
}

# Rows come to the writer in this order; the arms' order is the manifest's.
SORTED_BY: dict[str, tuple[str, ...]] = {
    "served": ("arm", "request_id"),
    "impressions": ("request_id", "slot"),
    "truth": ("arm", "request_id"),
    "users": ("user_id",),
    "ledger": ("world", "day", "advertiser"),
    "days": ("arm", "day"),
    "sweep": ("cell", "arm", "metric"),
    "paired": ("arm", "user_id"),
}
