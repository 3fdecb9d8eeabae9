"""Policies of serving: who is read, who is given up, and which batch a free scorer takes.

A policy is asked at two moments: when a store worker is free (`at_turn`) and when a scorer is
(`next_batch`). Start at `Policy`. `Fifo` here is the plainest one; the others are in `goodput.py` and
`ladder.py`, and `pipeline.py` runs them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from simulator.serving.arm import ServingArm


@dataclass(frozen=True)
class Requests:
    """The trace as policies see it; lists by row, seconds.

    Attributes:
        arrival_s, deadline_s: infinite without a budget.
        available: behaviours the user has.
        used: behaviours read, or to be scored.
        ready_s: end of the store turn; NaN before it.
        give_up: answers a row with the prior order, at a moment.
    """

    arrival_s: list[float]
    deadline_s: list[float]
    available: list[int]
    used: list[int]
    ready_s: list[float]
    give_up: Callable[[int, float], None]


class Policy(Protocol):
    """What the pipeline asks. Rows are requests by their place in the trace."""

    def at_turn(self, row: int, now: float, others_wait: bool) -> int | None:
        """The ladder step whose history is read; None if the request was given up instead."""
        ...

    def add(self, row: int, step: int) -> None:
        """A request's turn has ended: it waits for a scorer."""
        ...

    def next_batch(self, now: float) -> tuple[int, list[int]] | None:
        """The step and rows, oldest first, that a free scorer starts now; None to stay idle."""
        ...

    def started(self, step: int, rows: Sequence[int], longest: int, now: float) -> None:
        """A batch has started on an idle scorer."""
        ...

    def ended(self, row: int) -> None:
        """The batch whose oldest request this is has ended."""
        ...


class ReadyQueue:
    """Requests that wait for a scorer, the oldest first. Constant time, however many wait."""

    def __init__(self, requests: Requests, max_batch: int, max_wait_s: float) -> None:
        self._ready_s, self._max_batch, self._max_wait_s = requests.ready_s, max_batch, max_wait_s
        self._rows: list[int] = []
        self._head = 0

    def __len__(self) -> int:
        return len(self._rows) - self._head

    def oldest(self, count: int, skipped: int = 0) -> list[int]:
        """The oldest rows, at most so many, after those skipped."""
        start = self._head + skipped
        return self._rows[start : start + count]

    def add(self, row: int) -> None:
        """In its place by age: turns end nearly in order, so that is near the end."""
        insort(self._rows, row, lo=self._head)

    def remove(self, count: int) -> None:
        """Let the oldest go."""
        self._head += count
        if 2 * self._head > len(self._rows):
            del self._rows[: self._head]
            self._head = 0

    def hold_s(self, now: float) -> float:
        """Seconds that a batch may still wait to fill: 0 when it is full or who waits longest has waited."""
        if self._max_wait_s == 0.0 or len(self) >= self._max_batch:
            return 0.0
        longest_s = min([self._ready_s[row] for row in self.oldest(self._max_batch)]) + self._max_wait_s
        return longest_s - now if longest_s > now else 0.0


class Fifo:
    """First come, first served, at full history; nobody is given up, however late."""

    def __init__(self, arm: ServingArm, requests: Requests) -> None:
        self.max_batch = arm.max_batch
        self.queue = ReadyQueue(requests, arm.max_batch, arm.max_wait_s)

    def at_turn(self, row: int, now: float, others_wait: bool) -> int | None:
        """See `Policy`."""
        return 0

    def add(self, row: int, step: int) -> None:
        """See `Policy`."""
        self.queue.add(row)

    def next_batch(self, now: float) -> tuple[int, list[int]] | None:
        """See `Policy`."""
        if not self.queue or self.queue.hold_s(now) > 0.0:
            return None
        rows = self.queue.oldest(self.max_batch)
        self.queue.remove(len(rows))
        return 0, rows

    def started(self, step: int, rows: Sequence[int], longest: int, now: float) -> None:
        """See `Policy`."""

    def ended(self, row: int) -> None:
        """See `Policy`."""
