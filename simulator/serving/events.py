"""The timing plane on SimPy: the readable one, which makes live calls, and which the compiled one equals.

Three events per request at most (arrival, end of turn, end of its batch), as callbacks: SimPy's
processes would cost two more each. Events at equal times run in request order. Start at `serve_simpy`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.goodput import Goodput
from simulator.serving.ladder import Ladder
from simulator.serving.policy import Fifo, Policy, Requests
from simulator.serving.predictions import Predictions
from simulator.serving.served import Served, exact_gaps
from simulator.serving.service_times import ServiceTimes

F8 = NDArray[np.float64]
_NAN = float("nan")


def serve_simpy(
    arrivals: F8, available: NDArray[Any], arm: ServingArm, times: ServiceTimes, budget_s: float | None
) -> Served:
    """`serve` for a checked trace, whatever the source of service times."""
    line = _Line(arrivals, available, arm, times, budget_s)
    if len(arrivals):
        line.run()
    return line.served()


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
        self.gap: list[float] = exact_gaps(arrivals).tolist()
        self.transport_end = [_NAN] * n
        self.requests = Requests(
            arrival_s=arrivals.tolist(),
            deadline_s=(arrivals + (np.inf if budget_s is None else budget_s)).tolist(),
            available=available.tolist(),
            used=[0] * n,
            ready_s=self.transport_end,
            give_up=self._answer_prior,
        )
        self.policy = make_policy(arm, times.predictions, self.requests)
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
