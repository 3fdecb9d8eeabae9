"""Which step a request is answered with, and what the ladder knows of the work ahead of it.

The rule: the first step whose predicted completion meets the deadline. Predicted completion is

    now + max(read + transport, wait for a scorer) + max_wait + own batch + margin

at the store turn, and now + a high quantile of its batch when the batch forms. Work counts at
its mean (many batches ahead take their mean; adding up high quantiles would refuse work there
is time for) and the margin lifts the request's own work to the stated quantile: the quantiles'
distances from the means, added in quadrature, as for independent stages. The wait is the
shortest remaining time of a scorer plus the committed batches ahead over the replicas.

A batch that would make its oldest request late is first made smaller; only a request that does
not fit alone moves down.

A waiting request gives up at the last moment at which its cheapest step would still fit with
nobody ahead, and is answered by the prior order there and then: an overload degrades requests,
it does not time them out.
"""

from __future__ import annotations

from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.service_times import Predictions


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
        arm: the steps.
        times: predictions.
        backlog: shared with the pipeline, which keeps it up to date.
    """

    def __init__(self, arm: ServingArm, times: Predictions, backlog: Backlog) -> None:
        self.arm = arm
        self.prior = len(arm.steps) - 1
        self._steps = [(i, s.model, s.history) for i, s in enumerate(arm.steps) if s.model is not None]
        self._times = times
        self._backlog = backlog
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
            seconds = self._own[key] = (fetch_s, mean_s + hypot(fetch_spread_s, spread_s))
        return seconds

    def at_turn(self, available: int, deadline: float, now: float) -> int:
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

    def fits_scoring(self, step: int, longest: int, size: int, deadline: float, now: float) -> bool:
        """Whether a batch starting now is predicted to end by its oldest request's deadline."""
        if deadline == float("inf"):
            return True
        model = self._steps[step][1]
        return now + self._times.predict_score_s(model, longest, size) <= deadline

    def at_batch(self, step: int, used: int, deadline: float, now: float, groups: list[list[int]]) -> int:
        """The best lower step for a request that no longer fits its own."""
        for lower, model, limit in self._steps[step + 1 :]:
            size = min(len(groups[lower]) + 1, self.arm.max_batch)
            if now + self._times.predict_score_s(model, min(limit, used), size) <= deadline:
                return lower
        return self.prior

    # Giving up: the last moment at which the cheapest step, alone, would still fit.

    def last_read_s(self, available: int, deadline: float) -> float:
        """Latest start of a store turn that can still meet the deadline."""
        seconds = self._cheapest.get(available)
        if seconds is None:
            seconds = min(sum(self.own_s(model, min(limit, available), 1)) for _, model, limit in self._steps)
            self._cheapest[available] = seconds
        return deadline - seconds

    def gave_up_reading(self, available: int, deadline: float, now: float) -> bool:
        """Whether a request that waited for a store worker has already given up."""
        return deadline < float("inf") and self.last_read_s(available, deadline) < now

    def last_score_s(self, step: int, used: int, deadline: float) -> float:
        """Latest start of a batch that can still meet the deadline, from this step downwards."""
        return deadline - min(
            self._times.predict_score_s(model, min(limit, used), 1) for _, model, limit in self._steps[step:]
        )

    def gave_up_scoring(self, step: int, used: int, deadline: float, now: float) -> bool:
        """Whether a request that waited for a scorer has already given up."""
        return self.last_score_s(step, used, deadline) < now
