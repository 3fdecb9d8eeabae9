"""Histories in a dict: the smallest store, and the oracle the durable ones are tested against."""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self, Unpack

import numpy as np

from seqvault.errors import SchemaError, StoreClosedError, StoreReadOnlyError
from seqvault.floor import check_floor, warn_of_expired
from seqvault.query import FIRST_S, Conditions, Query
from seqvault.schema import BEHAVIOURS, Array, Columns, HistorySchema, SequenceType
from seqvault.select import by_user, in_order, matching
from seqvault.store import HistoryBatch, ReadTime

__all__ = ["MemoryStore"]


class MemoryStore:
    """A HistoryStore that forgets everything at close; durable only as long as the process lives.

    It keeps sequences, caps and floors as SeqVault does, at once instead of at its next compaction.

    Args:
        path: ignored; nothing is kept there.
        schema: of the only sequence, where `sequences` names none.
        sequences: what it holds for each user; the first is the default of every method.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        schema: HistorySchema | None = BEHAVIOURS,
        read_only: bool = False,
        sequences: Sequence[SequenceType] | None = None,
    ) -> None:
        kinds = sequences or (SequenceType("behaviours", BEHAVIOURS if schema is None else schema),)
        self._tables = {kind.name: _Table(kind) for kind in kinds}
        self.schema = kinds[0].schema
        self._default = kinds[0].name
        self._read_only = read_only
        self._closed = False

    def append(self, user_ids: object, columns: Columns, *, sequence: str | None = None) -> None:
        """See HistoryStore.append."""
        table = self._table(sequence, writing=True)
        users, checked = table.schema.check(user_ids, columns)
        warn_of_expired(checked["time_s"], table.floor_s, table.name)
        table.add(users, checked)

    def bulk_load(self, user_ids: object, columns: Columns, *, sequence: str | None = None) -> None:
        """See HistoryStore.bulk_load."""
        self.append(user_ids, columns, sequence=sequence)

    def delete_user(self, user_id: int) -> None:
        """Forget a user's histories; later appends begin new ones."""
        self._table(None, writing=True)
        for table in self._tables.values():
            table.histories.pop(user_id, None)

    def expire(self, before_s: int, *, sequence: str | None = None, force: bool = False) -> None:
        """See SeqVault.expire."""
        table = self._table(sequence, writing=True)
        if not force and before_s > table.floor_s:
            check_floor(before_s, table.times(), table.ttl_s, table.name)
        table.expire(before_s)

    def read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> HistoryBatch:
        """See HistoryStore.read_last."""
        table = self._table(sequence)
        query = Query.last(table.schema, user_ids, n, before_s, **conditions)
        return table.read(query)

    def read_range(
        self,
        user_ids: object,
        start_s: float,
        end_s: float,
        *,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> HistoryBatch:
        """See HistoryStore.read_range."""
        table = self._table(sequence)
        query = Query.between(table.schema, user_ids, start_s, end_s, **conditions)
        return table.read(query)

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> tuple[HistoryBatch, ReadTime]:
        """See HistoryStore.timed_read_last. There is no binding: the store's own time is the call's."""
        start = time.perf_counter()
        table = self._table(sequence)
        query = Query.last(table.schema, user_ids, n, before_s, **conditions)
        batch = table.read(query)
        call_s = time.perf_counter() - start
        return batch, ReadTime(call_s, call_s)

    def stats(self) -> dict[str, int | float]:
        """users, behaviours, bytes_in_memory, and bytes_on_disk = 0; of all sequences together."""
        self._check_open()
        tables = self._tables.values()
        rows = [(table.rows(), table.schema.row_bytes) for table in tables]
        return {
            "users": len(set().union(*(table.histories for table in tables))),
            "behaviours": sum(count for count, _ in rows),
            "bytes_on_disk": 0,
            "bytes_in_memory": sum(count * size for count, size in rows),
        }

    def close(self) -> None:
        """Forget every history."""
        self._closed = True
        self._tables.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _table(self, sequence: str | None, *, writing: bool = False) -> "_Table":
        self._check_open()
        if writing and self._read_only:
            raise StoreReadOnlyError("the memory store is open read-only: open it with read_only=False")
        name = self._default if sequence is None else sequence
        if name not in self._tables:
            raise SchemaError(f"sequence {name!r}: the store has {', '.join(self._tables)}")
        return self._tables[name]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the memory store is closed: open another")


class _Table:
    """The histories of one sequence, each in order, without what is expired or beyond the cap."""

    def __init__(self, kind: SequenceType) -> None:
        self.schema = kind.schema
        self.histories: dict[int, dict[str, Array]] = {}
        self.name, self.ttl_s, self.floor_s = kind.name, kind.ttl_s, FIRST_S
        self._cap = kind.cap

    def rows(self) -> int:
        """Behaviours of all users."""
        return sum(len(history["time_s"]) for history in self.histories.values())

    def times(self) -> Iterator[Array]:
        """Stored times, one user's after the other's."""
        return (history["time_s"] for history in self.histories.values())

    def add(self, users: Array, columns: Columns) -> None:
        """Merge rows (N,) into their users' histories."""
        order, distinct, bounds = by_user(users)
        rows = {name: values[order] for name, values in columns.items()}
        for user, (start, end) in zip(distinct.tolist(), pairwise(bounds.tolist()), strict=True):
            new = {name: values[start:end] for name, values in rows.items()}
            old = self.histories.get(user)
            if old is not None:
                new = {name: np.concatenate((old[name], values)) for name, values in new.items()}
            self._keep(user, in_order(new))

    def expire(self, before_s: int) -> None:
        """Raise the floor."""
        self.floor_s = max(self.floor_s, before_s)
        for user, history in list(self.histories.items()):
            self._keep(user, history)

    def read(self, query: Query) -> HistoryBatch:
        """What a query asks for."""
        parts: list[Columns | None] = []
        for i, user in enumerate(query.users.tolist()):
            history = self.histories.get(user)
            if history is None:
                parts.append(None)
                continue
            rows = matching(history, query, i)
            parts.append({name: history[name][rows] for name in query.names})
        return HistoryBatch.gather(self.schema, query.users, query.names, parts)

    def _keep(self, user: int, history: dict[str, Array]) -> None:
        rows = len(history["time_s"])
        first = int(np.searchsorted(history["time_s"], self.floor_s, "left"))
        if self._cap is not None:
            first = max(first, rows - self._cap)
        if first == rows:
            self.histories.pop(user, None)
        else:
            self.histories[user] = {name: values[first:] for name, values in history.items()}
