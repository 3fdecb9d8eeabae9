"""What the analysis reads of an experiment: sums by user, and of every request as little as it takes.

The tables of a run are made of the same arrays by `tables.py`, where they are written; a sweep's cell writes
none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.analysis.columns import units_of
from simulator.analysis.truth import OUTCOME_COLUMNS
from simulator.experiment.answers import of_own
from simulator.experiment.outcomes import KeptPages, Market, World, stretches
from simulator.inputs.prepare import Prepared
from simulator.scratch import mapped
from simulator.serving.pipeline import Served
from simulator.traffic.trace import PERIODS

Array = NDArray[Any]
Columns = dict[str, Any]


def assigned_requests(prepared: Prepared, served: Mapping[str, Served], arm_of: Array) -> pa.Table:
    """What users are counted by: of the served table the rows that the A/B gave to their arms.

    Args:
        served: by arm, its timing plane.
        arm_of: (R,) index of the arm that the A/B gave each request to.
    """
    arms = list(served.values())
    return pa.table(
        {
            "user_id": prepared.requests.user_id,
            "assigned": np.ones(len(arm_of), np.bool_),
            "step": of_own(arm_of, (arm.step for arm in arms)),
            "missed": of_own(arm_of, (arm.missed for arm in arms)),
            "arm": _coded(list(served), arm_of),
            "period": _coded(PERIODS, prepared.requests.period),
        }
    )


def answered_requests(prepared: Prepared, served: Mapping[str, Served], arm_of: Array) -> Columns:
    """When each request came, and how long its own arm took.

    Args:
        served: by arm, its timing plane.
        arm_of: (R,) index of the arm that the A/B gave each request to.
    """
    return {
        "user_id": prepared.requests.user_id,
        "day": prepared.requests.day,
        "period": _coded(PERIODS, prepared.requests.period),
        "latency_ms": of_own(arm_of, (_latency_ms(arm) for arm in served.values())),
    }


def impressions(prepared: Prepared, shown: KeptPages, tcpa: Array) -> Iterator[Columns]:
    """What users saw and did: of the impressions table what is added up, part by part."""
    for rows, pages in shown.stretches():
        row, slot = np.nonzero(pages.ad >= 0)
        conversion = pages.conversion[row, slot]
        yield {
            "user_id": prepared.requests.user_id[rows[row]],
            "day": prepared.requests.day[rows[row]],
            "pctr": pages.pctr[row, slot],
            "click": pages.click[row, slot],
            "conversion": conversion,
            "charged": pages.charged[row, slot],
            "value": np.where(conversion, tcpa[pages.ad[row, slot]], 0.0),
            "period": _coded(PERIODS, prepared.requests.period[rows[row]]),
        }


def served_requests(prepared: Prepared, served: Mapping[str, Served], arm_of: Array) -> dict[str, Columns]:
    """By arm, what is read of its served rows, of the experiment's requests."""
    inside = prepared.in_experiment
    users = mapped({"user_id": prepared.requests.user_id[inside]})
    return {
        name: mapped(
            users
            | {
                "assigned": arm_of[inside] == index,
                "step": arm.step[inside],
                "missed": arm.missed[inside],
                "latency_ms": _latency_ms(arm)[inside],
            }
        )
        for index, (name, arm) in enumerate(served.items())
    }


def _latency_ms(served: Served) -> Array:
    """(R,) of every request."""
    latency_ms = served.latency_s
    latency_ms *= 1000.0
    served.let_go()
    return latency_ms


def truth_by_user(market: Market, worlds: Mapping[str, World]) -> dict[str, Columns]:
    """By arm, its world's expected outcomes by user; see `simulator.analysis.truth.by_user`."""
    users, at = units_of(market.prepared.requests.user_id[market.experiment])
    requests = np.bincount(at, minlength=len(users))
    return {
        name: {"user_id": users, "requests": requests, **_sums(market, world, at, len(users))}
        for name, world in worlds.items()
    }


def _sums(market: Market, world: World, at: Array, users: int) -> Columns:
    sums = {name: np.zeros(users) for name in OUTCOME_COLUMNS}
    for places in stretches(np.arange(len(at))):
        means = world.means(market.experiment[places])
        for k, total in enumerate(sums.values()):
            # One after the other: the bits are those of one sum over the whole trace.
            np.add.at(total, at[places], means[:, k])
    return dict(sums)


def _coded(names: Sequence[str], codes: Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(list(names), pa.string()))
