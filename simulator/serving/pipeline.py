"""The timing plane: one arm serves a trace in simulated time.

    arrival -> store queue -> store turn [ladder] -> read -> transport
            -> scorer queue -> batch of one (model, step) [ladder] -> scoring -> completion

A store worker holds a request through read and transport. A free scorer takes the group whose
oldest request is oldest, up to max_batch requests, oldest first. Start reading at `serve`; the
ladder's rule is in `ladder.py`.

Three events per request at most (arrival, end of turn, end of its batch), as callbacks: SimPy's
processes would cost two more each. Events at equal times run in request order.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.ladder import Backlog, Ladder
from simulator.serving.service_times import ServiceTimes

F8 = NDArray[np.float64]
_NAN = float("nan")


@dataclass(frozen=True)
class Served:
    """What happened to each of R requests, by row; seconds since the timing plane's epoch.

    NaN where a stage did not happen. The prior order (the last step) has no stage of its own, but
    keeps those that ran before the request fell to it.
    """

    step: NDArray[np.int8]  # ladder index decided
    history_used: NDArray[np.int32]
    missed: NDArray[np.bool_]  # completed after its deadline: the prior order was shown
    batch: NDArray[np.int32]  # requests scored together, 0 without scoring
    arrival_s: F8
    store_start_s: F8
    store_end_s: F8
    transport_start_s: F8
    transport_end_s: F8
    score_start_s: F8
    score_end_s: F8
    completion_s: F8
    deadline_s: F8  # inf without a budget

    @property
    def latency_s(self) -> F8:
        """Arrival to completion, never capped."""
        latency: F8 = self.completion_s - self.arrival_s
        return latency

    @property
    def full_history(self) -> NDArray[np.bool_]:
        """Answered in time by the ladder's first step."""
        full: NDArray[np.bool_] = (self.step == 0) & ~self.missed
        return full

    def __len__(self) -> int:
        return len(self.step)

    def equals(self, other: Served) -> bool:
        """Every array equal, NaN to NaN."""
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name), equal_nan=f.name.endswith("_s"))
            for f in fields(self)
        )


def serve(
    arrival_s: ArrayLike,
    history_available: ArrayLike,
    arm: ServingArm,
    times: ServiceTimes,
    budget_s: float | None,
) -> Served:
    """Serve a trace with one arm.

    Args:
        arrival_s: (R,) timing-plane seconds, ascending, from 0.
        history_available: (R,) behaviours each request's user has.
        arm: servers, batcher and ladder.
        times: the arm's service times.
        budget_s: latency budget, or None for no deadline (then every request takes the first step).

    Returns:
        One entry per request, in the trace's order.

    Raises:
        ValueError: arrivals unsorted or negative, lengths that differ, or a budget not above 0.
    """
    arrivals = np.asarray(arrival_s, dtype=np.float64)
    available = np.asarray(history_available)
    _check_trace(arrivals, available, budget_s)
    if len(arrivals) == 0:
        return _Line(arrivals, available, arm, times, budget_s).served()
    line = _Line(arrivals, available, arm, times, budget_s)
    line.run()
    return line.served()


def _check_trace(arrivals: F8, available: NDArray[Any], budget_s: float | None) -> None:
    if arrivals.ndim != 1 or arrivals.shape != available.shape:
        raise ValueError(
            f"Found arrivals of shape {arrivals.shape} and histories of shape {available.shape}, "
            "expected two equal (R,). Pass one history length a request."
        )
    if len(arrivals) and not (
        np.isfinite(arrivals).all() and arrivals[0] >= 0.0 and (np.diff(arrivals) >= 0.0).all()
    ):
        raise ValueError(
            "Found arrivals that are negative, infinite or out of order, expected ascending seconds from 0. "
            "Sort the trace and subtract its first arrival."
        )
    if len(available) and (available.dtype.kind not in "iu" or available.min() < 0):
        raise ValueError(
            f"Found history lengths of dtype {available.dtype} or below 0, expected integers of at least 0. "
            "Count the behaviours each request may see."
        )
    if budget_s is not None and not budget_s > 0.0:
        raise ValueError(f"Found a budget of {budget_s} s, expected more than 0, or None for no deadline.")


class _Moment(simpy.Event):
    """An event at a row's time; of moments at one time, the lower row's comes first."""

    def __init__(
        self, env: simpy.Environment, delay_s: float, row: int, callback: Callable[[Any], None]
    ) -> None:
        # As simpy.Timeout, with SimPy's priority saying which row: ties follow request order.
        self.env = env
        self.callbacks = [callback]
        self._ok = True
        self._value = row
        env.schedule(self, row, delay_s)  # type: ignore[arg-type]


class _Line:
    """One arm's queues and servers during a run; lists are by row of the trace."""

    def __init__(
        self,
        arrivals: F8,
        available: NDArray[Any],
        arm: ServingArm,
        times: ServiceTimes,
        budget_s: float | None,
    ) -> None:
        n = len(arrivals)
        self.env = simpy.Environment()
        self.arm, self.times = arm, times
        self.arrival: list[float] = arrivals.tolist()
        self.gap: list[float] = _exact_gaps(arrivals).tolist()
        self.available: list[int] = available.tolist()
        self.deadline: list[float] = (arrivals + (np.inf if budget_s is None else budget_s)).tolist()
        self.backlog = Backlog(arm, times, available)
        self.ladder = Ladder(arm, times, self.backlog)
        self.prior = len(arm.steps) - 1
        self.limits = [s.history for s in arm.steps]
        self.models = [s.model or "" for s in arm.steps]
        # Live objects: requests waiting for a store worker, and per step for a scorer, by age.
        self.waiting: deque[int] = deque()
        self.idle_workers = arm.store_workers
        self.groups: list[list[int]] = [[] for _ in range(self.prior)]
        self.batches: dict[int, tuple[int, list[int]]] = {}  # first row -> (scorer, rows)
        # What happened.
        self.step = [-1] * n
        self.used = [0] * n
        self.batch = [0] * n
        self.store_start, self.store_end, self.transport_end = [_NAN] * n, [_NAN] * n, [_NAN] * n
        self.score_start, self.score_end = [_NAN] * n, [_NAN] * n
        self.completion = [_NAN] * n

    def run(self) -> None:
        """From the first arrival until nothing is in flight."""
        _Moment(self.env, self.gap[0], 0, self._arrive)
        self.env.run()

    # Arrival and store turn

    def _arrive(self, event: simpy.Event) -> None:
        row: int = event._value
        following = row + 1
        if following < len(self.gap):
            _Moment(self.env, self.gap[following], following, self._arrive)
        self.waiting.append(row)
        if self.idle_workers:
            self._start_turns()

    def _start_turns(self) -> None:
        """Free workers take who waits, oldest first; who falls to the prior order needs no worker."""
        now = self.env.now
        waiting, times = self.waiting, self.times
        while self.idle_workers and waiting:
            row = waiting.popleft()
            if self.ladder.gave_up_reading(self.available[row], self.deadline[row], now):
                # It stopped waiting when its cheapest step stopped fitting; see ladder.py.
                self._answer_prior(row, self.ladder.last_read_s(self.available[row], self.deadline[row]))
                continue
            step = self.ladder.at_turn(self.available[row], self.deadline[row], now)
            if step == self.prior:
                self._answer_prior(row, now)
                continue
            history = min(self.limits[step], self.available[row])
            self.step[row], self.used[row] = step, history
            self.backlog.commit(step)
            self.idle_workers -= 1
            store_s = times.store_s(row, history)
            self.store_start[row] = now
            self.store_end[row] = now + store_s
            _Moment(self.env, store_s + times.transport_s(row, history), row, self._end_turn)

    def _end_turn(self, event: simpy.Event) -> None:
        row: int = event._value
        self.transport_end[row] = self.env.now
        insort(self.groups[self.step[row]], row)
        self.idle_workers += 1
        if self.arm.max_wait_s > 0.0:
            _Moment(self.env, self.arm.max_wait_s, row, self._dispatch)
        self._dispatch(event)
        self._start_turns()

    # Batches and scoring

    def _dispatch(self, _: simpy.Event) -> None:
        """Free scorers take batches; see the module for the rule."""
        now = self.env.now
        while self.backlog.idle:
            step = self._oldest_ready(now)
            if step < 0:
                return
            group = self.groups[step]
            rows = group[: self.arm.max_batch]
            longest = max([self.used[r] for r in rows])
            oldest = rows[0]
            fits = self.ladder.fits_scoring
            # A smaller batch before a shorter history. At load 0.9 and three times the unloaded P95
            # this raised full answers from 51 to 71 % (light model) and from 72 to 87 % (heavy).
            while not (fit := fits(step, longest, len(rows), self.deadline[oldest], now)) and len(rows) > 1:
                rows.pop()
                longest = max([self.used[r] for r in rows])
            if fit:
                del group[: len(rows)]
                self._score(step, rows, longest)
            else:
                self._demote(group.pop(0), step, now)

    def _oldest_ready(self, now: float) -> int:
        """The group whose oldest request is oldest, of those that may start; -1 if there is none."""
        best, best_row = -1, len(self.arrival)
        wait_s = self.arm.max_wait_s
        for step, group in enumerate(self.groups):
            if (
                group
                and group[0] < best_row
                and (
                    wait_s == 0.0
                    or len(group) >= self.arm.max_batch
                    or min([self.transport_end[r] for r in group]) + wait_s <= now
                )
            ):
                best, best_row = step, group[0]
        return best

    def _demote(self, row: int, step: int, now: float) -> None:
        """The oldest request of a batch does not fit: move it down, never up."""
        self.backlog.leave(step)
        if self.ladder.gave_up_scoring(step, self.used[row], self.deadline[row], now):
            last_s = self.ladder.last_score_s(step, self.used[row], self.deadline[row])
            self._answer_prior(row, max(last_s, self.transport_end[row]))
            return
        lower = self.ladder.at_batch(step, self.used[row], self.deadline[row], now, self.groups)
        if lower == self.prior:
            self._answer_prior(row, now)
            return
        self.step[row] = lower
        self.used[row] = min(self.used[row], self.limits[lower])
        self.backlog.commit(lower)
        insort(self.groups[lower], row)

    def _score(self, step: int, rows: list[int], longest: int) -> None:
        now = self.env.now
        used = self.used
        model = self.models[step]
        seconds = self.times.score_s(rows, model, [used[r] for r in rows])
        scorer = self.backlog.start(step, longest, len(rows), now)
        self.batches[rows[0]] = (scorer, rows)
        size = len(rows)
        for row in rows:
            self.score_start[row] = now
            self.batch[row] = size
        _Moment(self.env, seconds, rows[0], self._end_batch)

    def _end_batch(self, event: simpy.Event) -> None:
        now = self.env.now
        scorer, rows = self.batches.pop(event._value)
        self.backlog.finish(scorer)
        for row in rows:
            self.score_end[row] = self.completion[row] = now
        self._dispatch(event)

    def _answer_prior(self, row: int, at_s: float) -> None:
        """Complete with the prior order. It occupies no server, so a past moment disturbs nothing."""
        self.step[row] = self.prior
        self.used[row] = 0
        self.completion[row] = max(at_s, self.arrival[row])

    # Results

    def served(self) -> Served:
        """The run's record."""
        completion, deadline = np.array(self.completion), np.array(self.deadline)
        store_end = np.array(self.store_end)
        return Served(
            step=np.array(self.step, dtype=np.int8),
            history_used=np.array(self.used, dtype=np.int32),
            missed=completion > deadline,
            batch=np.array(self.batch, dtype=np.int32),
            arrival_s=np.array(self.arrival),
            store_start_s=np.array(self.store_start),
            store_end_s=store_end,
            transport_start_s=store_end.copy(),
            transport_end_s=np.array(self.transport_end),
            score_start_s=np.array(self.score_start),
            score_end_s=np.array(self.score_end),
            completion_s=completion,
            deadline_s=deadline,
        )


def _exact_gaps(arrivals: F8) -> F8:
    """Delays that, added one by one as SimPy adds them, land exactly on the arrivals."""
    before = np.concatenate([np.zeros(1), arrivals[:-1]])[: len(arrivals)]
    gaps: F8 = arrivals - before
    # a - b is exact for b >= a/2 (Sterbenz); the few other gaps may miss by a rounding.
    for _ in range(4):
        miss = arrivals - (before + gaps)
        if not miss.any():
            break
        gaps = np.where(miss == 0.0, gaps, np.maximum(gaps + miss, 0.0))
    return gaps
