"""An arm's store as the trace goes through it: it holds at every request what that request may see.

For live service and for measurements, where the store's own time counts and it must be in the state of the
moment. Scores alone need no such care, see `loaded.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryBatch, HistoryStore, ReadTime
from simulator.arms.histories.asked import MODEL_COLUMNS
from simulator.arms.histories.trace_store import TraceStore
from simulator.inputs.prepare import Prepared

# Live, requests between two ingests, at most; reads are bounded in time, so it changes no result. In the
# quick world a synced append for every request took 2.3 ms each (LastN), longer than reading and scoring; for
# many 0.7 ms.
_INGEST_ROWS = 64


class ReplayedStore(TraceStore):
    """A history store that the log's behaviours are replayed into, kept up to date with log time.

    Behaviours before the first request are loaded at once; later ones are appended as the trace
    advances, always ahead of the requests that may read them. A run that goes on after an interruption
    loads a fresh store in the same way, up to the first request that is left: every behaviour is
    written once, whatever a killed process left of its store.
    """

    def __init__(self, prepared: Prepared, store: HistoryStore, kind: str, first: int = 0) -> None:
        """Load the store for the requests from `first` on.

        Args:
            kind: the store's name, for messages.
        """
        super().__init__(prepared, store, kind)
        behaviours = prepared.world.behaviours
        self._users, self._columns = behaviours.user_id, behaviours.columns
        self._readers = prepared.requests.user_id
        time_s = behaviours.time_s
        before = time_s < int(self._readable_s[first:].min())
        later = np.flatnonzero(~before)
        store.bulk_load(self._users[before], {name: c[before] for name, c in self._columns.items()})
        # Arrival order: by time, ties in the users' own order.
        self._later = later[np.argsort(time_s[later], kind="stable")]
        self._later_s = time_s[self._later]
        self._ingested = 0
        self._held = np.zeros(0, np.int64)  # of what was ingested: places left for later, see `ingest_for`
        self._ready = 0  # requests below need nothing more

    def ingest(self, before_s: int) -> None:
        """Append the behaviours with time_s < before_s that are not there yet."""
        self._append(self._due(before_s))

    def ingest_for(self, row: int) -> None:
        """Let a request find what it would find if each behaviour were appended at its own time.

        What other users did changes no read, so many requests share one durable append. The user of each
        gets nothing newer than that request may see: a store ahead of a read would have to look for its
        moment, and its time would not be the one measured in service.

        Args:
            row: of the trace; a row below an earlier one finds the store ahead of it.
        """
        if row < self._ready:
            return
        rows = np.arange(row, min(row + _INGEST_ROWS, len(self._readers)))
        users, first = np.unique(self._readers[rows], return_index=True)
        if len(users) < len(rows):  # up to where a user comes again, who may have gone on meanwhile
            rows = rows[: np.setdiff1d(np.arange(len(rows)), first)[0]]
            users, first = np.unique(self._readers[rows], return_index=True)
        due = self._due(int(self._readable_s[rows].max()))
        owners = self._users[self._later[due]]
        place = np.minimum(np.searchsorted(users, owners), len(users) - 1)
        unseen = self._later_s[due] >= self._readable_s[rows[first]][place]
        early = unseen & (users[place] == owners)
        self._append(due[~early])
        self._held, self._ready = due[early], int(rows[-1]) + 1

    def timed_read(self, row: int, history: int) -> tuple[HistoryBatch, ReadTime]:
        """`read` for one request, and how long the store took."""
        batch, spent = self.store.timed_read_last(
            self._readers[row : row + 1], history, before_s=int(self._readable_s[row]), columns=MODEL_COLUMNS
        )
        self._sample.check(np.array([row]), history, batch)
        return batch, spent

    def _due(self, before_s: int) -> NDArray[np.int64]:
        """Places, in order of arrival, of the behaviours before a time that were not appended yet."""
        end = max(int(np.searchsorted(self._later_s, before_s)), self._ingested)
        due = np.concatenate([self._held, np.arange(self._ingested, end)])
        self._held, self._ingested = due[:0], end
        return due

    def _append(self, places: NDArray[np.int64]) -> None:
        if len(places):
            rows = self._later[places]
            self.store.append(self._users[rows], {name: c[rows] for name, c in self._columns.items()})
