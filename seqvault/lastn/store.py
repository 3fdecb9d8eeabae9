"""LastNStore: short-history serving as it was before SeqVault, on RocksDB.

Start reading here; `chunks.py`, `behaviours.py` and `blobs.py` hold the layouts, `charge.py` says what a read
is charged."""

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

import numpy as np
from rocksdict import WriteBatch, WriteOptions

from seqvault.errors import StoreClosedError, StoreError, StoreReadOnlyError
from seqvault.lastn.behaviours import BehaviourLayout
from seqvault.lastn.blobs import BlobLayout
from seqvault.lastn.charge import BindingCost, Meter, calibrate_decoding
from seqvault.lastn.chunks import ChunkLayout
from seqvault.lastn.database import Database, describe, described, rocksdb_errors
from seqvault.lastn.handle import Handle, close_dropped
from seqvault.ownership import forked_store, tell_of_forks
from seqvault.query import Conditions, Query, only_sequence
from seqvault.rows import pack_rows, unpack_rows
from seqvault.schema import BEHAVIOURS, Array, Columns, HistorySchema
from seqvault.select import by_user
from seqvault.store import HistoryBatch, ReadTime

__all__ = ["LastNStore"]

# Rows a write batch of a bulk load holds; bounds the memory it takes.
BULK_ROWS = 200_000


class _Layout(Protocol):
    def write(self, batch: WriteBatch, users: list[int], histories: list[Array]) -> None: ...

    def read(self, query: Query, meter: Meter) -> list[Array]: ...

    def calibrate(self) -> BindingCost: ...

    def counts(self) -> tuple[int, int]: ...


_LAYOUTS: dict[str, Callable[[Database, HistorySchema], _Layout]] = {
    "chunks": ChunkLayout,
    "behaviours": BehaviourLayout,
    "blobs": BlobLayout,
}


class LastNStore:
    """A HistoryStore on RocksDB.

    Args:
        path: folder; the database lies in `path/rocksdb`.
        layout: "chunks" (256 behaviours per key, the strong layout), "behaviours" (one key per behaviour) or
            "blobs" (a user's whole history under one key).
        block_cache_bytes: memory RocksDB may use for decompressed blocks.
        staleness_s: a read-only store sees at least what was acknowledged so long before a read.

    Raises:
        StoreError: unknown layout, or one the folder was not made with.
        StoreLockedError: another writer has the store open.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        schema: HistorySchema = BEHAVIOURS,
        read_only: bool = False,
        layout: str = "chunks",
        block_cache_bytes: int = 64 << 20,
        staleness_s: float = 0.1,
    ) -> None:
        if layout not in _LAYOUTS:
            raise StoreError(f"layout {layout!r}: expected 'chunks', 'behaviours' or 'blobs'")
        self.schema = schema
        # Absolute: the process may change its folder, and RocksDB opens files by name all the time.
        self._path = Path(path).absolute()
        self._owner = os.getpid()
        self._ended: str | None = None
        self._lock = threading.RLock()
        describe(self._path, schema, layout, read_only=read_only)
        self._handle = Handle(
            self._path,
            read_only=read_only,
            staleness_s=staleness_s,
            block_cache_bytes=block_cache_bytes,
            point_lookups=layout != "behaviours",
        )
        self._make_layout = _LAYOUTS[layout]
        self._adopt()
        self._binding: BindingCost | None = None
        self._decode_row_s = 0.0
        tell_of_forks(self)
        self._dropped = weakref.finalize(self, close_dropped, self._handle, self._owner)
        # A store that is open when the process ends is as one that was killed.
        self._dropped.atexit = False

    @classmethod
    def as_made(cls, path: Path | str, **options: Any) -> Self:
        """Open a store with the schema and layout that it was made with. Options, raises: as the class."""
        schema, layout = described(Path(path))
        return cls(path, schema=schema, layout=layout, **options)

    def append(self, user_ids: object, columns: Columns) -> None:
        """See HistoryStore.append: one atomic write batch, its WAL record synced."""
        options = WriteOptions()
        options.sync = True
        users, checked = self.schema.check(user_ids, columns)
        with self._lock, rocksdb_errors(self._path):
            self._check_writable()
            # Before it as well: a write that fills the memtable makes a file by name.
            self._handle.check_own()
            self._write(users, checked, options)
            self._handle.check_own()

    def bulk_load(self, user_ids: object, columns: Columns) -> None:
        """See HistoryStore.bulk_load: past the WAL into sorted tables, synced, then fully compacted."""
        options = WriteOptions()
        # A property, whatever the binding's type stubs say.
        options.disable_wal = True  # type: ignore[assignment, method-assign]
        users, checked = self.schema.check(user_ids, columns)
        with self._lock, rocksdb_errors(self._path):
            self._check_writable()
            self._handle.check_own()
            order, _, bounds = by_user(users)
            start = 0
            while start < len(bounds) - 1:
                # Whole users up to BULK_ROWS rows, at least one.
                end = max(start + 1, int(np.searchsorted(bounds, bounds[start] + BULK_ROWS, "right")) - 1)
                rows = order[bounds[start] : bounds[end]]
                self._write(users[rows], {name: values[rows] for name, values in checked.items()}, options)
                start = end
                self._handle.check_own()
            self._database.rocks.flush(True)
            self._database.rocks.compact_range(None, None)

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
        only_sequence(sequence)
        query = Query.last(self.schema, user_ids, n, before_s, **conditions)
        return self._read(query, Meter())

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
        only_sequence(sequence)
        query = Query.between(self.schema, user_ids, start_s, end_s, **conditions)
        return self._read(query, Meter())

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> tuple[HistoryBatch, ReadTime]:
        """See HistoryStore.timed_read_last. own_s: RocksDB and the decoding, not the Python binding."""
        if self._binding is None:
            with self._lock, rocksdb_errors(self._path):
                self._check_open()
                self._binding = self._layout.calibrate()
                self._decode_row_s = calibrate_decoding(self.schema)
        meter = Meter()
        start = time.perf_counter()
        only_sequence(sequence)
        query = Query.last(self.schema, user_ids, n, before_s, **conditions)
        batch = self._read(query, meter)
        call_s = time.perf_counter() - start
        return batch, ReadTime(call_s, min(call_s, meter.own_s(self._binding, self._decode_row_s)))

    def users(self) -> Array:
        """(K,) u8, ascending: users with at least one behaviour stored."""
        with self._lock, rocksdb_errors(self._path):
            self._check_open()
            return np.fromiter(self._database.users(), "u8")

    def stats(self) -> dict[str, int | float]:
        """users and behaviours (reads the whole store), bytes_on_disk, the binding's cost once known."""
        with self._lock, rocksdb_errors(self._path):
            self._check_open()
            users, behaviours = self._layout.counts()
        files = [file for file in self._path.rglob("*") if file.suffix in (".sst", ".log")]
        stats: dict[str, int | float] = {
            "users": users,
            "behaviours": behaviours,
            "bytes_on_disk": sum(file.stat().st_size for file in files),
        }
        if self._binding is not None:
            stats["binding_call_s"] = self._binding.call_s
            stats["binding_item_s"] = self._binding.item_s
            stats["binding_byte_s"] = self._binding.byte_s
            stats["decode_row_s"] = self._decode_row_s
        return stats

    def refresh(self) -> None:
        """Let a read-only store see everything acknowledged before the call; nothing to do for a writer."""
        with self._lock:
            self._check_open()
            if self._handle.refresh():
                self._adopt()

    def close(self) -> None:
        """See HistoryStore.close."""
        with self._lock:
            if self._ended is None:
                self._ended = f"{self._path} is closed: open it again"
                self._dropped.detach()
                self._handle.close()

    def forked(self) -> None:
        """In a child of the process that opened the store: nothing of it is the child's to use."""
        if self._ended is None:
            self._ended = forked_store(self._path, self._owner)
            # A thread of the parent may have had it.
            self._lock = threading.RLock()
            self._dropped.detach()
            self._handle.let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After a failed write RocksDB cannot close in peace either, and says less about why.
        with contextlib.suppress(*(() if error is None else (StoreError,))):
            self.close()

    def _adopt(self) -> None:
        """Read and write by the database that is open now."""
        self._database = self._handle.database
        self._layout = self._make_layout(self._database, self.schema)

    def _write(self, users: Array, columns: dict[str, Array], options: WriteOptions) -> None:
        order, distinct, bounds = by_user(users)
        if not len(distinct):
            return
        rows = pack_rows(self.schema, columns, order)
        batch = WriteBatch(raw_mode=True)
        self._layout.write(batch, distinct.tolist(), np.split(rows, bounds[1:-1]))
        self._database.rocks.write(batch, options)

    def _read(self, query: Query, meter: Meter) -> HistoryBatch:
        with self._lock, rocksdb_errors(self._path):
            self._check_open()
            if self._handle.refresh_if_stale():
                self._adopt()
            parts = self._layout.read(query, meter) if len(query.users) else []
        offsets = np.zeros(len(parts) + 1, "i8")
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        # By bytes: numpy looks at the fields of each part where it joins rows, a third of a read's time.
        rows = np.frombuffer(b"".join([p.tobytes() for p in parts]), parts[0].dtype) if parts else None
        if rows is None:
            flat = {name: np.empty(0, self.schema.dtype(name)) for name in query.names}
        else:
            flat = unpack_rows(rows, query.names)
        return HistoryBatch(query.users, offsets, flat)

    def _check_open(self) -> None:
        if self._ended is not None:
            raise StoreClosedError(self._ended)

    def _check_writable(self) -> None:
        self._check_open()
        if self._handle.read_only:
            raise StoreReadOnlyError(f"{self._path} is open read-only: open it with read_only=False")
