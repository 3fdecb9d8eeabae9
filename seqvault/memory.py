"""Histories in a dict: the smallest store, and the oracle the durable ones are tested against."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seqvault.errors import StoreClosedError, StoreReadOnlyError
from seqvault.schema import BEHAVIOURS, Array, Columns, HistorySchema
from seqvault.select import Rows, bounds_s, by_user, check_n, check_users, clip_s, in_order, newest, within
from seqvault.store import HistoryBatch, ReadTime

__all__ = ["MemoryStore"]


class MemoryStore:
    """A HistoryStore that forgets everything at close; durable only as long as the process lives."""

    def __init__(
        self, path: Path | None = None, *, schema: HistorySchema = BEHAVIOURS, read_only: bool = False
    ) -> None:
        self.schema = schema
        self._read_only = read_only
        self._closed = False
        self._histories: dict[int, dict[str, Array]] = {}

    def append(self, user_ids: object, columns: Columns) -> None:
        """See HistoryStore.append."""
        self._check_open()
        if self._read_only:
            raise StoreReadOnlyError(
                "append to a memory store opened read-only: open it with read_only=False"
            )
        users, checked = self.schema.check(user_ids, columns)
        order, distinct, bounds = by_user(users)
        rows = {name: values[order] for name, values in checked.items()}
        for user, (start, end) in zip(distinct.tolist(), pairwise(bounds.tolist()), strict=True):
            new = {name: values[start:end] for name, values in rows.items()}
            old = self._histories.get(user)
            if old is not None:
                new = {name: np.concatenate((old[name], values)) for name, values in new.items()}
            self._histories[user] = in_order(new)

    def bulk_load(self, user_ids: object, columns: Columns) -> None:
        """See HistoryStore.bulk_load."""
        self.append(user_ids, columns)

    def read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
    ) -> HistoryBatch:
        """See HistoryStore.read_last."""
        users = check_users(user_ids)
        n, keep = check_n(n), self.schema.scene_filter(scenes)
        bounds = bounds_s(before_s, len(users))
        return self._read(users, columns, lambda i, history: newest(history, n, bounds[i], keep))

    def read_range(
        self,
        user_ids: object,
        start_s: int,
        end_s: int,
        *,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
    ) -> HistoryBatch:
        """See HistoryStore.read_range."""
        keep = self.schema.scene_filter(scenes)
        start_s, end_s = clip_s(start_s), clip_s(end_s)
        return self._read(
            check_users(user_ids), columns, lambda i, history: within(history, start_s, end_s, keep)
        )

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
    ) -> tuple[HistoryBatch, ReadTime]:
        """See HistoryStore.timed_read_last. There is no binding: the store's own time is the call's."""
        start = time.perf_counter()
        batch = self.read_last(user_ids, n, before_s=before_s, columns=columns, scenes=scenes)
        call_s = time.perf_counter() - start
        return batch, ReadTime(call_s, call_s)

    def stats(self) -> dict[str, int | float]:
        """users, behaviours, bytes_in_memory, and bytes_on_disk = 0."""
        self._check_open()
        behaviours = sum(len(history["time_s"]) for history in self._histories.values())
        return {
            "users": len(self._histories),
            "behaviours": behaviours,
            "bytes_on_disk": 0,
            "bytes_in_memory": behaviours * self.schema.row_bytes,
        }

    def close(self) -> None:
        """Forget every history."""
        self._closed = True
        self._histories.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(
        self,
        users: Array,
        columns: Sequence[str] | None,
        rows_of: Callable[[int, Columns], Rows],
    ) -> HistoryBatch:
        self._check_open()
        names = self.schema.chosen(columns)
        parts: list[Columns | None] = []
        for i, user in enumerate(users.tolist()):
            history = self._histories.get(user)
            if history is None:
                parts.append(None)
                continue
            rows = rows_of(i, history)
            parts.append({name: history[name][rows] for name in names})
        return HistoryBatch.gather(self.schema, users, names, parts)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the memory store is closed: open another")
