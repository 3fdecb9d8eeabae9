"""The policy "ladder": each request is judged by itself, and takes the best step that is predicted to fit.

The rule: the first step whose predicted completion meets the deadline. Predicted completion is

    now + max(read + transport, wait for a scorer) + max_wait + own batch + margin

at the store turn, and now + a high quantile of its batch when the batch forms. Work counts at
its mean (many batches ahead take their mean; adding up high quantiles would refuse work there
is time for) and the margin lifts the request's own work to the stated quantile: the quantiles'
distances from the means, added in quadrature, as for independent stages. The wait is the
shortest remaining time of a scorer plus the committed batches ahead over the replicas.

A batch is of one step, that of the oldest request waiting. One that would make its oldest request late is
first made smaller; only a request that does not fit alone moves down. Under load batches shrink, throughput
falls and queues grow, which shrinks them more: `goodput.py` weighs that, and is the default.

A waiting request gives up at the last moment at which its cheapest step would still fit with
nobody ahead, and is answered by the prior order there and then: an overload degrades requests,
it does not time them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.policy import ReadyQueue, Requests
from simulator.serving.predictions import Predictions


class Backlog:
    """Scoring work ahead: what is on the scorers, and what is committed to them.

    A request is committed to its step from its store turn until its batch starts.

    Args:
        arm: scorers, batcher and ladder.
        times: expected batch durations.
        available: (R,) the trace's history lengths, to foresee a batch's longest.
    """

    def __init__(self, arm: ServingArm, times: Predictions, available: NDArray[Any]) -> None:
        self.max_batch = arm.max_batch
        self.scorers = arm.scorers
        self.models = [s.model for s in arm.steps if s.model is not None]
        self.committed = [0] * len(self.models)
        self.free_at: list[float | None] = [None] * arm.scorers  # predicted; None is idle
        self.idle = arm.scorers
        self._times = times
        limits = [s.history for s in arm.steps if s.model is not None]
        # Expected seconds of a batch of n = 0..max_batch, which costs what its longest history
        # costs: of n draws, about the n/(n+1) quantile.
        self.batch_s: list[list[float]] = []
        for model, limit in zip(self.models, limits, strict=True):
            longest = enumerate(_longest(limit, arm, available), 1)
            self.batch_s.append([0.0, *(times.expected_score_s(model, h, n) for n, h in longest)])

    def commit(self, step: int) -> None:
        """A request will be scored at this step."""
        self.committed[step] += 1

    def leave(self, step: int) -> None:
        """A committed request moves to another step or to the prior order."""
        self.committed[step] -= 1

    def start(self, step: int, longest: int, size: int, now: float) -> int:
        """A batch starts; returns its scorer."""
        self.committed[step] -= size
        scorer = self.free_at.index(None)
        self.free_at[scorer] = now + self._times.expected_score_s(self.models[step], longest, size)
        self.idle -= 1
        return scorer

    def finish(self, scorer: int) -> None:
        """A scorer is free again."""
        self.free_at[scorer] = None
        self.idle += 1

    def scorer_wait_s(self, now: float) -> float:
        """Predicted seconds until some scorer ends what it does."""
        if self.idle:
            return 0.0
        return max(0.0, min([f for f in self.free_at if f is not None]) - now)

    def queued_s(self) -> float:
        """Expected seconds of all committed batches, on one scorer."""
        total = 0.0
        for n, batch_s in zip(self.committed, self.batch_s, strict=True):
            if n:
                whole, rest = divmod(n, self.max_batch)
                total += whole * batch_s[-1] + batch_s[rest]
        return total


def _longest(limit: int, arm: ServingArm, available: NDArray[Any]) -> list[int]:
    if len(available) == 0:
        return [limit] * arm.max_batch
    ranks = np.arange(1, arm.max_batch + 1) / np.arange(2, arm.max_batch + 2)
    lengths = np.quantile(np.minimum(available, limit), ranks)
    return [int(h) for h in np.rint(lengths)]


class Ladder:
    """The rule of the module.

    Args:
        arm: the steps and the batcher.
        times: predictions.
        requests: the trace.
    """

    def __init__(self, arm: ServingArm, times: Predictions, requests: Requests) -> None:
        self.arm = arm
        self.prior = len(arm.steps) - 1
        self._steps = [(i, s.model, s.history) for i, s in enumerate(arm.steps) if s.model is not None]
        self._times = times
        self._requests = requests
        self._backlog = Backlog(arm, times, np.array(requests.available))
        self._groups = [ReadyQueue(requests, arm.max_batch, arm.max_wait_s) for _ in self._steps]
        self._scorers: dict[int, int] = {}  # by a running batch's oldest row
        self._fetch: dict[int, tuple[float, float]] = {}
        self._own: dict[tuple[str, int, int], tuple[float, float]] = {}
        self._cheapest: dict[int, float] = {}

    def fetch_s(self, history: int) -> tuple[float, float]:
        """Read and transport: the mean, and how far the stated quantile lies above it."""
        seconds = self._fetch.get(history)
        if seconds is None:
            mean_s = self._times.expected_fetch_s(history)
            high_s = self._times.predict_store_s(history) + self._times.predict_transport_s(history)
            seconds = self._fetch[history] = (mean_s, max(high_s - mean_s, 0.0))
        return seconds

    def own_s(self, model: str, history: int, size: int) -> tuple[float, float]:
        """A request's own work: mean read and transport, and the rest with the margin for both."""
        key = (model, history, size)
        seconds = self._own.get(key)
        if seconds is None:
            fetch_s, fetch_spread_s = self.fetch_s(history)
            mean_s = self._times.expected_score_s(*key)
            spread_s = max(self._times.predict_score_s(*key) - mean_s, 0.0)
            seconds = self._own[key] = (
                fetch_s,
                mean_s + sqrt(fetch_spread_s * fetch_spread_s + spread_s * spread_s),
            )
        return seconds

    def at_turn(self, row: int, now: float, others_wait: bool) -> int | None:
        """See `Policy`."""
        requests = self._requests
        available, deadline = requests.available[row], requests.deadline_s[row]
        last_s = self._last_read_s(available, deadline)
        if last_s < now:
            requests.give_up(row, last_s)  # it stopped waiting when its cheapest step stopped fitting
            return None
        step = self._step_at_turn(available, deadline, now)
        if step == self.prior:
            requests.give_up(row, now)
            return None
        self._backlog.commit(step)
        return step

    def add(self, row: int, step: int) -> None:
        """See `Policy`."""
        self._groups[step].add(row)

    def next_batch(self, now: float) -> tuple[int, list[int]] | None:
        """See `Policy`."""
        while (step := self._oldest_ready(now)) >= 0:
            group, requests = self._groups[step], self._requests
            rows = group.oldest(self.arm.max_batch)
            deadline, used = requests.deadline_s[rows[0]], requests.used
            # A smaller batch before a shorter history. At load 0.9 and three times the unloaded P95
            # this raised full answers from 51 to 71 % (light model) and from 72 to 87 % (heavy).
            while not (fits := self._fits(step, max([used[r] for r in rows]), len(rows), deadline, now)):
                if len(rows) == 1:
                    break
                rows.pop()
            if fits:
                group.remove(len(rows))
                return step, rows
            group.remove(1)
            self._demote(rows[0], step, now)
        return None

    def started(self, step: int, rows: Sequence[int], longest: int, now: float) -> None:
        """See `Policy`."""
        self._scorers[rows[0]] = self._backlog.start(step, longest, len(rows), now)

    def ended(self, row: int) -> None:
        """See `Policy`."""
        self._backlog.finish(self._scorers.pop(row))

    def _oldest_ready(self, now: float) -> int:
        """The group whose oldest request is oldest, of those that may start; -1 if there is none."""
        ready = [
            (group.oldest(1)[0], step)
            for step, group in enumerate(self._groups)
            if group and group.hold_s(now) == 0.0
        ]
        return min(ready)[1] if ready else -1

    def _demote(self, row: int, step: int, now: float) -> None:
        """The oldest request of a batch does not fit: move it down, never up."""
        requests = self._requests
        used, deadline = requests.used[row], requests.deadline_s[row]
        self._backlog.leave(step)
        last_s = self._last_score_s(step, used, deadline)
        if last_s < now:
            requests.give_up(row, max(last_s, requests.ready_s[row]))
            return
        lower = self._lower(step, used, deadline, now)
        if lower == self.prior:
            requests.give_up(row, now)
            return
        requests.used[row] = min(used, self._steps[lower][2])
        self._backlog.commit(lower)
        self._groups[lower].add(row)

    def _step_at_turn(self, available: int, deadline: float, now: float) -> int:
        """The step at the start of a store turn."""
        if deadline == float("inf"):
            return 0
        backlog, max_batch = self._backlog, self.arm.max_batch
        replicas = self.arm.scorers
        free_s = backlog.scorer_wait_s(now)
        queued_s = backlog.queued_s()
        budget_s = deadline - now - self.arm.max_wait_s
        for step, model, limit in self._steps:
            history = limit if limit < available else available
            ahead = backlog.committed[step] % max_batch
            # The incomplete batch of its own step is the one it joins, not one it waits for.
            wait_s = free_s + (queued_s - backlog.batch_s[step][ahead]) / replicas
            fetch_s, rest_s = self.own_s(model, history, ahead + 1)
            if (fetch_s if fetch_s > wait_s else wait_s) + rest_s <= budget_s:
                return step
        return self.prior

    def _fits(self, step: int, longest: int, size: int, deadline: float, now: float) -> bool:
        """Whether a batch starting now is predicted to end by its oldest request's deadline."""
        if deadline == float("inf"):
            return True
        model = self._steps[step][1]
        return now + self._times.predict_score_s(model, longest, size) <= deadline

    def _lower(self, step: int, used: int, deadline: float, now: float) -> int:
        """The best lower step for a request that no longer fits its own."""
        for lower, model, limit in self._steps[step + 1 :]:
            size = min(len(self._groups[lower]) + 1, self.arm.max_batch)
            if now + self._times.predict_score_s(model, min(limit, used), size) <= deadline:
                return lower
        return self.prior

    # Giving up: the last moment at which the cheapest step, alone, would still fit.

    def _last_read_s(self, available: int, deadline: float) -> float:
        """Latest start of a store turn that can still meet the deadline."""
        seconds = self._cheapest.get(available)
        if seconds is None:
            seconds = min(sum(self.own_s(model, min(limit, available), 1)) for _, model, limit in self._steps)
            self._cheapest[available] = seconds
        return deadline - seconds

    def _last_score_s(self, step: int, used: int, deadline: float) -> float:
        """Latest start of a batch that can still meet the deadline, from this step downwards."""
        return deadline - min(
            self._times.predict_score_s(model, min(limit, used), 1) for _, model, limit in self._steps[step:]
        )
