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
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
from rocksdict import WriteBatch

from seqvault.errors import DamagedDataError
from seqvault.lastn.charge import BindingCost, Meter, calibrate_gets
from seqvault.lastn.database import Database
from seqvault.rows import row_dtype, sorted_rows
from seqvault.schema import Array, HistorySchema
from seqvault.select import newest, within

__all__ = ["ChunkLayout"]

CHUNK_ROWS = 256
_KEY = struct.Struct(">QI")
_HEAD = 0xFFFFFFFF


class _Head(NamedTuple):
    rows: int
    last_s: int
    first_s: Array  # (chunks,) i8


# First and one past the last chunk to fetch, and the rows to keep of what they hold.
_Plan = tuple[int, int, Callable[[Array], Array]]


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
            rows = sorted_rows(np.concatenate((old, new)) if len(old) else new)
            for i in range(0, len(rows), CHUNK_ROWS):
                batch.put(_KEY.pack(user, start + i // CHUNK_ROWS), rows[i : i + CHUNK_ROWS].tobytes())
            times = rows["time_s"]
            kept = np.empty(0, "<i8") if head is None else head.first_s[:start]
            count = start * CHUNK_ROWS + len(rows)
            ends = np.array([count, times[-1]], "<i8")
            batch.put(_KEY.pack(user, _HEAD), np.concatenate((ends, kept, times[::CHUNK_ROWS])).tobytes())

    def last(
        self, users: list[int], n: int, bounds_s: list[int], scenes: Array | None, meter: Meter
    ) -> list[Array]:
        """Each user's newest n rows before its bound, oldest first."""
        heads = self._heads(users, meter)
        if scenes is not None:
            return [
                self._last_of_scenes(user, head, n, bound, scenes, meter)
                for user, head, bound in zip(users, heads, bounds_s, strict=True)
            ]
        plans = [_plan_last(head, n, bound) for head, bound in zip(heads, bounds_s, strict=True)]
        return self._read(users, plans, meter)

    def between(
        self, users: list[int], start_s: int, end_s: int, scenes: Array | None, meter: Meter
    ) -> list[Array]:
        """Each user's rows with start_s <= time_s < end_s."""
        plans: list[_Plan] = []
        for head in self._heads(users, meter):
            if head is None:
                plans.append((0, 0, lambda rows: rows))
                continue
            start = max(0, int(np.searchsorted(head.first_s, start_s, "left")) - 1)
            end = int(np.searchsorted(head.first_s, end_s, "left"))
            plans.append((start, end, lambda rows: rows[within(rows, start_s, end_s, scenes)]))
        return self._read(users, plans, meter)

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

    def _read(self, users: list[int], plans: list[_Plan], meter: Meter) -> list[Array]:
        spans = [(user, start, end) for user, (start, end, _) in zip(users, plans, strict=True)]
        fetched = self._fetch(spans, meter)
        return [trim(rows) for (_, _, trim), rows in zip(plans, fetched, strict=True)]

    def _last_of_scenes(
        self, user: int, head: _Head | None, n: int, bound_s: int, scenes: Array, meter: Meter
    ) -> Array:
        """Fetch ever longer runs of newest chunks until they hold n behaviours of the scenes."""
        if head is None or n == 0:
            return np.empty(0, self._rows)
        end = int(np.searchsorted(head.first_s, bound_s, "left"))
        take = n // CHUNK_ROWS + 2
        while True:
            start = max(0, end - take)
            (rows,) = self._fetch([(user, start, end)], meter)
            found = rows[newest(rows, n, bound_s, scenes)]
            if len(found) == n or start == 0:
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
            meter.rows += len(rows)
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


def _plan_last(head: _Head | None, n: int, bound_s: int) -> _Plan:
    """Which chunks hold the newest n before the bound, and the rows of theirs to keep."""
    if head is None or n == 0:
        return 0, 0, lambda rows: rows
    if bound_s > head.last_s:
        first_row = max(0, head.rows - n)
        skip = first_row % CHUNK_ROWS
        return first_row // CHUNK_ROWS, len(head.first_s), lambda rows: rows[skip:]
    # The newest chunk with a row before the bound holds at least one such row; the others in full.
    end = int(np.searchsorted(head.first_s, bound_s, "left"))
    start = max(0, (end - 1) * CHUNK_ROWS + 1 - n) // CHUNK_ROWS
    return start, end, lambda rows: rows[newest(rows, n, bound_s, None)]
