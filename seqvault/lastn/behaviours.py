"""Layout "behaviours": one key a behaviour, newest first. The predecessor that LASER's paper replaces.

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
from itertools import islice

import numpy as np
from rocksdict import ReadOptions, WriteBatch

from seqvault.lastn.charge import BindingCost, Meter, calibrate_scan
from seqvault.lastn.database import Database
from seqvault.rows import row_dtype
from seqvault.schema import Array, HistorySchema
from seqvault.select import newest
from seqvault.store import NO_BOUND_S

__all__ = ["BehaviourLayout"]

_PREFIX = struct.Struct(">QQ")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_KEY_BYTES = 24


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

    def last(
        self, users: list[int], n: int, bounds_s: list[int], scenes: Array | None, meter: Meter
    ) -> list[Array]:
        """Each user's newest n rows before its bound, oldest first."""
        return [
            self._scan(user, n, bound, None, scenes, meter)
            for user, bound in zip(users, bounds_s, strict=True)
        ]

    def between(
        self, users: list[int], start_s: int, end_s: int, scenes: Array | None, meter: Meter
    ) -> list[Array]:
        """Each user's rows with start_s <= time_s < end_s."""
        return [self._scan(user, None, end_s, start_s, scenes, meter) for user in users]

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

    def _scan(
        self, user: int, n: int | None, end_s: int, start_s: int | None, scenes: Array | None, meter: Meter
    ) -> Array:
        """Newest n rows of one user with time < end_s, down to start_s; None is no limit."""
        if n == 0 or (start_s is not None and start_s >= end_s):
            return np.empty(0, self._rows)
        # Behaviours before the bound begin at the newest time below it.
        newest_s = end_s if end_s == NO_BOUND_S else end_s - 1
        if newest_s < -_SIGN:
            return np.empty(0, self._rows)
        begin = time.perf_counter()
        items = self._database.items(_PREFIX.pack(user, _ALL - (newest_s + _SIGN)), self._options)
        meter.native(begin, 0)
        parts: list[Array] = []
        found, take = 0, n if n is not None and scenes is None else 512
        while True:
            begin = time.perf_counter()
            run = list(islice(items, take))
            meter.native(begin, len(run))
            meter.rows += len(run)
            rows = self._decode(b"".join([key for key, _ in run]), b"".join([value for _, value in run]))
            done = len(run) < take
            if start_s is not None:
                first = int(np.searchsorted(rows["time_s"], start_s, "left"))
                done, rows = done or first > 0, rows[first:]
            if scenes is not None:
                rows = rows[newest(rows, len(rows), NO_BOUND_S, scenes)]
            parts.append(rows)
            found += len(rows)
            if done or (n is not None and found >= n):
                break
            take = min(take * 2, 8192)
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts[::-1])
        return rows if n is None else rows[max(0, len(rows) - n) :]

    def _decode(self, keys: bytes, values: bytes) -> Array:
        """Rows, oldest first, from keys and values joined newest first."""
        rest = np.frombuffer(values, self._rest)[::-1]
        rows = np.empty(len(rest), self._rows)
        inverted = np.frombuffer(keys, ">u8").reshape(-1, _KEY_BYTES // 8)[::-1, 1].astype("u8")
        rows["time_s"] = (~inverted ^ np.uint64(_SIGN)).view("i8")
        for name in self._rest.names or ():
            rows[name] = rest[name]
        return rows
