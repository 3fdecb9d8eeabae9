"""An arm's store with the trace's requests: who asks for what, and a sample of the answers compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqvault.store import HistoryBatch, HistoryStore
from simulator.arms.histories.asked import Answer, Ask, answer
from simulator.arms.histories.read_sample import ReadSample
from simulator.inputs.prepare import Prepared


class TraceStore:
    """Attributes:
    store: the arm's, filled by whoever made this.
    """

    def __init__(self, prepared: Prepared, store: HistoryStore, kind: str) -> None:
        """Make one.

        Args:
            kind: the store's name, for messages.
        """
        self.store = store
        self._sample = ReadSample(prepared, kind)
        self._requests, self._readable_s = prepared.requests, prepared.readable_before_s

    def ask(self, rows: NDArray[np.int64], newest: int) -> Ask:
        """For requests: each user's newest behaviours of those readable at its moment.

        Args:
            rows: (B,) of the trace.
        """
        requests = self._requests
        return Ask(requests.user_id[rows], newest, self._readable_s[rows], requests.arrival_s[rows])

    def answer(self, rows: NDArray[np.int64], ask: Ask) -> Answer:
        """What these requests find.

        Raises:
            PluginError: a user's own store answers with another history, see `ReadSample`.
        """
        return self.checked(rows, ask, answer(self.store, ask))

    def checked(self, rows: NDArray[np.int64], ask: Ask, found: Answer) -> Answer:
        """An answer, wherever it was read, after the sample was compared. Raises as `answer`."""
        self._sample.check(rows, ask.newest, found.batch, ask.before_s)
        return found

    def read(self, rows: NDArray[np.int64], newest: int) -> HistoryBatch:
        """The histories alone. Raises as `answer`."""
        return self.answer(rows, self.ask(rows, newest)).batch
