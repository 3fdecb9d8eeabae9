"""The timing plane: one arm serves a trace in simulated time.

    arrival -> store queue -> store turn [policy] -> read -> transport
            -> scorer queue -> batch [policy] -> scoring -> completion

A store worker holds a request through read and transport; a scorer works on one batch at a time, of one
ladder step. Whom a free worker reads and which batch a free scorer takes is the arm's policy to say
(`policy.py`). Start reading at `serve`.

Three events per request at most (arrival, end of turn, end of its batch), as callbacks: SimPy's
processes would cost two more each. Events at equal times run in request order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.goodput import Goodput
from simulator.serving.ladder import Ladder
from simulator.serving.policy import Fifo, Policy, Requests
from simulator.serving.predictions import Predictions
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


def make_policy(arm: ServingArm, times: Predictions, requests: Requests) -> Policy:
    """The arm's policy, by its name."""
    if arm.policy == "fifo":
        return Fifo(arm, requests)
    if arm.policy == "ladder":
        return Ladder(arm, times, requests)
    return Goodput(arm, times, requests)


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
        self.gap: list[float] = _exact_gaps(arrivals).tolist()
        self.transport_end = [_NAN] * n
        self.requests = Requests(
            arrival_s=arrivals.tolist(),
            deadline_s=(arrivals + (np.inf if budget_s is None else budget_s)).tolist(),
            available=available.tolist(),
            used=[0] * n,
            ready_s=self.transport_end,
            give_up=self._answer_prior,
        )
        self.policy = make_policy(arm, times, self.requests)
        self.prior = len(arm.steps) - 1
        self.limits = [s.history for s in arm.steps]
        self.models = [s.model or "" for s in arm.steps]
        # Live objects: requests waiting for a store worker by age, and batches by their oldest row.
        self.waiting: deque[int] = deque()
        self.idle_workers, self.idle_scorers = arm.store_workers, arm.scorers
        self.batches: dict[int, list[int]] = {}
        # What happened.
        self.step = [-1] * n
        self.batch = [0] * n
        self.store_start, self.store_end = [_NAN] * n, [_NAN] * n
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
            step = self.policy.at_turn(row, now, bool(waiting))
            if step is None:
                continue
            history = min(self.limits[step], self.requests.available[row])
            self.step[row], self.requests.used[row] = step, history
            self.idle_workers -= 1
            store_s = times.store_s(row, history)
            self.store_start[row] = now
            self.store_end[row] = now + store_s
            _Moment(self.env, store_s + times.transport_s(row, history), row, self._end_turn)

    def _end_turn(self, event: simpy.Event) -> None:
        row: int = event._value
        self.transport_end[row] = self.env.now
        self.policy.add(row, self.step[row])
        self.idle_workers += 1
        if self.arm.max_wait_s > 0.0:
            _Moment(self.env, self.arm.max_wait_s, row, self._dispatch)
        self._dispatch(event)
        self._start_turns()

    # Batches and scoring

    def _dispatch(self, _: simpy.Event) -> None:
        """Free scorers take the batches that the policy makes."""
        now = self.env.now
        while self.idle_scorers:
            batch = self.policy.next_batch(now)
            if batch is None:
                return
            self._score(*batch, now)

    def _score(self, step: int, rows: list[int], now: float) -> None:
        histories = [self.requests.used[r] for r in rows]
        self.policy.started(step, rows, max(histories), now)
        self.idle_scorers -= 1
        self.batches[rows[0]] = rows
        size = len(rows)
        for row in rows:
            self.step[row], self.batch[row], self.score_start[row] = step, size, now
        _Moment(self.env, self.times.score_s(rows, self.models[step], histories), rows[0], self._end_batch)

    def _end_batch(self, event: simpy.Event) -> None:
        now = self.env.now
        rows = self.batches.pop(event._value)
        self.idle_scorers += 1
        self.policy.ended(rows[0])
        for row in rows:
            self.score_end[row] = self.completion[row] = now
        self._dispatch(event)

    def _answer_prior(self, row: int, at_s: float) -> None:
        """Complete with the prior order. It occupies no server, so a past moment disturbs nothing."""
        self.step[row] = self.prior
        self.requests.used[row] = 0
        self.completion[row] = max(at_s, self.requests.arrival_s[row])

    # Results

    def served(self) -> Served:
        """The run's record."""
        completion, deadline = np.array(self.completion), np.array(self.requests.deadline_s)
        store_end = np.array(self.store_end)
        return Served(
            step=np.array(self.step, dtype=np.int8),
            history_used=np.array(self.requests.used, dtype=np.int32),
            missed=completion > deadline,
            batch=np.array(self.batch, dtype=np.int32),
            arrival_s=np.array(self.requests.arrival_s),
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
