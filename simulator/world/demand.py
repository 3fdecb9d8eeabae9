"""How often each user is asked for ads, in the log and in the trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError
from simulator.world.clock import Timeline
from simulator.world.config import WorldConfig
from simulator.world.sessions import draw_block
from simulator.world.streams import block_stream
from simulator.world.users import BLOCK_USERS, UserTable, block_count


@dataclass(frozen=True)
class Demand:
    """Requests of each user (U,)."""

    log: NDArray[np.int64]  #: of training and holdout
    trace: NDArray[np.int64]  #: of the pre-period and the experiment


def draw_demand(config: WorldConfig, users: UserTable, seed: int) -> Demand:
    """Share the configured totals among the users of a world.

    Where everyone is promised a visit in log and trace, each has `log_requests` in the log, and `requests` of
    the trace are shared by activity. Where not, both totals are shared by the behaviours in these days.

    Raises:
        SimulatorError: nobody comes in the days of log or trace.
    """
    if config.promised_visits == 1:
        log, trace = _events(config, users, seed)
        total = config.users * config.log_requests
        return Demand(_spread(total, log, seed, "log"), _spread(config.requests, trace, seed, "trace"))
    # The small constant lets every user appear at least in principle.
    weight = users.activity.astype(np.float64) + 0.01
    each = np.full(config.users, config.log_requests, dtype=np.int64)
    stream = block_stream(seed, "trace-counts")
    return Demand(each, stream.multinomial(config.requests, weight / weight.sum()))


def _spread(total: int, events: NDArray[np.float64], seed: int, cause: str) -> NDArray[np.int64]:
    """(U,) the total in proportion to events, each user's share rounded up or down."""
    if not events.any():
        raise SimulatorError(
            f"None of {len(events)} users comes in the days of the {cause}, expected some who can be asked. "
            "Raise users or days, or set promised_visits to 2."
        )
    # One random beginning for all (systematic sampling): as many requests as events are one for each event.
    edges = np.concatenate([[0.0], np.cumsum(events)]) * (total / events.sum())
    edges[-1] = total
    counts: NDArray[np.int64] = np.diff(
        np.floor(edges + block_stream(seed, f"{cause}-counts").random()).astype(np.int64)
    )
    return counts


def _events(
    config: WorldConfig, users: UserTable, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(U,) events of the sessions that begin in the log's days, and in the trace's."""
    timeline = Timeline.of(config)
    counts = []
    for block in range(block_count(config)):
        rows = users.rows(slice(block * BLOCK_USERS, (block + 1) * BLOCK_USERS))
        sessions, _ = draw_block(config, rows, seed, block)
        # The daily warp leaves midnights where they are, so a session's period is known before it.
        edges = np.array([timeline.log_start_s, timeline.pre_start_s, timeline.end_s])
        period = np.searchsorted(edges, sessions.start_s, side="right")
        counts.append(
            [
                np.bincount(sessions.user, np.where(period == p, sessions.length, 0), len(rows.activity))
                for p in (1, 2)
            ]
        )
    log, trace = np.concatenate(counts, axis=1)
    return log, trace
