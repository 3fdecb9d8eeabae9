"""SeqVault: histories in packed columnar blocks, recent behaviours in DRAM, every append in a log.

Start reading here. Writing: engine/writer.py, log/commit.py, log/wal.py, engine/sealing.py,
engine/compaction.py. Reading: reading/read.py, reading/index.py, reading/tails.py, format/block.py. Opening:
engine/recovery.py, log/replay.py, engine/follower.py, disk/manifest.py. docs/storage.md draws the files and
says what survives which failure.

Source: LASER, arXiv:2602.11562 (SeqVault); the layout is our own.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Unpack

import numpy as np

from seqvault.errors import (
    DamagedDataError,
    SchemaError,
    StoreClosedError,
    StoreError,
)
from seqvault.floor import warn_of_expired
from seqvault.query import Conditions, Query, users_of
from seqvault.schema import BEHAVIOURS, Array, Columns, HistorySchema, SequenceType
from seqvault.store import HistoryBatch, ReadTime
from seqvault.vault.care.check import Report, check_store
from seqvault.vault.care.metrics import prometheus
from seqvault.vault.care.snapshot import snapshot
from seqvault.vault.care.stats import Place, locate, stats
from seqvault.vault.compiled.options import Options
from seqvault.vault.engine.latency import Latency
from seqvault.vault.engine.opened import Opened
from seqvault.vault.engine.prepared import PreparedRead, PreparedReads
from seqvault.vault.engine.recovery import Asked
from seqvault.vault.engine.table import Table
from seqvault.vault.log.batches import check_batch

__all__ = ["SeqVault"]

_NO_USERS = np.empty(0, "u8")


class SeqVault(Opened):
    """A durable HistoryStore of packed columnar blocks, for one writing process and any number of readers.

    Args:
        path: the store's folder.
        schema: the columns of the first sequence. A higher version than the stored one evolves the store;
            None takes the newest stored.
        read_only: follow the store without writing; `refresh` says how closely.
        sequences: the store's sequences, the first of which methods mean by default; None for those
            stored, or one called "behaviours".
        codec: of new blocks: "packed", or "zstd", smaller and slower.
        block_rows: behaviours a block holds; more compress better, fewer read less for a short history.
        seal_rows, tail_bytes: tails are sealed when together they hold so many behaviours, or bytes.
        direct_io: read blocks past the page cache.
        hot_bytes: memory, for each sequence, that decoded histories of users who come again may take; 0 keeps
            none. Answers are the same: `stats` counts them.
        durability: what `append` waits for: "sync" for the device; "async" for nothing: the log is synced
            within flush_interval_s, or when flush_rows behaviours wait for it, and a loss of power before
            that loses them. `flush` waits.
        staleness_s: a read-only store sees at least what was acknowledged so long before a read.
        background: compact in a thread of its own; else the append after which it is due does it.

    Raises:
        StoreLockedError: another writer has it open.
        DamagedDataError: manifest, logs or a segment's footer fail their checksums. Read-only, a footer whose
            blocks are intact is none: `damage` names it.
        SchemaError: the schema does not follow the stored one.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        schema: HistorySchema | None = BEHAVIOURS,
        read_only: bool = False,
        sequences: Sequence[SequenceType] | None = None,
        codec: str = "packed",
        block_rows: int = 4096,
        seal_rows: int = 4_000_000,
        tail_bytes: int = 256 << 20,
        direct_io: bool = False,
        hot_bytes: int = 0,
        durability: str = "sync",
        staleness_s: float = 0.1,
        flush_interval_s: float = 0.005,
        flush_rows: int = 1000,
        background: bool = True,
    ) -> None:
        options = Options(
            codec=codec,
            block_rows=block_rows,
            seal_rows=seal_rows,
            tail_bytes=tail_bytes,
            direct_io=direct_io,
            hot_bytes=hot_bytes,
            durability=durability,
            staleness_s=staleness_s,
            flush_interval_s=flush_interval_s,
            flush_rows=flush_rows,
            background=background,
            read_only=read_only,
        )
        super().__init__(path, Asked(schema, None if sequences is None else tuple(sequences)), options)
        self._prepared = PreparedReads()
        self._reads, self._appends = Latency(), Latency()

    @property
    def schema(self) -> HistorySchema:
        """The columns of the first sequence."""
        return self._access.state.tables[0].schema

    @property
    def sequences(self) -> tuple[SequenceType, ...]:
        """The store's sequences."""
        return tuple(sequence.kind for sequence in self._access.state.manifest.sequences)

    @property
    def durable_sequence(self) -> int:
        """How many changes (appends, deletions, expiries) are known to be durable."""
        return self._open().durable_sequence

    @property
    def damage(self) -> tuple[str, ...]:
        """What was found damaged, in words, and read all the same: footers whose blocks are intact."""
        return tuple(words for table in self._access.state.tables for words in table.damage.values())

    def append(
        self,
        user_ids: object,
        columns: Columns,
        *,
        sequence: str | None = None,
        batch_id: int | None = None,
        durability: str | None = None,
    ) -> bool:
        """See HistoryStore.append: one log record, synced with those of other threads that wait.

        Behaviours below the floor of expiry are written, and never read: an ExpiredWarning says so.

        Args:
            batch_id: a number the caller gives to these rows: sent again, they are not written again, as long
                as it is among the last 65,536.
            durability: "sync" or "async", for this append.

        Returns:
            False when the batch had been written before.
        """
        writer = self._writable().writer
        table = self._table(sequence)
        users, checked = table.schema.check(user_ids, columns)
        warn_of_expired(checked["time_s"], table.reader.floor_s, table.name)
        batch = check_batch(batch_id)
        try:
            written = self._appends.timed(writer.append, table, users, checked, batch, durability)
        except StoreError:
            self._appends.errors += 1
            raise
        self._writable().maintain()
        return written

    def bulk_load(
        self,
        user_ids: object,
        columns: Columns,
        *,
        sequence: str | None = None,
        batch_id: int | None = None,
    ) -> bool:
        """See HistoryStore.bulk_load: encoded and sealed without passing through the log, as a whole."""
        writer = self._writable().writer
        table = self._table(sequence)
        users, checked = table.schema.check(user_ids, columns)
        warn_of_expired(checked["time_s"], table.reader.floor_s, table.name)
        written = writer.bulk_load(table, users, checked, check_batch(batch_id))
        self._writable().maintain()
        return written

    def delete_user(self, user_id: int) -> None:
        """Forget a user's histories in all sequences, durably. Full compaction removes the bytes."""
        if not 0 <= user_id < 1 << 64:
            raise SchemaError(f"user_id={user_id}: expected within 0..2**64 - 1")
        self._writable().writer.delete_users(np.array([user_id], "u8"))

    def delete_users(self, user_ids: object) -> None:
        """`delete_user` for (U,) users, as one change with one sync. Raises SchemaError."""
        users = users_of(user_ids)
        if len(users):
            self._writable().writer.delete_users(users)

    def expire(self, before_s: int, sequence: str | None = None, *, force: bool = False) -> None:
        """Forget behaviours with time_s < before_s, and such as are still appended, durably and for good.

        Later compactions remove them.

        Args:
            force: also beyond the newest stored time plus the sequence's ttl_s, where nothing would be left.

        Raises:
            StoreError: it lies beyond, as with a clock in milliseconds; nothing was expired.
        """
        self._writable().expire(self._table(sequence), before_s, force=force)

    def flush(self) -> None:
        """Wait until everything appended is durable. Raises StoreReadOnlyError when a sync failed."""
        self._writable().writer.flush()

    def seal(self) -> None:
        """Turn the tails into blocks now. Raises StoreFullError, StoreReadOnlyError, DamagedDataError."""
        self._writable().writer.seal()

    def compact(self, now_s: int | None = None, *, full: bool = False, force: bool = False) -> None:
        """Copy each sequence's live blocks into one segment; writers and readers go on meanwhile.

        Args:
            now_s: expire what is older than each sequence's ttl_s at this time; None expires nothing.
            full: also seal, and write every history anew in large blocks, without deleted or expired
                behaviours and those beyond `cap`, while other writers wait.
            force: as for `expire`.

        Raises:
            StoreError: as `expire`, by ttl_s; nothing changed.
            StoreFullError: no space; nothing changed.
            DamagedDataError: a block fails its checksum; nothing changed.
        """
        access = self._writable()
        access.expire_old(now_s, force=force)
        if full:
            access.compactor.full()
        else:
            access.compactor.merge()

    def maintain(self, now_s: int | None = None, *, force: bool = False) -> None:
        """What is due: expire as `compact` does, and compact where it is worth it. Raises as `compact`."""
        access = self._writable()
        access.expire_old(now_s, force=force)
        while access.compactor.step():
            pass

    def refresh(self) -> None:
        """Let a read-only store see everything acknowledged before the call; nothing to do for a writer."""
        self._open().refresh()

    def snapshot(self, folder: Path | str) -> None:
        """Make an empty folder a store like this one is now; files that never change are shared.

        Raises:
            StoreError: the folder is not empty.
            StoreFullError: no space.
        """
        access = self._open()
        snapshot(self.path, Path(folder).absolute(), access.state.records, access.own)

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
        return self._read(table, query)

    def prepare_last(
        self,
        n: int,
        *,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> PreparedRead:
        """A `read_last` to be called often, by one thread: `read = store.prepare_last(200)`, `read(users)`.

        Its arguments are checked and its output memory made once, as large as the largest answer so far; each
        answer lies where the last one was. The newest 200 cost 0.4 of the CPU of `read_last` if they lie in
        the tail, 0.6 if they lie in blocks. What the hot tier answers cannot be written to. Raises as
        `read_last`.
        """

        def query(table: Table) -> Query:
            return Query.last(table.schema, _NO_USERS, n, None, **conditions)

        return PreparedRead(partial(self._table, sequence), query, self._reads)

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
        return self._read(table, query)

    def timed_read_last(
        self,
        user_ids: object,
        n: int,
        *,
        before_s: object = None,
        sequence: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> tuple[HistoryBatch, ReadTime]:
        """See HistoryStore.timed_read_last. own_s: a prepared read; then its batch is copied."""
        read = self._prepared.get(self.prepare_last, n, sequence=sequence, **conditions)
        start = time.perf_counter()
        batch = read(user_ids, before_s)
        own_s = time.perf_counter() - start
        return _copied(batch), ReadTime(time.perf_counter() - start, own_s)

    def users(self, sequence: str | None = None) -> Array:
        """(K,) u8, sorted: users with at least one behaviour stored."""
        return self._table(sequence).users()

    def locate(self, user_id: int, n: int, sequence: str | None = None) -> list[Place]:
        """(path, offset, size) of the blocks that reading a user's newest n behaviours fetches."""
        return locate(self._table(sequence), user_id, n)

    def stats(self) -> dict[str, int | float]:
        """Counts, sizes, and what recovery found.

        users, behaviours (stored, of all sequences), unsealed (of those, in the tails), segments, blocks,
        bytes_on_disk, live_bytes, index_bytes and tail_bytes (DRAM), durable_sequence, generation of the
        manifest, replayed_records, torn_bytes (cut off the log at open), plain (1 without compiled code);
        hot_bytes, hot_users, hot_hits and hot_misses (users answered from the hot tier, and not);
        background_errors (compactions that were due and failed since it was opened; logged).
        """
        return stats(self.path, self._open())

    def metrics(self) -> str:
        """`stats`, and how long this process's reads and appends took, in the text form of Prometheus.

        Histograms `seqvault_read_seconds` and `seqvault_append_seconds` since the store was opened, and how
        many failed. A read's time is that of finding, fetching and decoding; answers of the hot tier, a
        microsecond each, are in `hot_hits` alone. An append's includes its wait for the device.
        """
        return prometheus(self.stats(), str(self.path), {"read": self._reads, "append": self._appends})

    def check(self) -> Report:
        """Verify every file and block of the store; says what is damaged, what it means, how to mend it."""
        self._open().own()
        return check_store(self.path)

    def _read(self, table: Table, query: Query) -> HistoryBatch:
        while True:
            try:
                if table.hot is not None:
                    hot = table.hot.read(query, partial(self._reads.timed, table.reader.read))
                    if hot is not None:
                        return _copied(hot)
                begun_ns = perf_counter_ns()
                batch = table.reader.read(query)
                self._reads.note(begun_ns)
                return batch
            except DamagedDataError:
                if self._ended is not None:
                    raise StoreClosedError(self._ended) from None
                # A refresh in another thread may have replaced, and closed, what this read began with.
                current = self._access.state.tables[table.place]
                if current is table:
                    self._reads.errors += 1
                    raise
                table = current


def _copied(batch: HistoryBatch) -> HistoryBatch:
    """The same in arrays of the caller's own."""
    copies = {name: values.copy() for name, values in batch.columns.items()}
    return HistoryBatch(batch.user_ids, batch.offsets.copy(), copies)
