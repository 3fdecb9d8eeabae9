"""A read that is asked again and again, in memory of its own: what a server's hot path calls.

`read_last` makes new arrays for every answer. Most of what reading 200 behaviours costs is that, and checking
arguments that are the same each time. Here both are done once, as a RocksDB client keeps its buffers.
"""

import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Protocol

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.query import NO_BOUND_S, Query, bound_s, users_of
from seqvault.schema import Array
from seqvault.store import HistoryBatch
from seqvault.vault.engine.latency import Latency
from seqvault.vault.engine.table import Table
from seqvault.vault.reading.hot import Asked, Hot

__all__ = ["PreparedRead", "PreparedReads"]

_KEPT = 16


class _Reading(Protocol):
    """A query whose users and end change."""

    def __call__(self, users: Array, end_s: int | Array) -> HistoryBatch: ...


class PreparedRead:
    """What `SeqVault.prepare_last` gives: call it with users. Not to be called by two threads at once.

    Args:
        table: gives the sequence's table as it is now; raises when the store is closed.
        query: for a table, the query to run, of no users.
        latency: counts the reads that the hot tier does not answer.
    """

    # What one user's read asks the hot tier, which knows it by being the same object again; and the tier.
    _one: Asked | None
    _tier: Hot

    def __init__(self, table: Callable[[], Table], query: Callable[[Table], Query], latency: Latency) -> None:
        self._table, self._query, self._latency = table, query, latency
        self._prepare(table())

    def __call__(self, user_ids: object, before_s: object = None) -> HistoryBatch:
        """Each user's newest behaviours with time_s < before_s, as `read_last` returns them.

        The batch's arrays are valid until the next call of this object, which writes over them.

        Args:
            user_ids: (U,); before_s: seconds, one for all or (U,); None for no bound.

        Raises:
            SchemaError, DamagedDataError, StoreClosedError: see HistoryStore.
        """
        table = self._table()
        if table is not self._of:
            self._prepare(table)
        users = users_of(user_ids)
        end_s = NO_BOUND_S if before_s is None else bound_s(before_s, len(users))
        one = self._one
        if one is not None and len(users) == 1:
            end = end_s if isinstance(end_s, int) else int(end_s[0])
            if end != one.end_s:
                one = self._one = one._replace(end_s=end)
            known = self._tier.one(users.item(0), one)
            if known is not None:
                return known
        while True:
            try:
                hot = None if table.hot is None else self._hot(table.hot, users, end_s)
                if hot is not None:
                    return hot
                begun_ns = perf_counter_ns()
                batch = self._reading(users, end_s)
                self._latency.note(begun_ns)
                return batch
            except DamagedDataError:
                # A refresh in another thread may have replaced, and closed, what this read began with.
                table = self._table()
                if table is self._of:
                    self._latency.errors += 1
                    raise
                self._prepare(table)

    def _hot(self, hot: Hot, users: Array, end_s: int | Array) -> HistoryBatch | None:
        """The answer of the hot tier, which may take up a user for it; None where it has none."""
        read = partial(self._latency.timed, self._of.reader.read)
        return hot.read(self._asked._replace(users=users, end_s=end_s), read)

    def _prepare(self, table: Table) -> None:
        self._of, self._asked = table, self._query(table)
        self._one = None
        if table.hot is not None and all(ids is None for ids in self._asked[5:]):
            self._tier = table.hot
            self._one = Asked(self._asked.names, self._asked.n, NO_BOUND_S)
        self._reading: _Reading = table.reader.prepare(self._asked)


class PreparedReads(threading.local):
    """Each thread's prepared reads, by their arguments; the latest few are kept."""

    def __init__(self) -> None:
        self._made: dict[str, PreparedRead] = {}

    def get(self, prepare: Callable[..., PreparedRead], n: int, **conditions: object) -> PreparedRead:
        """What `prepare`, SeqVault.prepare_last, makes of these arguments. Raises as it does."""
        # As text: 5 and 5.0, "item_id" and ["item_id"] are equal or alike, and one of each is refused.
        # By name: the same ids may be of scenes or of actions.
        given = [("n", n), *sorted(conditions.items())]
        key = repr([(name, np.asarray(value).tolist()) for name, value in given])
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            made = self._made[key] = prepare(n, **conditions)
        return made
