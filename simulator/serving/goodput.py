"""The default policy: each batch is the one from which the most answers in time are expected.

Serving aims at goodput, the answers that are given in time. An answer of the ladder's first step, the
full history, counts 1; one of a lower step counts two fifths; the prior order and whatever comes late count
nothing, since a page that has not got its answer by the deadline shows the prior order.

A free scorer weighs every batch that it could start: a ladder step, a number of waiting requests in a
row, by age, and how many older ones are passed over. A batch's worth is the sum of its requests' chances
of being done in time, by the profile's spread at the batch's size and longest history. So a batch is
shrunk where that saves more answers than it delays, never to save a single one; a lower step serves the
whole batch or none of it, so that steps do not break batches up. Who is passed over is given up, and only
who would more likely be late than in time within that batch may be; where more wait than a batch holds, only
who has less than a quarter of a chance, since the others can be served next. Apart from that a request is
given up once not even the fastest measured times could save it: plain FIFO would waste a server on it.

At a store turn likewise: given up is who cannot be saved at all, and, while others wait for the worker,
who would more likely be late than in time even if nobody stood between it and a scorer. Everyone else is
read at full history, so that the step stays open until the batch forms.

Sources: early drop by windows that fit whole batches, Nexus (SOSP 2019); work that cannot meet its deadline
never started, Clockwork (OSDI 2020).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from simulator.serving.arm import ServingArm
from simulator.serving.policy import Fifo, Requests
from simulator.serving.predictions import LEVELS, Predictions

FULL, LOWER = 5, 2  # what an answer in time counts
HALF, QUARTER = LEVELS // 2, LEVELS // 4


class Goodput(Fifo):
    """The rule of the module.

    Args:
        arm: batcher and ladder.
        times: predictions.
        requests: the trace.
    """

    def __init__(self, arm: ServingArm, times: Predictions, requests: Requests) -> None:
        super().__init__(arm, requests)
        self._times, self._requests = times, requests
        self._steps = [(s.model, s.history) for s in arm.steps if s.model is not None]
        self._alone: dict[int, tuple[float, float]] = {}

    def at_turn(self, row: int, now: float, others_wait: bool) -> int | None:
        """See `Policy`."""
        deadline_s = self._requests.deadline_s[row]
        history = min(self._steps[0][1], self._requests.available[row])
        fetch_s = self._times.fetch_levels_s(history)
        fastest_s, median_s = self._score_alone_s(history)
        last_s = deadline_s - (fetch_s[0] + fastest_s)
        if last_s < now:
            self._requests.give_up(row, last_s)
            return None
        if others_wait and now + (fetch_s[HALF] + median_s) > deadline_s:
            self._requests.give_up(row, now)
            return None
        return 0

    def next_batch(self, now: float) -> tuple[int, list[int]] | None:
        """See `Policy`."""
        self._give_up_hopeless(now)
        if not self.queue or self._waits(now):
            return None
        step, skipped, size = self._best_plan(now)
        for row in self.queue.oldest(skipped):
            self._requests.give_up(row, now)
        rows = self.queue.oldest(size, skipped)
        self.queue.remove(skipped + size)
        for row in rows:
            self._requests.used[row] = min(self._steps[step][1], self._requests.used[row])
        return step, rows

    def _score_alone_s(self, history: int) -> tuple[float, float]:
        """The least that any step takes to score a request alone: at the fastest, and in the middle."""
        seconds = self._alone.get(history)
        if seconds is None:
            levels = [self._times.score_levels_s(m, min(limit, history), 1) for m, limit in self._steps]
            seconds = self._alone[history] = (min(s[0] for s in levels), min(s[HALF] for s in levels))
        return seconds

    def _give_up_hopeless(self, now: float) -> None:
        """The oldest go whom not even the fastest step could still save; they went when it became so."""
        requests = self._requests
        while self.queue:
            (row,) = self.queue.oldest(1)
            last_s = requests.deadline_s[row] - self._score_alone_s(requests.used[row])[0]
            if last_s >= now:
                return
            requests.give_up(row, max(last_s, requests.ready_s[row]))
            self.queue.remove(1)

    def _waits(self, now: float) -> bool:
        """Whether the batch waits to fill: as long as that costs none of those in it a chance."""
        hold_s = self.queue.hold_s(now)
        if hold_s == 0.0:
            return False
        rows = self.queue.oldest(self.max_batch)
        levels_s = self._levels_s(0, rows)
        later = now + hold_s
        return all(self._chance(levels_s, row, later) >= self._chance(levels_s, row, now) for row in rows)

    def _levels_s(self, step: int, rows: list[int]) -> list[float]:
        model, limit = self._steps[step]
        longest = min(limit, max([self._requests.used[row] for row in rows]))
        return self._times.score_levels_s(model, longest, len(rows))

    def _chance(self, levels_s: list[float], row: int, start_s: float) -> int:
        """Of `LEVELS`: how likely a request is in time, in a batch with this spread."""
        return bisect_right(levels_s, self._requests.deadline_s[row] - start_s)

    def _best_plan(self, now: float) -> tuple[int, int, int]:
        """(step, passed over, size) of the batch that is worth most; of equals the first tried."""
        waiting = self.queue.oldest(2 * self.max_batch)
        best, best_worth = (0, 0, min(len(waiting), self.max_batch)), -1
        for step in range(len(self._steps)):
            counts = FULL if step == 0 else LOWER
            for skipped in _skips(min(len(waiting), self.max_batch)):
                too_good = HALF if len(self.queue) - skipped <= self.max_batch else QUARTER
                for size in _sizes(min(len(waiting) - skipped, self.max_batch)):
                    rows = waiting[skipped : skipped + size]
                    levels_s = self._levels_s(step, rows)
                    if skipped and self._chance(levels_s, waiting[skipped - 1], now) >= too_good:
                        continue
                    worth = counts * sum(self._chance(levels_s, row, now) for row in rows)
                    if worth > best_worth:
                        best, best_worth = (step, skipped, size), worth
        return best


def _sizes(most: int) -> Iterator[int]:
    """Sizes that are tried: each up to 5, then growing by two fifths, and the most."""
    size = 1
    while size < most:
        yield size
        size += max(1, 2 * size // 5)
    yield most


def _skips(waiting: int) -> Iterator[int]:
    """How many to pass over: each up to 4, then growing by half."""
    skipped = 0
    while skipped < waiting:
        yield skipped
        skipped += max(1, skipped // 2)
