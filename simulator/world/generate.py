"""One block of users in full: their behaviours, and the moments at which they are asked for ads.

Everything here depends on (configuration, seed, block) alone, so blocks can be made in any order,
on any worker, and one at a time. Letters: S sessions, E events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.traffic.behaviours import Behaviours
from simulator.world.catalogue import Categories
from simulator.world.clock import Timeline, Warp
from simulator.world.config import WorldConfig
from simulator.world.contents import NO_TOPIC, Events, draw_contents
from simulator.world.demand import Demand
from simulator.world.sessions import Sessions, draw_block
from simulator.world.streams import block_stream
from simulator.world.users import ACTIVE, BLOCK_USERS, DORMANT, UserTable


@dataclass(frozen=True)
class Moments:
    """When users are asked for ads; `event` and `topic` are hidden truth."""

    user: NDArray[np.int64]
    time_s: NDArray[np.float64]
    event: NDArray[np.int32]  #: index on the event axis, T at the pre-period's start
    topic: NDArray[np.uint16]  #: first topic of the session under way

    def take(self, rows: NDArray[np.int64] | slice) -> Moments:
        """Some of them."""
        return Moments(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def concatenate(cls, parts: list[Moments]) -> Moments:
        """Moments of several blocks, joined."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Block:
    """All that happens to up to BLOCK_USERS users."""

    behaviours: Behaviours
    log: Moments
    trace: Moments


@dataclass(frozen=True)
class Plan:
    """What every block needs to know: shared tables and how many requests each user gets."""

    config: WorldConfig
    seed: int
    users: UserTable
    categories: Categories
    warp: Warp
    demand: Demand


def generate_block(plan: Plan, block: int) -> Block:
    """Draw one block of users.

    Raises:
        ValueError: the world has no such block.
    """
    config = plan.config
    first = block * BLOCK_USERS
    if not 0 <= first < config.users:
        raise ValueError(
            f"Block {block} is outside this world of {config.users} users, {BLOCK_USERS} a block."
        )
    users = plan.users.rows(slice(first, first + BLOCK_USERS))
    sessions, rng = draw_block(config, users, plan.seed, block)
    events, topics = _events(plan, users, sessions, rng)
    stream = partial(block_stream, plan.seed, block=block)
    columns = draw_contents(config, plan.categories, users, events, topics, rng, stream)
    offsets = np.searchsorted(events.user, np.arange(len(users.activity) + 1))
    ids = np.arange(first, first + len(users.activity), dtype=np.uint64)
    behaviours = Behaviours(ids, offsets.astype(np.int64), events.time_s, *columns)
    timeline = Timeline.of(config)
    own = slice(first, first + len(ids))
    spans = {
        "log": (timeline.log_start_s, timeline.pre_start_s, plan.demand.log[own]),
        "trace": (timeline.pre_start_s, timeline.end_s, plan.demand.trace[own]),
    }
    moments = {
        cause: _moments(plan.seed, cause, behaviours, events, topics[:, 0], span)
        for cause, span in spans.items()
    }
    return Block(behaviours, moments["log"], moments["trace"])


def _events(
    plan: Plan, users: UserTable, sessions: Sessions, rng: np.random.Generator
) -> tuple[Events, NDArray[np.uint16]]:
    """Place every event in its session and in time; topics (S, 2) of each session."""
    timeline = Timeline.of(plan.config)
    count = len(sessions.user)
    session = np.repeat(np.arange(count), sessions.length)
    first = np.cumsum(sessions.length) - sessions.length
    user = sessions.user[session]

    # The event axis: index T belongs to a user's first event after the pre-period begins.
    past = np.bincount(
        sessions.user,
        weights=np.where(sessions.start_s < timeline.pre_start_s, sessions.length, 0),
        minlength=len(users.activity),
    ).astype(np.int64)
    user_first = np.searchsorted(user, np.arange(len(users.activity)))
    origin = plan.config.history_max - past - user_first
    index = np.arange(len(user)) + origin[user]
    topics = _topics(plan.config, users, sessions.user, index[first], rng)

    gap = np.exp(np.float32(plan.config.gap_sd) * rng.standard_normal(len(user), dtype=np.float32))
    gap = np.minimum(gap * np.float32(plan.config.gap_median_s), np.float32(plan.config.gap_max_s))
    gap[first] = 0.0
    running = np.cumsum(gap, dtype=np.float64)
    offset = running - running[first][session]
    start = _without_overlap(sessions.user, plan.warp(sessions.start_s), offset[first + sessions.length - 1])
    time_s = np.floor(start[session] + offset).astype(np.int64)
    kept = time_s < timeline.end_s
    return Events(user[kept], session[kept], index[kept], time_s[kept]), topics


def _without_overlap(
    user: NDArray[np.int64], start_s: NDArray[np.float64], duration_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Delay a session until its user's previous one is over; most stay where they are."""
    # A second's pause at least: rounding to whole seconds must not swap two sessions.
    length = duration_s + 1.0
    total = np.cumsum(length) - length
    # One pass over all users: each user's times are lifted above those of the user before.
    lift = user * (start_s.max() + total[-1] + 1.0)
    delayed: NDArray[np.float64] = np.maximum.accumulate(start_s - total + lift) + total - lift
    return np.maximum(delayed, start_s)


def _topics(
    config: WorldConfig,
    users: UserTable,
    user: NDArray[np.int64],
    event: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Two topics (S, 2) a session, drawn by weight x state; NO_TOPIC if no interest lives."""
    owners = users.rows(user)
    states = owners.states(event)
    share = np.zeros(3, dtype=np.float32)
    share[DORMANT], share[ACTIVE] = config.dormant_topic, 1.0
    running = np.cumsum(owners.weight * share[states], axis=1)
    draws = rng.random((len(user), 2), dtype=np.float32) * running[:, -1:]
    chosen = np.stack([(running <= draws[:, j : j + 1]).sum(axis=1) for j in (0, 1)], axis=1)
    chosen = np.minimum(chosen, config.interests - 1)
    topics = np.take_along_axis(owners.category, chosen, axis=1)
    return np.where(running[:, -1:] > 0, topics, NO_TOPIC)


def _moments(
    seed: int,
    cause: str,
    behaviours: Behaviours,
    events: Events,
    topic: NDArray[np.uint16],
    span: tuple[float, float, NDArray[np.int64]],
) -> Moments:
    """Ask users 1 to 5 s after events of theirs, chosen evenly among those in [start, end)."""
    start_s, end_s, counts = span
    rows = np.arange(len(behaviours.users))
    # Room for the pause keeps every request inside its period.
    low = behaviours.count_before(rows, np.full(len(rows), start_s))
    high = behaviours.count_before(rows, np.full(len(rows), end_s - 6.0))
    # Whoever only came in the last seconds is asked after the event before them, so no request is lost.
    low = np.where(high > low, low, np.maximum(high - 1, 0))
    high = np.maximum(high, low + 1)
    row = np.repeat(rows, counts)
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    user = behaviours.users[row].astype(np.int64)
    u = uniform(seed, f"{cause}-event", user, number)
    picked = behaviours.offsets[row] + low[row] + np.floor(u * (high - low)[row]).astype(np.int64)
    pause_s = 1.0 + 4.0 * uniform(seed, f"{cause}-pause", user, number)
    return Moments(
        user,
        np.clip(behaviours.time_s[picked] + pause_s, start_s, end_s - 1e-3),
        events.index[picked].astype(np.int32),
        topic[events.session[picked]],
    )
