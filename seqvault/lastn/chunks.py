"""Layout "chunks": runs of 256 behaviours under one key, a small head per user beside the newest chunk.

    key                                    value
    +--------------+-------------------+   +-----------------------------------------------+
    | user u64 BE  | chunk i: u32 BE   |   | rows 256 i .. 256 i + 255, packed records      |
    +--------------+-------------------+   +-----------------------------------------------+
    | user u64 BE  | 0xffffffff        |   | count i64 | last time i64 | first time i64 of  |
    |              | (the head)        |   |           |               | each chunk         |
    +--------------+-------------------+   +-----------------------------------------------+

Every chunk but the last is full, so the head alone says which chunks hold the newest n, or what lies before
a time: a read is one MultiGet of heads and one of chunks, however many users it asks for. The head sorts
right behind the newest chunk and mostly shares its disk block."""

import struct
import time
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
from rocksdict import WriteBatch

from seqvault.errors import DamagedDataError
from seqvault.lastn.charge import BindingCost, Meter, calibrate_gets
from seqvault.lastn.choice import bound_s, chosen, filters
from seqvault.lastn.database import Database
from seqvault.query import FIRST_S, NO_BOUND_S, NO_LIMIT, Query
from seqvault.rows import row_dtype, sorted_rows
from seqvault.schema import Array, HistorySchema

__all__ = ["ChunkLayout"]

CHUNK_ROWS = 256
_KEY = struct.Struct(">QI")
_HEAD = 0xFFFFFFFF


class _Head(NamedTuple):
    rows: int
    last_s: int
    first_s: Array  # (chunks,) i8


class ChunkLayout:
    """Reads and writes one database in the layout drawn above."""

    def __init__(self, database: Database, schema: HistorySchema) -> None:
        self._database = database
        self._rows = row_dtype(schema)

    def write(self, batch: WriteBatch, users: list[int], histories: list[Array]) -> None:
        """Add each user's new rows, in any order of times, behind the stored ones or among them."""
        meter = Meter()
        heads = self._heads(users, meter)
        first = [self._first_touched(head, rows) for head, rows in zip(heads, histories, strict=True)]
        spans = [
            (user, start, 0 if head is None else len(head.first_s))
            for user, start, head in zip(users, first, heads, strict=True)
        ]
        for (user, start, _), head, old, new in zip(
            spans, heads, self._fetch(spans, meter), histories, strict=True
        ):
            # By bytes: numpy looks at the fields one by one where it joins rows.
            joined = np.frombuffer(old.tobytes() + new.tobytes(), self._rows) if len(old) else new
            rows = sorted_rows(joined)
            for i in range(0, len(rows), CHUNK_ROWS):
                batch.put(_KEY.pack(user, start + i // CHUNK_ROWS), rows[i : i + CHUNK_ROWS].tobytes())
            times = rows["time_s"]
            kept = np.empty(0, "<i8") if head is None else head.first_s[:start]
            count = start * CHUNK_ROWS + len(rows)
            ends = np.array([count, times[-1]], "<i8")
            batch.put(_KEY.pack(user, _HEAD), np.concatenate((ends, kept, times[::CHUNK_ROWS])).tobytes())

    def read(self, query: Query, meter: Meter) -> list[Array]:
        """The rows that a query wants of each user, oldest first."""
        users = query.users.tolist()
        heads = self._heads(users, meter)
        if filters(query) and query.n != NO_LIMIT:
            # How far back n lies is not known before the rows are.
            return [
                self._filtered(user, head, query, i, meter)
                for i, (user, head) in enumerate(zip(users, heads, strict=True))
            ]
        spans = [
            (user, *_span(head, query, i)) for i, (user, head) in enumerate(zip(users, heads, strict=True))
        ]
        fetched = self._fetch(spans, meter)
        wanted = [chosen(rows, query, i) for i, rows in enumerate(fetched)]
        # A filter looks at every row; without one a client copies what it returns.
        meter.rows += sum(map(len, fetched if filters(query) else wanted))
        return wanted

    def calibrate(self) -> BindingCost:
        """The binding's share of this layout's native calls, measured on the first chunks stored."""
        return calibrate_gets(self._database, list(islice(self._database.keys(), 9)))

    def counts(self) -> tuple[int, int]:
        """(users, behaviours), by reading every head."""
        users = behaviours = 0
        for key, value in self._database.items():
            if key[8:] == b"\xff\xff\xff\xff":
                users += 1
                behaviours += int.from_bytes(value[:8], "little")
        return users, behaviours

    def _filtered(self, user: int, head: _Head | None, query: Query, i: int, meter: Meter) -> Array:
        """Fetch ever longer runs of newest chunks until they hold n behaviours that pass the filters."""
        first, end = _span(head, query._replace(n=NO_LIMIT), i)
        if query.n == 0 or first == end:
            return np.empty(0, self._rows)
        take = min(query.n // CHUNK_ROWS + 2, end - first)
        while True:
            start = max(first, end - take)
            (rows,) = self._fetch([(user, start, end)], meter)
            meter.rows += len(rows)
            found = chosen(rows, query, i)
            if len(found) == query.n or start == first:
                return found
            take *= 2

    def _heads(self, users: list[int], meter: Meter) -> list[_Head | None]:
        keys = [_KEY.pack(user, _HEAD) for user in users]
        start = time.perf_counter()
        values = self._database.multi_get(keys)
        meter.native(start, len(keys))
        heads: list[_Head | None] = []
        for value in values:
            if value is None:
                heads.append(None)
                continue
            words = np.frombuffer(value, "<i8")
            heads.append(_Head(int(words[0]), int(words[1]), words[2:]))
        return heads

    def _fetch(self, spans: list[tuple[int, int, int]], meter: Meter) -> list[Array]:
        """The rows of chunks start..end-1 of each (user, start, end), with one MultiGet for all."""
        keys = [_KEY.pack(user, i) for user, start, end in spans for i in range(start, end)]
        values: list[bytes | None] = []
        if keys:
            begin = time.perf_counter()
            values = self._database.multi_get(keys)
            meter.native(begin, len(keys))
        fetched, at = [], 0
        for user, start, end in spans:
            run = values[at : at + max(0, end - start)]
            at += len(run)
            try:
                rows = np.frombuffer(b"".join(cast(list[bytes], run)), self._rows)
            except (TypeError, ValueError) as error:
                raise DamagedDataError(
                    f"{self._database.path}: chunks {start}..{end - 1} of user {user} are missing or cut "
                    f"({error}): restore the store from backup"
                ) from error
            fetched.append(rows)
        return fetched

    def _first_touched(self, head: _Head | None, rows: Array) -> int:
        """The first chunk that new rows change: the unfilled one, or where the earliest late row belongs."""
        if head is None:
            return 0
        earliest_s = int(rows["time_s"].min())
        if earliest_s >= head.last_s:
            return head.rows // CHUNK_ROWS
        return max(0, int(np.searchsorted(head.first_s, earliest_s, "right")) - 1)


def _span(head: _Head | None, query: Query, i: int) -> tuple[int, int]:
    """First and one past the last chunk that hold what a query wants of its i-th user, before filters."""
    end_s = bound_s(query, i)
    if head is None or query.n == 0 or query.start_s >= end_s:
        return 0, 0
    chunks = len(head.first_s)
    if end_s > head.last_s or end_s == NO_BOUND_S:
        # The newest n rows, counted exactly: only the last chunk may be unfilled.
        end, counted = chunks, max(0, head.rows - query.n) // CHUNK_ROWS
    else:
        # The newest chunk with a row before the bound holds at least one such row; the others in full.
        end = int(head.first_s.searchsorted(end_s, "left"))
        counted = max(0, (end - 1) * CHUNK_ROWS + 1 - query.n) // CHUNK_ROWS
    in_time = 0 if query.start_s == FIRST_S else int(np.searchsorted(head.first_s, query.start_s, "left")) - 1
    return min(end, max(counted, in_time, 0)), end
