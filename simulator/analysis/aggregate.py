"""From requests and impressions to users: the table every user-clustered estimate starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.analysis.columns import AnalysisError, Array, Table, columns, labels, units_of
from simulator.metrics import OUTCOMES

EXPERIMENT, PRE = "experiment", "pre"


def aggregate_users(
    served: Table, impressions: Table | Iterable[Table], arms: tuple[str, ...]
) -> dict[str, Array]:
    """One row per user with at least one experiment request, sorted by user.

    Args:
        served: the run's served table; only rows the A/B gave to their arm (`assigned`) count.
        impressions: the run's impressions table, or parts of it one after another; how it is parted changes
            no bit.
        arms: the arms' names, in order.

    Returns:
        user_id u8, arm (object array of names), requests, impressions, clicks, conversions i8,
        revenue, advv f8 [currency], missed, degraded i8, and pre_requests, pre_impressions, pre_clicks,
        pre_conversions, pre_revenue, pre_advv: the same over the pre-period, which control served.

    Raises:
        AnalysisError: a user has experiment requests in two arms, or an arm or period is unknown.
    """
    s = columns(served, "user_id", "assigned", "step", "missed")
    period, arm = labels(served, "period", (PRE, EXPERIMENT)), labels(served, "arm", arms)
    _known(period, "period", (PRE, EXPERIMENT))
    _known(arm, "arm", arms)
    mine = s["assigned"].astype(bool) & (period == 1)
    users, at = units_of(s["user_id"][mine].astype(np.uint64, copy=False))
    arm_of = _arm_of(users, at, arm[mine], arms)

    def count(values: Array) -> Array:
        return np.bincount(at, weights=values.astype(np.float64), minlength=len(users)).astype(np.int64)

    table: dict[str, Array] = {
        "user_id": users,
        "arm": np.array(arms, dtype=object)[arm_of],
        "requests": np.bincount(at, minlength=len(users)).astype(np.int64),
    }
    outcomes = _outcomes(impressions, users)
    table |= {name: outcomes[EXPERIMENT, name] for name in OUTCOMES}
    table["missed"] = count(s["missed"][mine])
    # Step 0 is the ladder's best; the arm's other steps, down to the prior order, are below it.
    table["degraded"] = count(s["step"][mine] > 0)
    before = s["assigned"].astype(bool) & (period == 0)
    place, known = _places(s["user_id"][before], users)
    table["pre_requests"] = np.bincount(place[known], minlength=len(users)).astype(np.int64)
    return table | {f"pre_{name}": outcomes[PRE, name] for name in OUTCOMES}


def _outcomes(
    impressions: Table | Iterable[Table], users: NDArray[np.uint64]
) -> dict[tuple[str, str], Array]:
    """Per (period, outcome), a total for each user; impressions of other users are left out."""
    parts = [impressions] if isinstance(impressions, Mapping | pa.Table) else impressions
    periods = (PRE, EXPERIMENT)
    totals = {(name, outcome): np.zeros(len(users)) for name in periods for outcome in OUTCOMES}
    for part in parts:
        i = columns(part, "user_id", "click", "conversion", "charged", "value")
        period = labels(part, "period", periods)
        _known(period, "period", periods)
        place, known = _places(i["user_id"], users)
        values = (np.ones(len(place)), i["click"], i["conversion"], i["charged"], i["value"])
        for code, name in enumerate(periods):
            rows = known & (period == code)
            for outcome, column in zip(OUTCOMES, values, strict=True):
                np.add.at(totals[name, outcome], place[rows], column[rows].astype(np.float64))
    money = ("revenue", "advv")
    return {key: total if key[1] in money else total.astype(np.int64) for key, total in totals.items()}


def _places(user_id: Array, users: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Index of each id in the sorted users, and whether it is there."""
    wanted = user_id.astype(np.uint64, copy=False)
    place = np.searchsorted(users, wanted).astype(np.int64)
    place[place == len(users)] = 0
    known = users[place] == wanted if len(users) else np.zeros(len(wanted), np.bool_)
    return place, known


def _arm_of(users: Array, at: Array, arm: Array, arms: tuple[str, ...]) -> NDArray[np.int64]:
    first = np.full(len(users), len(arms), np.int64)
    np.minimum.at(first, at, arm)
    last = np.full(len(users), -1, np.int64)
    np.maximum.at(last, at, arm)
    torn = np.flatnonzero(first != last)
    if len(torn):
        u = torn[0]
        raise AnalysisError(
            f"{len(torn)} users have experiment requests in two arms, such as user {users[u]} in "
            f"{arms[first[u]]!r} and {arms[last[u]]!r}; expected one arm per user. "
            "Mark as assigned only the rows of a user's own arm."
        )
    return first


def _known(codes: NDArray[np.int16], name: str, expected: tuple[str, ...]) -> None:
    if (codes < 0).any():
        raise AnalysisError(
            f"{int((codes < 0).sum())} rows have an unknown {name}, expected one of {expected}. "
            "Give the run's own arms and periods."
        )
