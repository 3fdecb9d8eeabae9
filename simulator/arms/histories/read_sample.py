"""A sample of an arm's reads, compared with what was ingested. Start at `ReadSample.check`.

A store that answers with other histories gives a run another truth, and nothing else would show it: the
models score whatever they are given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqvault.errors import PluginError
from seqvault.store import HistoryBatch
from simulator.config.settings import STORES
from simulator.draws import uniform
from simulator.inputs.prepare import Prepared

# Of the requests. Comparing one takes 16 µs of CPU, so 1 µs per request; scoring one takes 300 and more.
SHARE = 1 / 16


class ReadSample:
    """The requests whose reads are compared: the same in every run of a seed, whoever reads them."""

    def __init__(self, prepared: Prepared, store: str) -> None:
        """Draw them.

        Args:
            prepared: the world, whose behaviours are what a store must answer with.
            store: the name of the store that is read, for messages.
        """
        self._prepared, self._store = prepared, store
        self._chosen = uniform(prepared.source.seed, "read sample", prepared.requests.request_id) < SHARE

    def check(
        self,
        rows: NDArray[np.int64],
        n: int,
        found: HistoryBatch,
        before_s: NDArray[np.int64] | None = None,
    ) -> None:
        """Compare the reads of requests, those of the sample.

        Args:
            rows: (B,) of the trace.
            n: how many behaviours were asked for, at most, each readable at its request's time.
            found: what the store answered.
            before_s: (B,) what was asked for is older than this; None: all that is readable.

        Raises:
            PluginError: a user's own store answered with anything but what was ingested.
            RuntimeError: one of ours did.
        """
        for i in np.flatnonzero(self._chosen[rows]):
            limit_s = self._prepared.readable_before_s[rows[i]] if before_s is None else before_s[i]
            if difference := self._difference(int(rows[i]), n, int(i), found, int(limit_s)):
                raise self._error(int(rows[i]), n, difference, int(limit_s))

    def _difference(self, row: int, n: int, i: int, found: HistoryBatch, before_s: int) -> str | None:
        """What is wrong with the answer to the i-th request of a read."""
        prepared = self._prepared
        behaviours, user = prepared.world.behaviours, prepared.requests.user_id[row]
        if found.user_ids[i] != user:
            return f"found the history of user {found.user_ids[i]}"
        start = int(behaviours.offsets[np.searchsorted(behaviours.users, user)])
        own_s = behaviours.time_s[start : start + int(prepared.history_available[row])]
        available = int(np.searchsorted(own_s, before_s))
        end = start + available
        length, expected = int(found.offsets[i + 1] - found.offsets[i]), min(n, available)
        if length != expected:
            return f"found {length} behaviours, expected {expected}"
        for name, values in found.of(i).items():
            truth = getattr(behaviours, name)[end - expected : end]
            if not np.array_equal(values, truth):
                at = int(np.argmax(values != truth))
                place = f"{name} of behaviour {at + 1} of {expected}"
                return f"found {values[at]} as {place}, expected {truth[at]}"
        return None

    def _error(self, row: int, n: int, difference: str, before_s: int) -> Exception:
        prepared = self._prepared
        user = prepared.requests.user_id[row]
        message = (
            f"store {self._store!r} answered request {prepared.requests.request_id[row]} with another "
            f"history than was ingested. Asked for the newest {n} behaviours of user {user} before "
            f"{before_s} s, {difference}."
        )
        if self._store in STORES:
            return RuntimeError(message)
        return PluginError(f"{message} Correct the plug-in; docs/plugins.md says what a store promises.")
