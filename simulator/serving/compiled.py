"""The timing plane, compiled: the same events in the same order, to the same bits, as `pipeline.py`.

Start at `serve_compiled`. Read `pipeline.py` first; it is the truth, and this its fast twin for service times
that are drawn. Lists grow with nothing: a burst costs as much a request as quiet traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.kept_code import jit_kept
from simulator.scratch import blank, let_go
from simulator.serving.arm import ServingArm, build_ladder
from simulator.serving.predictions import LEVELS
from simulator.serving.profile import ServiceProfile
from simulator.serving.queues import between, draw, hold_s, inlined, insert, pop, push, remove_oldest
from simulator.serving.rules import (
    DONE,
    FIFO,
    GIVEN_UP,
    GOODPUT,
    LADDER,
    READY,
    SCORE_END,
    SCORE_START,
    STORE_END,
    STORE_START,
    Line,
    goodput_batch,
    goodput_turn,
    ladder_batch,
    ladder_turn,
    score_alone,
)
from simulator.serving.served import Served, exact_gaps
from simulator.serving.service_times import ProfileServiceTimes
from simulator.serving.tables import places_of, tables_of

_POLICIES = {"fifo": FIFO, "goodput": GOODPUT, "ladder": LADDER}
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

# Requests whose records are in memory at a time, about.
_STRETCH = 1 << 18
_TURN, _WAITED, _BATCH = range(3)  # kinds of moments, in the order in which a request can have them


def serve_compiled(
    arrivals: NDArray[np.float64],
    available: NDArray[Any],
    arm: ServingArm,
    times: ProfileServiceTimes,
    budget_s: float | None,
) -> Served:
    """`serve` for a checked trace and drawn service times; times.clamped counts as there."""
    tables, requests = tables_of(arm, times, available), len(arrivals)
    most_s = np.inf if budget_s is None else float(budget_s)
    kept = blank(dict.fromkeys(("arrival_s", "deadline_s"), (np.float64, (requests,))) | {
        "times_s": (np.float64, (6, requests)), "place": (np.int32, (requests,)),
        "batch": (np.int32, (requests,)), "step": (np.int8, (requests,)), "missed": (np.bool_, (requests,)),
    })  # fmt: skip
    line, agenda, clamped = (
        _line(arm, kept, len(tables.histories)),
        _agenda(arm, requests),
        np.zeros(3, np.int64),
    )
    for first in range(0, requests, _STRETCH):
        end = min(first + _STRETCH, requests)
        rows = slice(first, end)
        kept["arrival_s"][rows], kept["deadline_s"][rows] = arrivals[rows], arrivals[rows] + most_s
        line.links[rows], line.times_s[:, rows] = -1, np.nan
        line.place[rows] = places_of(tables, available[rows])
        # The last arrival of a stretch plans the first of the next one.
        gaps = exact_gaps(arrivals[max(first - 1, 0) : end + 1])[min(first, 1) :]
        _run(
            line, tables, agenda, times.luck, arrivals, gaps, first, end, most_s, arm.max_batch,
            float(arm.max_wait_s), _POLICIES[arm.policy], clamped,
        )  # fmt: skip
        let_go(line.links, line.step, agenda.waits, times.luck)
    for stage, count in zip(times.clamped, clamped.tolist(), strict=True):
        times.clamped[stage] += count
    for first in range(0, requests, _STRETCH):
        rows = slice(first, first + _STRETCH)
        prior = line.step[rows] == GIVEN_UP
        # From now on it is the history used, in place of its place.
        line.place[rows] = np.where(prior, 0, tables.histories[line.place[rows]])
        line.step[rows][prior] = len(arm.steps) - 1
        kept["missed"][rows] = line.times_s[DONE, rows] > kept["deadline_s"][rows]
        let_go(line.step)
    return Served(
        step=line.step,
        history_used=line.place,
        missed=kept["missed"],
        batch=line.batch,
        arrival_s=kept["arrival_s"],
        store_start_s=line.times_s[STORE_START],
        store_end_s=line.times_s[STORE_END],
        transport_start_s=line.times_s[STORE_END],
        transport_end_s=line.times_s[READY],
        score_start_s=line.times_s[SCORE_START],
        score_end_s=line.times_s[SCORE_END],
        completion_s=line.times_s[DONE],
        deadline_s=kept["deadline_s"],
    )


def warm(profile: ServiceProfile) -> Path:
    """Compile now what the first trace would wait for: a quarter of a minute of CPU.

    Args:
        profile: any.

    Returns:
        The folder where the code is kept.
    """
    store, model = next(iter(profile.store)), next(iter(profile.score))
    arm = ServingArm("warm", store, build_ladder(model, 1), store_workers=1, scorers=1, max_batch=1)
    times = ProfileServiceTimes(profile, arm, 1, 0, np.zeros(1, np.uint64), extrapolate=True)
    serve_compiled(np.zeros(1), np.ones(1, np.int64), arm, times, 1.0)
    return Path(_run.stats.cache_path)


def _line(arm: ServingArm, kept: Mapping[str, NDArray[Any]], histories: int) -> Line:
    steps, requests = len(arm.steps) - 1, len(kept["step"])
    return Line(
        links=blank({"links": (np.int32, (requests, 2))})["links"],
        ends=np.full((steps, 2), -1, np.int64),
        counts=np.zeros(steps, np.int64),
        place=kept["place"],
        step=kept["step"],
        batch=kept["batch"],
        times_s=kept["times_s"],
        window=np.zeros(2 * arm.max_batch, np.int64),
        levels_s=np.zeros(LEVELS),
        alone_s=np.zeros((histories, 2)),
        committed=np.zeros(steps, np.int64),
        free_at=np.full(arm.scorers, np.nan),
    )


class _Agenda(NamedTuple):
    """What is to come when a stretch of arrivals ends.

    Attributes:
        moments, rows, kinds: of what is planned, a heap; see `queues.py`.
        waits: (R,) who waits for a batch to fill, by time; none where nobody does.
        at: how many are planned, first and last of `waits`, how many are read, idle workers and scorers.
        next_s: (1,) the next arrival.
    """

    moments: F8
    rows: I8
    kinds: I8
    waits: NDArray[np.int32]
    at: I8
    next_s: F8


def _agenda(arm: ServingArm, requests: int) -> _Agenda:
    room = arm.store_workers + arm.scorers + 1
    return _Agenda(
        moments=np.zeros(room),
        rows=np.zeros(room, np.int64),
        kinds=np.zeros(room, np.int64),
        waits=blank({"waits": (np.int32, (requests if arm.max_wait_s > 0.0 else 0,))})["waits"],
        at=np.array([0, 0, 0, 0, arm.store_workers, arm.scorers]),
        next_s=np.zeros(1),
    )


@jit_kept
def _run(  # type: ignore[no-untyped-def]
    line, t, agenda, luck, arrival_s, gaps, first, end, budget_s, max_batch, wait_s, policy, clamped
) -> None:
    """Every event until the last arrival of a stretch of rows; of the last stretch, every event.

    `luck` is (3, R): a uniform for each stage of a request; `gaps` begin with the stretch.
    """
    requests, arrived = len(arrival_s), first
    moments, rows, kinds, waits, at, next_s = agenda
    planned, first_wait, last_wait, read, idle_workers, idle_scorers = at
    if first == 0:
        next_s[0] = gaps[0]
        if policy == GOODPUT:
            score_alone(line, t)
    while arrived < end or (end == requests and (planned or first_wait < last_wait)):
        # The earliest moment of three: of equal ones the lower row's, then the one begun first.
        now, row, kind = np.inf, requests, 3
        if planned:
            now, row, kind = moments[0], rows[0], kinds[0]
        if first_wait < last_wait:
            waiter = int(waits[first_wait])
            over_s = line.times_s[READY, waiter] + wait_s
            if over_s < now or (over_s == now and (waiter < row or (waiter == row and kind > _WAITED))):
                now, row, kind = over_s, waiter, _WAITED
        if arrived < requests and (next_s[0] < now or (next_s[0] == now and arrived < row)):
            now, row, kind = next_s[0], arrived, -1
        if kind == -1:
            arrived += 1
            if arrived < requests:
                next_s[0] = now + gaps[arrived - first]
        elif kind == _WAITED:
            first_wait += 1
        else:
            planned = pop(moments, rows, kinds, planned)
            if kind == _TURN:
                line.times_s[READY, row] = now
                insert(line.links, line.ends, line.counts, line.step[row] if policy == LADDER else 0, row)
                idle_workers += 1
                if wait_s > 0.0:
                    waits[last_wait] = row
                    last_wait += 1
            else:
                idle_scorers += 1
                _end_batch(line, row, now)
        if kind >= 0:
            while idle_scorers:
                step, size = _next_batch(line, t, arrival_s, budget_s, max_batch, wait_s, policy, now)
                if not size:
                    break
                oldest, seconds = _start_batch(line, t, luck, step, size, policy, now, clamped)
                idle_scorers -= 1
                planned = push(moments, rows, kinds, planned, now + seconds, oldest, _BATCH)
        if kind <= _TURN:
            while idle_workers and read < arrived:
                row = read
                read += 1
                if not _begins(
                    line, t, row, arrival_s, budget_s, max_batch, wait_s, policy, now, read < arrived
                ):
                    continue
                idle_workers -= 1
                seconds = _fetch(line, t, luck, row, now, clamped)
                planned = push(moments, rows, kinds, planned, now + seconds, row, _TURN)
    at[:] = planned, first_wait, last_wait, read, idle_workers, idle_scorers


@inlined
def _begins(  # type: ignore[no-untyped-def]
    line, t, row, arrival_s, budget_s, max_batch, wait_s, policy, now, others_wait
) -> bool:
    """Whether a request is read; its step and history are set, or it is given up."""
    deadline_s, step, at_s = arrival_s[row] + budget_s, 0, np.nan
    if policy == GOODPUT:
        at_s = goodput_turn(line, t, row, deadline_s, now, others_wait)
    elif policy == LADDER:
        step, at_s = ladder_turn(line, t, row, deadline_s, max_batch, wait_s, now)
    if not np.isnan(at_s):
        give_up_now = max(at_s, arrival_s[row])
        line.step[row], line.times_s[DONE, row] = GIVEN_UP, give_up_now
        return False
    line.step[row], line.place[row] = step, t.cut[step, line.place[row]]
    return True


@inlined
def _fetch(line, t, luck, row, now, clamped) -> float:  # type: ignore[no-untyped-def]
    """Read and transport; seconds."""
    place = line.place[row]
    store_s = draw(t.grids, 0, place, 1, luck[0, row])
    line.times_s[STORE_START, row], line.times_s[STORE_END, row] = now, now + store_s
    clamped[0] += t.grids.outside[0, place]
    clamped[1] += t.grids.outside[1, place]
    return float(store_s + draw(t.grids, 1, place, 1, luck[1, row]))


@inlined
def _next_batch(  # type: ignore[no-untyped-def]
    line, t, arrival_s, budget_s, max_batch, wait_s, policy, now
) -> Any:
    """(step, size) of the batch that starts now, its requests the oldest of their list; size 0 for none."""
    if policy == GOODPUT:
        return goodput_batch(line, t, arrival_s, budget_s, max_batch, wait_s, now)
    if policy == LADDER:
        return ladder_batch(line, t, arrival_s, budget_s, max_batch, wait_s, now)
    if hold_s(line.links, line.ends, line.counts, 0, line.times_s[READY], max_batch, wait_s, now) > 0.0:
        return 0, 0
    return 0, min(line.counts[0], max_batch)


@inlined
def _start_batch(  # type: ignore[no-untyped-def]
    line, t, luck, step, size, policy, now, clamped
) -> tuple[int, float]:
    """Take a batch off its list; (oldest row, seconds)."""
    which = step if policy == LADDER else 0
    oldest = line.ends[which, 0]
    longest, row = 0, oldest
    for i in range(size):
        row = remove_oldest(line.links, line.ends, line.counts, which)
        longest = max(longest, line.place[row])
        line.step[row], line.batch[row], line.times_s[SCORE_START, row] = step, size, now
        if i == size - 1:
            line.links[row, 1] = -1  # the batch stays linked, from its oldest on
    if policy == LADDER:
        _predict_end(line, t, step, size, longest, oldest, now)
    clamped[2] += t.grids.outside[step + 2, longest]
    return oldest, draw(t.grids, step + 2, longest, size, luck[2, oldest])


@inlined
def _predict_end(line, t, step, size, longest, oldest, now) -> None:  # type: ignore[no-untyped-def]
    """See `Backlog.start`; the batch's oldest remembers the scorer."""
    line.committed[step] -= size
    for scorer in range(len(line.free_at)):
        if np.isnan(line.free_at[scorer]):
            line.free_at[scorer] = now + between(t.grids, step, longest, size, t.known.mean_s)
            line.links[oldest, 0] = scorer
            return


@inlined
def _end_batch(line, oldest, now) -> None:  # type: ignore[no-untyped-def]
    """A scorer is free again, and its batch complete."""
    if line.links[oldest, 0] >= 0:
        line.free_at[line.links[oldest, 0]] = np.nan
    row = oldest
    while row >= 0:
        line.times_s[SCORE_END, row] = line.times_s[DONE, row] = now
        row = line.links[row, 1]
