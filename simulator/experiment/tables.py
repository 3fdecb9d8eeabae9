"""From served requests and auctions to the run folder's tables, in the schemas' order.

The long tables are made part by part: columns of a stretch of rows, as many as a writer wants at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm
from simulator.experiment.outcomes import KeptPages, Market, World, stretches
from simulator.inputs.prepare import Prepared
from simulator.market.auction import assemble
from simulator.market.ledger import impression_columns, ledger_columns
from simulator.market.pages import Ledger
from simulator.metrics import OUTCOMES
from simulator.serving.pipeline import Served
from simulator.traffic.trace import PERIODS

Array = NDArray[Any]
Columns = dict[str, Array]

_STAGES = ("store_start", "store_end", "transport_start", "transport_end", "score_start", "score_end")


def served_parts(prepared: Prepared, arms: Sequence[tuple[Arm, Served]], arm_of: Array) -> Iterator[Columns]:
    """The served table: every request in every arm.

    Args:
        arms: every arm and its timing plane, in their order.
        arm_of: (R,) index of the arm that the A/B gave each request to.
    """
    order = np.argsort(prepared.requests.request_id, kind="stable")
    for index, (arm, served) in enumerate(arms):
        for rows in stretches(order):
            yield _served_columns(prepared, arm, served, rows, arm_of[rows] == index)
            served.let_go()


def _served_columns(prepared: Prepared, arm: Arm, served: Served, rows: Array, assigned: Array) -> Columns:
    requests = prepared.requests
    steps = np.array([step.name for step in arm.ladder], dtype=object)
    arrival_s = served.arrival_s[rows]

    def ms(at_s: Array) -> Array:
        """Milliseconds since the request's arrival."""
        since: Array = (at_s[rows] - arrival_s) * 1000.0
        return since

    deadline_ms = ms(served.deadline_s)
    return {
        "arm": np.full(len(rows), arm.name, dtype=object),
        "request_id": requests.request_id[rows],
        "user_id": requests.user_id[rows],
        "assigned": assigned,
        "period": _names(PERIODS, requests.period[rows]),
        "arrival_s": requests.arrival_s[rows],
        "sim_arrival_s": arrival_s,
        "history_available": prepared.history_available[rows].astype(np.int32),
        "history_used": served.history_used[rows],
        "step": served.step[rows],
        "step_name": steps[served.step[rows]],
        "missed": served.missed[rows],
        **{f"{stage}_ms": ms(getattr(served, f"{stage}_s")) for stage in _STAGES},
        "deadline_ms": np.where(np.isfinite(deadline_ms), deadline_ms, np.nan),
        "latency_ms": ms(served.completion_s),
    }


def impressions_parts(
    market: Market, shown: KeptPages, arm_of: Array, arms: Sequence[str]
) -> Iterator[Columns]:
    """The impressions of the A/B as assigned, pre-period included.

    Args:
        market: whose pages they are.
        shown: the pages of all requests.
        arm_of: (R,) index of the arm that showed each page.
    """
    requests = market.prepared.requests
    for rows in stretches(np.argsort(requests.request_id, kind="stable")):
        pages = assemble(
            shown.take(rows), requests.request_id[rows], requests.arrival_s[rows], market.book, market.rules,
            market.seed,
        )  # fmt: skip
        columns: Columns = dict(impression_columns(pages, requests.request_id[rows], market.book.advertiser))
        row = rows[columns.pop("row")]
        columns["user_id"] = requests.user_id[row]
        columns["arm"] = _names(arms, arm_of[row])
        columns["period"] = _names(PERIODS, requests.period[row])
        yield columns


def truth_parts(market: Market, worlds: Mapping[str, World]) -> Iterator[Columns]:
    """Expected outcomes of the experiment's requests in each arm's own world, the mean of its paths."""
    requests, inside = market.prepared.requests, market.experiment
    order = inside[np.argsort(requests.request_id[inside], kind="stable")]
    for name, world in worlds.items():
        for rows in stretches(order):
            means = world.means(rows)
            yield {
                "arm": np.full(len(rows), name, dtype=object),
                "request_id": requests.request_id[rows],
                "user_id": requests.user_id[rows],
                **{f"expected_{outcome}": means[:, k] for k, outcome in enumerate(OUTCOMES)},
            }


def ledger_table(worlds: Mapping[str, Ledger], budgets: Array, days: Array) -> Columns:
    """What every advertiser paid and got in each world, sorted by world."""
    parts = []
    for world in sorted(worlds):
        columns: Columns = dict(ledger_columns(worlds[world], budgets, days))
        parts.append({"world": np.full(len(columns["day"]), world, dtype=object)} | columns)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _names(names: Sequence[str], codes: Array) -> Array:
    return np.array(names, dtype=object)[codes]
