"""From served requests and auctions to the run folder's tables, as columns in the schemas' order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm
from simulator.inputs.prepare import Prepared
from simulator.market.ledger import impression_columns, ledger_columns, truth_columns
from simulator.market.pages import Auctions
from simulator.metrics import OUTCOMES
from simulator.serving.pipeline import Served
from simulator.traffic.trace import PERIODS

Array = NDArray[Any]
Columns = dict[str, Array]

_STAGES = ("store_start", "store_end", "transport_start", "transport_end", "score_start", "score_end")


def served_columns(
    prepared: Prepared,
    arms: Sequence[tuple[Arm, Served]],
    arm_of: Array,
) -> Columns:
    """The served table: every request in every arm.

    Args:
        arms: every arm and its timing plane, in their order.
        arm_of: (R,) index of the arm that the A/B gave each request to.
    """
    requests = prepared.requests
    period = np.array(PERIODS, dtype=object)[requests.period]
    parts = []
    for index, (arm, served) in enumerate(arms):
        steps = np.array([step.name for step in arm.ladder], dtype=object)
        part: Columns = {
            "arm": np.full(len(served), arm.name, dtype=object),
            "request_id": requests.request_id,
            "user_id": requests.user_id,
            "assigned": arm_of == index,
            "period": period,
            "arrival_s": requests.arrival_s,
            "sim_arrival_s": served.arrival_s,
            "history_available": prepared.history_available.astype(np.int32),
            "history_used": served.history_used,
            "step": served.step,
            "step_name": steps[served.step],
            "missed": served.missed,
        }
        for stage in _STAGES:
            part[f"{stage}_ms"] = _ms(getattr(served, f"{stage}_s"), served)
        deadline_ms = _ms(served.deadline_s, served)
        part["deadline_ms"] = np.where(np.isfinite(deadline_ms), deadline_ms, np.nan)
        part["latency_ms"] = served.latency_s * 1000.0
        parts.append(part)
    return _stacked(parts)


def _ms(at_s: Array, served: Served) -> Array:
    """Milliseconds since the request's arrival."""
    since: Array = (at_s - served.arrival_s) * 1000.0
    return since


def impressions_table(
    prepared: Prepared, parts: Sequence[tuple[Array, Auctions]], arm_of: Array, arms: Sequence[str]
) -> Columns:
    """The impressions of the A/B as assigned, pre-period included.

    Args:
        parts: rows of the trace and their auctions, for the pre-period and the experiment.
        arm_of: (R,) index of the arm that showed each page.
    """
    requests = prepared.requests
    advertiser = prepared.world.catalogue.advertiser.astype(np.int64)
    stacked = []
    for rows, auctions in parts:
        columns: Columns = dict(impression_columns(auctions, requests.request_id[rows], advertiser))
        columns["trace_row"] = rows[columns.pop("row")]
        stacked.append(columns)
    table = _stacked(stacked)
    order = np.lexsort((table["slot"], table["request_id"]))
    table = {name: column[order] for name, column in table.items()}
    row = table.pop("trace_row")
    table["user_id"] = requests.user_id[row]
    table["arm"] = np.array(arms, dtype=object)[arm_of[row]]
    table["period"] = np.array(PERIODS, dtype=object)[requests.period[row]]
    return table


def truth_table(prepared: Prepared, worlds: Mapping[str, Sequence[Auctions]]) -> Columns:
    """Expected outcomes of the experiment's requests in each arm's own world, the mean of its paths."""
    rows = np.flatnonzero(prepared.in_experiment)
    requests = prepared.requests
    parts = []
    for name, paths in worlds.items():
        made = [truth_columns(path, requests.request_id[rows], requests.user_id[rows]) for path in paths]
        columns: Columns = dict(made[0])
        for column in columns:
            if column.startswith("expected_"):
                columns[column] = np.stack([one[column] for one in made]).astype(np.float64).mean(0)
        parts.append({"arm": np.full(len(rows), name, dtype=object)} | columns)
    return _stacked(parts)


def path_totals(worlds: Mapping[str, Sequence[Auctions]]) -> dict[str, Columns]:
    """By arm, each expected outcome's total on every path: how much the truth depends on drawn clicks."""
    return {
        arm: {f"expected_{n}": np.array([getattr(p, f"expected_{n}").sum() for p in paths]) for n in OUTCOMES}
        for arm, paths in worlds.items()
    }


def ledger_table(worlds: Mapping[str, Auctions], budgets: Array, days: Array) -> Columns:
    """What every advertiser paid and got in each world, sorted by world."""
    parts = []
    for world in sorted(worlds):
        columns: Columns = dict(ledger_columns(worlds[world], budgets, days))
        parts.append({"world": np.full(len(columns["day"]), world, dtype=object)} | columns)
    return _stacked(parts)


def _stacked(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
