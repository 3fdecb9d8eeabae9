"""The timing plane, compiled: the same events in the same order, to the same bits, as `pipeline.py`.

Start at `serve_compiled`. Read `pipeline.py` first; it is the truth, and this its fast twin for service times
that are drawn. Lists grow with nothing: a burst costs as much a request as quiet traffic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.kept_code import jit_kept
from simulator.serving.arm import ServingArm, build_ladder
from simulator.serving.predictions import LEVELS
from simulator.serving.profile import ServiceProfile
from simulator.serving.queues import between, draw, hold_s, inlined, insert, jit, pop, push, remove_oldest
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
from simulator.serving.tables import tables_of

_POLICIES = {"fifo": FIFO, "goodput": GOODPUT, "ladder": LADDER}
_TURN, _WAITED, _BATCH = range(3)  # kinds of moments, in the order in which a request can have them


def serve_compiled(
    arrivals: NDArray[np.float64],
    available: NDArray[Any],
    arm: ServingArm,
    times: ProfileServiceTimes,
    budget_s: float | None,
) -> Served:
    """`serve` for a checked trace and drawn service times; times.clamped counts as there."""
    tables = tables_of(arm, times, available)
    line = _line(arm, len(arrivals), len(tables.histories))
    most_s = np.inf if budget_s is None else float(budget_s)
    clamped = np.zeros(3, np.int64)
    if len(arrivals):
        _run(
            line, tables, times.luck, arrivals, exact_gaps(arrivals), most_s, arm.store_workers,
            arm.max_batch, float(arm.max_wait_s), _POLICIES[arm.policy], clamped,
        )  # fmt: skip
    for stage, count in zip(times.clamped, clamped.tolist(), strict=True):
        times.clamped[stage] += count
    prior = line.step == GIVEN_UP
    store_end = line.times_s[:, STORE_END]
    completion, deadline = line.times_s[:, DONE], arrivals + most_s
    return Served(
        step=np.where(prior, len(arm.steps) - 1, line.step).astype(np.int8),
        history_used=np.where(prior, 0, tables.histories[line.place]).astype(np.int32),
        missed=completion > deadline,
        batch=line.batch,
        arrival_s=arrivals,
        store_start_s=line.times_s[:, STORE_START],
        store_end_s=store_end,
        transport_start_s=store_end,
        transport_end_s=line.times_s[:, READY],
        score_start_s=line.times_s[:, SCORE_START],
        score_end_s=line.times_s[:, SCORE_END],
        completion_s=completion,
        deadline_s=deadline,
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


def _line(arm: ServingArm, requests: int, histories: int) -> Line:
    steps = len(arm.steps) - 1
    return Line(
        links=np.full((requests, 2), -1, np.int32),
        ends=np.full((steps, 2), -1, np.int64),
        counts=np.zeros(steps, np.int64),
        place=np.zeros(requests, np.int32),
        step=np.zeros(requests, np.int8),
        batch=np.zeros(requests, np.int32),
        times_s=np.full((6, requests), np.nan).T,  # columns that can be given away as they are
        window=np.zeros(2 * arm.max_batch, np.int64),
        levels_s=np.zeros(LEVELS),
        alone_s=np.zeros((histories, 2)),
        committed=np.zeros(steps, np.int64),
        free_at=np.full(arm.scorers, np.nan),
    )


@jit_kept
def _run(  # type: ignore[no-untyped-def]
    line, t, luck, arrival_s, gaps, budget_s, workers, max_batch, wait_s, policy, clamped
) -> None:
    """Every event of the trace. `luck` is (3, R): a uniform for each stage of a request."""
    requests, scorers = len(arrival_s), len(line.free_at)
    room = workers + scorers + 1
    moments, rows, kinds = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)
    waits = np.empty(requests if wait_s > 0.0 else 0, np.int32)  # who waits for a batch to fill, by time
    planned, first_wait, last_wait, read, arrived = 0, 0, 0, 0, 0
    idle_workers, idle_scorers, next_s = workers, scorers, gaps[0]
    if policy == GOODPUT:
        score_alone(line, t)
    while arrived < requests or planned or first_wait < last_wait:
        # The earliest moment of three: of equal ones the lower row's, then the one begun first.
        now, row, kind = np.inf, requests, 3
        if planned:
            now, row, kind = moments[0], rows[0], kinds[0]
        if first_wait < last_wait:
            waiter = int(waits[first_wait])
            at = line.times_s[waiter, READY] + wait_s
            if at < now or (at == now and (waiter < row or (waiter == row and kind > _WAITED))):
                now, row, kind = at, waiter, _WAITED
        if arrived < requests and (next_s < now or (next_s == now and arrived < row)):
            now, row, kind = next_s, arrived, -1
        if kind == -1:
            arrived += 1
            if arrived < requests:
                next_s = now + gaps[arrived]
        elif kind == _WAITED:
            first_wait += 1
        else:
            planned = pop(moments, rows, kinds, planned)
            if kind == _TURN:
                line.times_s[row, READY] = now
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
        line.step[row], line.times_s[row, DONE] = GIVEN_UP, give_up_now
        return False
    line.step[row], line.place[row] = step, t.cut[step, t.place[row]]
    return True


@inlined
def _fetch(line, t, luck, row, now, clamped) -> float:  # type: ignore[no-untyped-def]
    """Read and transport; seconds."""
    place = line.place[row]
    store_s = draw(t.grids, 0, place, 1, luck[0, row])
    line.times_s[row, STORE_START], line.times_s[row, STORE_END] = now, now + store_s
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
    if hold_s(line.links, line.ends, line.counts, 0, line.times_s[:, READY], max_batch, wait_s, now) > 0.0:
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
        line.step[row], line.batch[row], line.times_s[row, SCORE_START] = step, size, now
        if i == size - 1:
            line.links[row, 1] = -1  # the batch stays linked, from its oldest on
    if policy == LADDER:
        _predict_end(line, t, step, size, longest, oldest, now)
    clamped[2] += t.grids.outside[step + 2, longest]
    return oldest, draw(t.grids, step + 2, longest, size, luck[2, oldest])


@jit
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
        line.times_s[row, SCORE_END] = line.times_s[row, DONE] = now
        row = line.links[row, 1]
