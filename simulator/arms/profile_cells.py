"""The cells of a profile: real calls on an experiment's stores and models, as a server makes them.

The calls are those of live service times (`live.py`). Before a store is read a request is scored, before a
batch is scored its histories are read and moved: so caches are as warm, and as cold, as in service.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryBatch
from simulator.arms.live import LiveCalls
from simulator.errors import SimulatorError
from simulator.inputs.prepare import Prepared
from simulator.serving.measure import Cell

_USERS = 512  # different users read at each point
_FRESH = 1  # of a batch's requests, how many are read just before it is scored


@dataclass(frozen=True)
class Bench:
    """What the cells of one store and of the models beside it call.

    Attributes:
        prepared: the world.
        fresh: calls on a store that follows the trace: its reads are timed.
        whole: calls on the same kind of store, loaded to its end, for reads that are not timed.
        models: the arm's models by their keys, the full one first.
    """

    prepared: Prepared
    fresh: LiveCalls
    whole: LiveCalls
    models: Sequence[str]

    def store(self, key: str, histories: Sequence[int]) -> Iterator[Cell]:
        """Reads of a store, after a request was scored."""
        requests = InOrder(self.prepared.history_available)
        for history in histories:
            yield _store_cell(self, key, history, requests)

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
        _first(self.prepared.history_available, history)
        rows = np.flatnonzero(self.prepared.history_available >= history)
        _, first = np.unique(self.prepared.requests.user_id[rows], return_index=True)
        rows = rows[first]
        return cycle([int(row) for row in rows[:: max(1, len(rows) // _USERS)]])


def _store_cell(bench: Bench, key: str, history: int, requests: InOrder) -> Cell:
    row = next(bench.rows(history))
    scored = row, bench.whole.read(row, history)[0]

    def before() -> None:
        bench.whole.score([scored[0]], bench.models[0], [history], [scored[1]])

    def timed() -> float:
        # In the trace's order, as in serving: a store ahead of a request has to look for its moment.
        return bench.fresh.read(requests.next(history), history)[1].own_s

    return Cell(f"store/{key}", (history,), before, timed)


def _transport_cell(bench: Bench, history: int) -> Cell:
    rows = bench.rows(history)
    read: list[HistoryBatch] = []

    def before() -> None:
        read[:] = [bench.whole.read(next(rows), history)[0]]

    def timed() -> None:
        bench.whole.transport(read[0])

    return Cell("transport", (history,), before, timed)


def _score_cell(bench: Bench, model: str, point: tuple[int, int, int]) -> Cell:
    history, candidates, batch = point
    rows = bench.rows(history)
    read: deque[tuple[int, HistoryBatch]] = deque(maxlen=batch)

    def before() -> None:
        # All of them at first, then one, which takes the place of the oldest: of a large batch most would
        # have been read long before, and reading them all takes longer than scoring.
        for row in (next(rows) for _ in range(batch if len(read) < batch else min(batch, _FRESH))):
            read.append((row, bench.whole.transport(bench.whole.read(row, history)[0])))

    def timed() -> None:
        payloads = [payload for _, payload in read]
        bench.whole.score([row for row, _ in read], model, [history] * batch, payloads, candidates)

    return Cell(f"score/{model}", point, before, timed)


class InOrder:
    """Ever later requests with as many behaviours as are asked for; at the trace's end, from its start."""

    def __init__(self, available: NDArray[np.int64]) -> None:
        self._available, self._row = available, -1

    def next(self, history: int) -> int:
        """The next request whose user has `history` behaviours."""
        later = np.flatnonzero(self._available[self._row + 1 :] >= history)
        self._row = self._row + 1 + int(later[0]) if len(later) else _first(self._available, history)
        return self._row


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
