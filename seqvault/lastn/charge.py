"""What RocksDB itself needs for a read, the Python binding's share taken off.

The binding offers neither a perf context nor a histogram of iterator steps, and fetching its statistics
text (0.4 ms) around each read would slow the reads it measures. So the native calls of a read are timed by
the wall clock, and the binding's share, a constant a call and a constant a row or value, is subtracted. It
is measured once on the store's own data, hot:

- Get and MultiGet: wall time less RocksDB's own `db.get.micros` / `db.multiget.micros` for the same calls.
  Where values differ in length there is a constant a byte too: what is seen of it beyond RocksDB's clock, and
  within that clock one copy into new memory, which the binding asks for and a native client's pinned read
  does without.
- Scans: one item of the binding's iterator, less one `next` of RocksDB, where a `next` is the bare iterator
  step less a call into the binding that does nothing (`valid`).

Turning what RocksDB returns into columns is the store's work and is charged, a constant a row: the slope of
the copy of packed records into columns, without what numpy needs to get each copy going. A native client does
just this copy.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from rocksdict import ReadOptions

from seqvault.lastn.database import Database
from seqvault.rows import row_dtype, unpack_rows
from seqvault.schema import HistorySchema

__all__ = ["BindingCost", "Meter", "calibrate_decoding", "calibrate_gets", "calibrate_scan", "rocksdb_read_s"]

ROUNDS = 7
CALLS = 40


@dataclass(frozen=True)
class BindingCost:
    """Seconds the binding adds to each native call, to each value or row it hands over, and to each byte."""

    call_s: float
    item_s: float
    byte_s: float = 0.0


@dataclass
class Meter:
    """Adds up one read: seconds in native calls, their number, items and bytes handed over, rows decoded."""

    native_s: float = 0.0
    calls: int = 0
    items: int = 0
    bytes: int = 0
    rows: int = 0

    def native(self, start_s: float, items: int, size: int = 0) -> None:
        """Book a native call that began at `start_s` and handed over `items` of `size` bytes together."""
        self.native_s += time.perf_counter() - start_s
        self.calls += 1
        self.items += items
        self.bytes += size

    def own_s(self, cost: BindingCost, decode_row_s: float) -> float:
        """RocksDB's time and the decoding, without the binding; never below the decoding alone."""
        binding_s = self.calls * cost.call_s + self.items * cost.item_s + self.bytes * cost.byte_s
        return max(0.0, self.native_s - binding_s) + self.rows * decode_row_s


def rocksdb_read_s(database: Database) -> float:
    """Seconds all Gets and MultiGets so far have spent inside RocksDB, by its own clock."""
    text = database.options.get_statistics() or ""
    sums = re.findall(r"^rocksdb\.db\.(?:get|multiget)\.micros .*SUM : (\d+)", text, re.MULTILINE)
    return sum(int(total) for total in sums) * 1e-6


def calibrate_gets(database: Database, keys: list[bytes], sizes: list[int] | None = None) -> BindingCost:
    """The binding's cost of a MultiGet, from one key and from many (at least two are needed).

    Args:
        sizes: bytes of each key's value, ascending, where they differ; None takes them as alike.
    """
    if len(keys) < 2:
        return BindingCost(0.0, 0.0)
    if sizes is None:
        one, many = _overhead_s(database, keys[:1]), _overhead_s(database, keys)
        item_s = max(0.0, (many - one) / (len(keys) - 1))
        return BindingCost(max(0.0, one - item_s), item_s)
    short, long = _overhead_s(database, keys[:1]), _overhead_s(database, keys[-1:])
    beyond_s = max(0.0, (long - short) / max(1, sizes[-1] - sizes[0]))
    byte_s = beyond_s + _copy_s(sizes[0], sizes[-1])
    few = keys[: max(2, len(keys) // 4)]
    one = short - sizes[0] * beyond_s
    several = _overhead_s(database, few) - sum(sizes[: len(few)]) * beyond_s
    item_s = max(0.0, (several - one) / (len(few) - 1))
    return BindingCost(max(0.0, one - item_s), item_s, byte_s)


def _copy_s(short: int, long: int) -> float:
    """Seconds a byte of a copy into memory just asked for, between two sizes."""
    value = memoryview(bytes(long))

    def copy(size: int) -> Callable[[], None]:
        def fresh() -> None:
            bytes(value[:size])

        return fresh

    return max(0.0, (_best_s(copy(long)) - _best_s(copy(short))) / max(1, long - short))


def _overhead_s(database: Database, chosen: list[bytes]) -> float:
    """Least seconds of one MultiGet of these keys beyond what RocksDB says it took."""
    for _ in range(CALLS):
        database.multi_get(chosen)
    best = float("inf")
    for _ in range(ROUNDS):
        before = rocksdb_read_s(database)
        start = time.perf_counter()
        for _ in range(CALLS):
            database.multi_get(chosen)
        wall_s = time.perf_counter() - start
        best = min(best, (wall_s - (rocksdb_read_s(database) - before)) / CALLS)
    return max(0.0, best)


def calibrate_scan(database: Database, start_key: bytes, options: ReadOptions, rows: int) -> BindingCost:
    """The binding's cost of a scan, from `rows` neighbouring rows that exist from `start_key` on."""
    if rows < 2:
        return BindingCost(0.0, 0.0)

    def items() -> None:
        list(islice(database.items(start_key, options), rows))

    def first() -> None:
        list(islice(database.items(start_key, options), 1))

    def steps(method: str) -> Callable[[], None]:
        def walk() -> None:
            cursor = database.rocks.iter(options)
            cursor.seek(start_key)
            step = getattr(cursor, method)
            for _ in range(rows - 1):
                step()

        return walk

    item_s = (_best_s(items) - _best_s(first)) / (rows - 1)
    next_s = (_best_s(steps("next")) - _best_s(steps("valid"))) / (rows - 1)
    # A scan's fixed part is RocksDB making its iterator and seeking; the binding's call is not separated
    # from it and stays charged, under a microsecond.
    return BindingCost(0.0, max(0.0, item_s - next_s))


def calibrate_decoding(schema: HistorySchema) -> float:
    """Seconds to turn one more packed record into its columns."""

    def decode(rows: int) -> Callable[[], None]:
        chunks = [bytes(256 * row_dtype(schema).itemsize)] * (rows // 256)

        def copy() -> None:
            unpack_rows(np.frombuffer(b"".join(chunks), row_dtype(schema)), schema.names)

        return copy

    return max(0.0, (_best_s(decode(4096)) - _best_s(decode(1024))) / (4096 - 1024))


def _best_s(work: Callable[[], None]) -> float:
    work()
    best = float("inf")
    for _ in range(ROUNDS * 3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
