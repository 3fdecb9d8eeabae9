"""Layout "behaviours": one key per behaviour, newest first. The predecessor that LASER's paper replaces.

    key                                                            value
    +-------------+-----------------------+------------------+     +----------------------------------+
    | user u64 BE | ~time u64 BE (biased) | ~sequence u64 BE |     | the other columns, packed record |
    +-------------+-----------------------+------------------+     +----------------------------------+

Complemented times and sequence numbers let a forward scan, the fast direction, meet the newest behaviour
first. The sequence number is RocksDB's own, one per row ever written, so that equal times keep their
arrival order.

Source: LASER, arXiv:2602.11562 (the store before SeqVault).
"""

import struct
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
from rocksdict import ReadOptions, WriteBatch

from seqvault.lastn.charge import BindingCost, Meter, calibrate_scan
from seqvault.lastn.choice import bound_s, chosen, filters
from seqvault.lastn.database import Database
from seqvault.query import FIRST_S, NO_BOUND_S, Query
from seqvault.rows import row_dtype
from seqvault.schema import Array, HistorySchema

__all__ = ["BehaviourLayout"]

_PREFIX = struct.Struct(">QQ")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_KEY_BYTES = 24
# Rows of the first step of a scan that cannot know how many it needs; each further step takes twice as many.
_FIRST_STEP, _LONGEST_STEP = 512, 1 << 16


class BehaviourLayout:
    """Reads and writes one database in the layout drawn above."""

    def __init__(self, database: Database, schema: HistorySchema) -> None:
        self._database = database
        self._rows = row_dtype(schema)
        self._rest = np.dtype([(c.name, "<" + c.dtype) for c in schema.columns[1:]])
        self._options = ReadOptions()
        self._options.set_prefix_same_as_start(True)

    def write(self, batch: WriteBatch, users: list[int], histories: list[Array]) -> None:
        """Add each user's new rows to the batch."""
        sequence = self._database.rocks.latest_sequence_number()
        for user, rows in zip(users, histories, strict=True):
            keys = np.empty((len(rows), 3), ">u8")
            keys[:, 0] = user
            keys[:, 1] = ~(np.ascontiguousarray(rows["time_s"]).view("u8") ^ np.uint64(_SIGN))
            keys[:, 2] = ~np.arange(sequence, sequence + len(rows), dtype="u8")
            sequence += len(rows)
            rest = np.empty(len(rows), self._rest)
            for name in self._rest.names or ():
                rest[name] = rows[name]
            key_bytes, rest_bytes, size = keys.tobytes(), rest.tobytes(), self._rest.itemsize
            for i in range(len(rows)):
                batch.put(key_bytes[i * 24 : i * 24 + 24], rest_bytes[i * size : i * size + size])

    def read(self, query: Query, meter: Meter) -> list[Array]:
        """The rows that a query wants of each user, oldest first."""
        return [self._scan(user, query, i, meter) for i, user in enumerate(query.users.tolist())]

    def calibrate(self) -> BindingCost:
        """The binding's share of a scanned row, measured on the first user stored."""
        keys = list(islice(self._database.keys(), 1))
        if not keys:
            return BindingCost(0.0, 0.0)
        rows = list(islice(self._database.keys(keys[0], self._options), 1000))
        return calibrate_scan(self._database, keys[0], self._options, len(rows))

    def counts(self) -> tuple[int, int]:
        """(users, behaviours), by reading every key."""
        users, behaviours, last = 0, 0, b""
        for key in self._database.keys():  # noqa: SIM118
            behaviours += 1
            if key[:8] != last:
                users, last = users + 1, key[:8]
        return users, behaviours

    def _scan(self, user: int, query: Query, i: int, meter: Meter) -> Array:
        """The wanted rows of one user: ever further back, until enough of them are found."""
        end_s = bound_s(query, i)
        # Behaviours before the bound begin at the newest time below it.
        newest_s = end_s if end_s == NO_BOUND_S else end_s - 1
        if query.n == 0 or query.start_s >= end_s or newest_s < -_SIGN:
            return np.empty(0, self._rows)
        begin = time.perf_counter()
        items = self._database.items(_PREFIX.pack(user, _ALL - (newest_s + _SIGN)), self._options)
        meter.native(begin, 0)
        counts = not filters(query) and query.start_s == FIRST_S
        found, take = np.empty(0, self._rows), min(query.n, _LONGEST_STEP) if counts else _FIRST_STEP
        while True:
            rows = self._step(items, take, meter)
            found = np.concatenate((rows, found)) if len(found) else rows
            wanted = chosen(found, query, i)
            begins_before = len(rows) and int(rows["time_s"][0]) < query.start_s
            if len(rows) < take or begins_before or len(wanted) >= query.n:
                return wanted
            take *= 2

    def _step(self, items: Iterator[tuple[bytes, bytes]], take: int, meter: Meter) -> Array:
        """The next rows of a scan, oldest first; fewer than `take` at its end."""
        begin = time.perf_counter()
        run = list(islice(items, take))
        meter.native(begin, len(run))
        meter.rows += len(run)
        return self._decode(b"".join([key for key, _ in run]), b"".join([value for _, value in run]))

    def _decode(self, keys: bytes, values: bytes) -> Array:
        """Rows, oldest first, from keys and values joined newest first."""
        rest = np.frombuffer(values, self._rest)[::-1]
        rows = np.empty(len(rest), self._rows)
        inverted = np.frombuffer(keys, ">u8").reshape(-1, _KEY_BYTES // 8)[::-1, 1].astype("u8")
        rows["time_s"] = (~inverted ^ np.uint64(_SIGN)).view("i8")
        for name in self._rest.names or ():
            rows[name] = rest[name]
        return rows
