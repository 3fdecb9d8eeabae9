"""The cells of a profile: real calls on an experiment's stores and models, as a server makes them.

The calls are those of live service times (`live.py`). Before a store is read another request was read or
scored, before a batch is scored its histories are read and moved, and none of its requests was scored before:
so caches are as warm, and as cold, as in service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, islice

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryBatch, ReadTime
from simulator.arms.live import LiveCalls
from simulator.errors import SimulatorError
from simulator.inputs.prepare import Prepared
from simulator.serving.measure import Cell

_USERS = 512  # different users read at each point
_TOGETHER = 4  # reads for each time that a request or batch is scored, as at medium load
# Of a batch that is scored, read just before, as all of it is in service: at most so many requests, and of
# long histories so many behaviours. The rest was read some time ago, or a profile would take hours.
_FRESH, _FRESH_BEHAVIOURS = 16, 10_000
Waiting = tuple[int, HistoryBatch]  # a request, and its history as it was moved


@dataclass(frozen=True)
class Bench:
    """What the cells of one store and of the models beside it call.

    Attributes:
        prepared: the world.
        following: reads of a store that follows the trace: these are timed.
        whole: calls on the same kind of store, loaded to its end, for reads that are not timed.
        models: the arm's models by their keys, the full one first.
    """

    prepared: Prepared
    following: Following
    whole: LiveCalls
    models: Sequence[str]
    _waiting: dict[int, Iterator[Waiting]] = field(default_factory=dict)

    def store(self, key: str, histories: Sequence[int]) -> Iterator[Cell]:
        """Reads of a store, after another request was read or scored."""
        for history in histories:
            yield _store_cell(self, key, history)

    def transport(self, histories: Sequence[int]) -> Iterator[Cell]:
        """Packing and unpacking what was just read."""
        for history in histories:
            yield _transport_cell(self, history)

    def scoring(
        self, model: str, histories: Sequence[int], candidates: Sequence[int], batches: Sequence[int]
    ) -> Iterator[Cell]:
        """Batches scored, after their histories were read and moved."""
        for history in histories:
            for width in candidates:
                for batch in batches:
                    yield _score_cell(self, model, (history, width, batch))

    def rows(self, history: int) -> Iterator[int]:
        """Requests of different users who have so many behaviours, spread over the trace, again and again.

        Raises:
            SimulatorError: there is none.
        """
        return cycle(self._rows(history))

    def waiting(self, history: int) -> Iterator[Waiting]:
        """Such requests with their histories, read and moved some time ago; all who ask take turns."""
        if history not in self._waiting:
            read = [(row, self.whole.read(row, history)[0]) for row in self._rows(history)]
            self._waiting[history] = cycle([(row, self.whole.transport(payload)) for row, payload in read])
        return self._waiting[history]

    def before_read(self, history: int) -> Callable[[], None]:
        """What a server does just before it reads for a request: mostly it has read for another one."""
        waiting, turns = self.waiting(history), count()

        def before() -> None:
            if next(turns) % _TOGETHER == 0:
                row, payload = next(waiting)
                self.whole.score([row], self.models[0], [history], [payload])
            else:
                self.whole.transport(self.following.read(history)[1])

        return before

    def _rows(self, history: int) -> list[int]:
        _first(self.prepared.history_available, history)
        rows = np.flatnonzero(self.prepared.history_available >= history)
        _, first = np.unique(self.prepared.requests.user_id[rows], return_index=True)
        rows = rows[first]
        return [int(row) for row in rows[:: max(1, len(rows) // _USERS)]]


def _store_cell(bench: Bench, key: str, history: int) -> Cell:
    return Cell(
        f"store/{key}",
        (history,),
        bench.before_read(history),
        lambda: bench.following.read(history)[2].own_s,
    )


def _transport_cell(bench: Bench, history: int) -> Cell:
    before_read = bench.before_read(history)
    read: list[HistoryBatch] = []

    def before() -> None:
        before_read()
        read[:] = [bench.following.read(history)[1]]

    def timed() -> None:
        bench.whole.transport(read[0])

    return Cell("transport", (history,), before, timed)


def _score_cell(bench: Bench, model: str, point: tuple[int, int, int]) -> Cell:
    history, candidates, batch = point
    waiting = bench.waiting(history)
    fresh = min(batch, _FRESH, max(1, _FRESH_BEHAVIOURS // max(1, history)))
    scored: list[Waiting] = []

    def before() -> None:
        # No request of the batch was scored before: one that comes again finds all of its own in the caches.
        scored[:] = islice(waiting, batch - fresh)
        for _ in range(fresh):
            row, payload, _ = bench.following.read(history)
            scored.append((row, bench.whole.transport(payload)))

    def timed() -> None:
        rows, payloads = zip(*scored, strict=True)
        bench.whole.score(rows, model, [history] * batch, payloads, candidates)

    return Cell(f"score/{model}", point, before, timed)


class Following:
    """Reads in the trace's order, each from a store that holds what its request may see, and no more.

    Behind the trace's last request they begin anew with a new store: one that is ahead of a request has to
    look for its moment, as none does in service.

    Args:
        available: (R,) behaviours of each request's user.
        opened: the calls of a store at the trace's start; the one before it is no longer used.
    """

    def __init__(self, available: NDArray[np.int64], opened: Callable[[], LiveCalls]) -> None:
        self._available, self._opened = available, opened
        self._calls, self._row = opened(), -1

    def read(self, history: int) -> tuple[int, HistoryBatch, ReadTime]:
        """The next request whose user has `history` behaviours, what was read for it, and the time it took.

        Raises:
            SimulatorError: there is none.
        """
        later = np.flatnonzero(self._available[self._row + 1 :] >= history)
        if len(later):
            self._row += 1 + int(later[0])
        else:
            self._row = _first(self._available, history)
            self._calls = self._opened()
        return self._row, *self._calls.read(self._row, history)


def _first(available: NDArray[np.int64], history: int) -> int:
    rows = np.flatnonzero(available >= history)
    if len(rows) == 0:
        raise SimulatorError(
            f"No user of this world has {history} behaviours, expected some, to measure reading and "
            "scoring them. Lower the arm's history, raise traffic.world.history_max, or use a longer log."
        )
    return int(rows[0])


def put_together(
    cell: Mapping[tuple[int, int, int], Sequence[float]], point: tuple[int, int, int], at_once: int
) -> list[float]:
    """A batch larger than what is scored at once: as long as that many of the largest in a row took."""
    history, candidates, batch = point
    taken = np.array(cell[history, candidates, at_once])
    times = -(-batch // at_once)
    starts = np.arange(len(taken))[:, None] + np.arange(times)
    return [float(s) for s in taken[starts % len(taken)].sum(axis=1)]
