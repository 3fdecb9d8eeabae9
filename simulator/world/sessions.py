"""When users visit: session starts and lengths, backwards and forwards from the log's first midnight.

Times here are *even* time, before the daily warp (`clock.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.world.clock import DAY_S, Timeline
from simulator.world.config import WorldConfig
from simulator.world.streams import block_stream
from simulator.world.users import UserTable, pace_of

_GAPS_AT_ONCE = 16  # visits of a stay that are drawn together


@dataclass(frozen=True)
class Sessions:
    """S sessions of a block of users, sorted by (user, start)."""

    user: NDArray[np.int64]  #: (S,) row within the block
    start_s: NDArray[np.float64]  #: even time
    length: NDArray[np.int64]  #: events, at least 1


def draw_block(
    config: WorldConfig, users: UserTable, seed: int, block: int
) -> tuple[Sessions, np.random.Generator]:
    """A block's sessions, and the generator that draws what happens in them.

    Args:
        config: of the world.
        users: the block's.
        seed: the world's.
        block: its number.
    """
    rng = block_stream(seed, "behaviours", block)
    return _draw_sessions(config, users, rng), rng


def _draw_sessions(config: WorldConfig, users: UserTable, rng: np.random.Generator) -> Sessions:
    """Sessions of whole histories and of the log, pre-period and experiment.

    The history holds exactly `history_length` events. Every user starts at least one session in the log's
    days and one in the trace's, or, where `promised_visits` is 1, one in either: whoever never came would
    be in neither. With `stay_days` users come from their arrival until they are gone, in whatever days.
    """
    visits = pace_of(config, users)
    if config.stay_days > 0:
        return _stays(config, visits, rng)
    old_start, old_length = _history(config, users, visits, rng)
    new_start, new_length = _window(config, visits, rng)
    start = np.concatenate([old_start[:, ::-1], new_start], axis=1)
    length = np.concatenate([old_length[:, ::-1], new_length], axis=1)
    kept = length > 0
    user = np.broadcast_to(np.arange(len(visits))[:, None], start.shape)
    return Sessions(user[kept].astype(np.int64), start[kept], length[kept])


def _gaps(
    config: WorldConfig, pace: NDArray[np.float64], width: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(U, width) gaps between session starts, seconds: lognormal, shorter for active users."""
    z = rng.standard_normal((len(pace), width))
    gaps: NDArray[np.float64] = (
        config.session_gap_days * DAY_S * np.exp(config.session_gap_sd * z) / pace[:, None]
    )
    return gaps


def _spanning(config: WorldConfig) -> float:
    """How much longer than others the gap is that spans the log's first midnight.

    Where visits are promised anyway, as long as others. Else it is drawn by length, as any moment falls into
    long gaps more often: then visits are as frequent at the log's begin as at the trace's end.
    """
    return 1.0 if config.promised_visits == 2 else float(np.exp(config.session_gap_sd**2))


def _lengths(config: WorldConfig, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Events of sessions, at least 1."""
    if config.session_sd == 0:
        return rng.geometric(1.0 / config.session_mean, shape).astype(np.int64)
    return _log_normal(config.session_mean, config.session_sd, shape, rng)


def _log_normal(
    mean: float, sd: float, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Events of sessions of this mean before rounding; what is below one event counts as one."""
    drawn = np.exp(np.log(mean) - 0.5 * sd**2 + sd * rng.standard_normal(shape))
    lengths: NDArray[np.int64] = np.maximum(np.rint(drawn), 1.0).astype(np.int64)
    return lengths


def _history(
    config: WorldConfig, users: UserTable, pace: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Starts and lengths (U, S), newest session first; length 0 where a user has fewer sessions."""
    need = users.history_length.astype(np.int64)
    lengths = np.empty((len(need), 0), dtype=np.int64)
    width = int(need.max() / config.session_mean * 1.25) + 20
    while (lengths.sum(axis=1) < need).any():
        lengths = np.concatenate([lengths, _lengths(config, (len(need), width), rng)], axis=1)
    before = np.cumsum(lengths, axis=1) - lengths
    # The oldest session loses the events beyond the history's length.
    lengths = np.clip(need[:, None] - before, 0, lengths)
    gaps = _gaps(config, pace, lengths.shape[1], rng)
    # The log's first midnight falls somewhere inside the gap that spans it.
    gaps[:, :1] *= _spanning(config) * rng.random(len(need))[:, None]
    back = np.cumsum(gaps, axis=1)
    log_start = Timeline.of(config).log_start_s
    # A history longer than the days before the log is squeezed into them, all gaps alike.
    oldest = np.where(lengths > 0, back, 0.0).max(axis=1, initial=0.0)
    squeeze = np.minimum(1.0, (log_start - 1.0) / np.maximum(oldest, 1.0))
    return log_start - back * squeeze[:, None], lengths


def _stays(config: WorldConfig, pace: NDArray[np.float64], rng: np.random.Generator) -> Sessions:
    """All visits of users who arrive at any time and stay for a while; an arrival is a visit."""
    end = Timeline.of(config).end_s
    arrival = end * rng.random(len(pace))
    # Of a day's fraction or of centuries: the exponent is bounded, so that a wide sd stays finite.
    stay = (
        config.stay_days * DAY_S * np.exp(np.minimum(config.stay_sd * rng.standard_normal(len(pace)), 50.0))
    )
    leave = np.minimum(arrival + stay, end)
    user, start = [np.arange(len(pace))], [arrival]
    staying, latest = user[0], arrival
    # Some gaps of everyone who is still there, until nobody is: most are gone after the first.
    while len(staying):
        gaps = _gaps(config, pace[staying], _GAPS_AT_ONCE, rng)
        starts = latest[:, None] + np.cumsum(gaps, axis=1)
        there = starts < leave[staying, None]
        user.append(np.broadcast_to(staying[:, None], starts.shape)[there])
        start.append(starts[there])
        staying, latest = staying[there[:, -1]], starts[there[:, -1], -1]
    users, starts = np.concatenate(user), np.concatenate(start)
    order = np.lexsort((starts, users))
    users, starts = users[order], starts[order]
    lengths = _lengths(config, users.shape, rng)
    if config.first_session > 0:
        newcomers = np.flatnonzero(np.diff(users, prepend=-1))
        lengths[newcomers] = _log_normal(config.first_session, config.first_session_sd, newcomers.shape, rng)
    return Sessions(users, starts, lengths)


def _window(
    config: WorldConfig, pace: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Starts and lengths (U, S) after the log's first midnight, oldest first; length 0 past the end."""
    timeline = Timeline.of(config)
    begin, middle, end = timeline.log_start_s, timeline.pre_start_s, timeline.end_s
    users = np.arange(len(pace))
    gaps = np.empty((len(pace), 0))
    width = int((end - begin) / DAY_S / config.session_gap_days) + 10
    while (gaps.sum(axis=1) < end - begin).any():
        gaps = np.concatenate([gaps, _gaps(config, pace, width, rng)], axis=1)
    gaps[:, 0] *= _spanning(config) * rng.random(len(pace))
    starts = begin + np.cumsum(gaps, axis=1)
    u_log, u_trace = rng.random(len(pace)), rng.random(len(pace))
    # No visit in a period: its first later visit moves into it, so the order stays.
    if config.promised_visits == 1:
        starts[:, 0] = np.where(starts[:, 0] < end, starts[:, 0], begin + u_log * (end - begin))
        room = starts
    else:
        starts[:, 0] = np.where(starts[:, 0] < middle, starts[:, 0], begin + u_log * (middle - begin))
        first = (starts < middle).sum(axis=1)
        room = np.concatenate([starts, np.full((len(pace), 1), np.inf)], axis=1)
        absent = room[users, first] >= end
        room[users[absent], first[absent]] = middle + u_trace[absent] * (end - middle)
    lengths = _lengths(config, room.shape, rng)
    return room, np.where(room < end, lengths, 0)
