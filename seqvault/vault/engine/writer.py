"""Writing: changes go to the log, wait for its sync, and become readable; full tails become segments.

`mutex` is held by whoever writes the log or replaces files. Readers do not take it: what they see changes in
short exclusive sections of the state's lock, between which all the slow work is done.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from seqvault.errors import StoreError, StoreFullError, StoreReadOnlyError
from seqvault.schema import Array
from seqvault.vault.compiled.options import DURABILITIES
from seqvault.vault.disk.files import WriterStoppedError, remove
from seqvault.vault.disk.identity import LogFile, SegmentFile, new_file
from seqvault.vault.disk.manifest import Manifest, log_name, write_manifest
from seqvault.vault.disk.points import point
from seqvault.vault.engine.sealing import seal
from seqvault.vault.engine.state import State
from seqvault.vault.engine.table import Table, tombstones
from seqvault.vault.engine.uninterrupted import uninterrupted
from seqvault.vault.format.rows_by_user import Rows, group_rows
from seqvault.vault.log.change import Change
from seqvault.vault.log.commit import Flusher, GroupCommit
from seqvault.vault.log.record import DELETE, EXPIRE, ROWS, Record
from seqvault.vault.log.wal import Wal
from seqvault.vault.sealed.segment_writer import SegmentWriter

__all__ = ["Writer"]


class Writer:
    """The one writer of an open store.

    Args:
        state: the store.
        wal: its live log.

    Attributes:
        mutex: see the module.
        sealed: seals since it was opened.
    """

    def __init__(self, state: State, wal: Wal) -> None:
        self.state = state
        self.mutex = threading.RLock()
        self.sealed = 0
        self._wal = wal
        self._broken: str | None = None
        # The rows that are being made readable: their change, and how many rows its tails had before.
        self._applying = (0, 0)
        self._commit = GroupCommit(wal, self._apply)
        options = state.options
        self._flusher = Flusher(self._commit, options.flush_interval_s, options.flush_rows)
        self._put_off(0)

    @property
    def durable_sequence(self) -> int:
        """Number of the last change known durable."""
        return self._wal.durable

    @property
    def log_end(self) -> int:
        """Byte behind the live log's last record."""
        return self._wal.end

    def append(
        self, table: Table, users: Array, columns: dict[str, Array], batch: int | None, durability: str | None
    ) -> bool:
        """See SeqVault.append; the rows are checked."""
        durability = durability or self.state.options.durability
        if durability not in DURABILITIES:
            raise StoreError(f"durability={durability!r}: expected one of {', '.join(DURABILITIES)}")
        if not len(users):
            self.check_writable()
            return True
        if not users.flags.writeable:
            # Kernels are compiled for arrays that are; the columns go by their addresses.
            users = users.copy()
        values = [users, *columns.values()]
        body = self.state.records.encode(values)
        record = Record(ROWS, len(users), len(values), table.place, table.schema.id, batch)
        waits = durability == "sync"
        try:
            with self.mutex:
                self.check_writable()
                known = None if batch is None else self.state.batches.sequence_of(batch)
                sequence = known
                if sequence is None:
                    sequence = self._write(body, record, users, columns, waits=waits)
            self._settle(sequence, len(users), waits=waits)
        except BaseException:
            self._commit.keep()
            raise
        return known is None

    def delete_users(self, users: Array) -> None:
        """See SeqVault.delete_users; (U,) u8, at least one."""
        self._change(Record(DELETE, len(users), 1), users.copy(), {})

    def expire(self, table: Table, before_s: int) -> None:
        """See SeqVault.expire; the floor is checked."""
        if before_s > table.reader.floor_s:
            floor = np.array([before_s], "i8")
            self._change(Record(EXPIRE, 1, 1, table.place), floor, {"floor_s": floor})

    def flush(self) -> None:
        """Return once everything written is durable. Raises WriterStoppedError."""
        with self.noting_failure():
            self._commit.wait()

    def bulk_load(self, table: Table, users: Array, columns: dict[str, Array], batch: int | None) -> bool:
        """See SeqVault.bulk_load; the rows are checked."""
        with self.mutex:
            self.check_writable()
            if batch is not None and self.state.batches.sequence_of(batch) is not None:
                self.flush()
                return False
            if len(users):
                batches = [] if batch is None else [batch]
                self.seal((table, group_rows(users, columns)), batches)
        return True

    def seal(self, loaded: tuple[Table, Rows] | None = None, batches: Sequence[int] = ()) -> None:
        """Turn the tails, and rows that were never in the log, into blocks.

        Raises:
            StoreFullError: no space; nothing changed.
            DamagedDataError: stored rows that were to be rewritten fail their checksum; nothing changed.
        """
        with self.mutex, self.noting_failure():
            self.check_writable()
            self._commit.wait()
            if loaded is None and self._wal.written == self.state.manifest.sequence:
                return
            point("seal.begun")
            self._seal(loaded, batches)

    def adopt(self, manifest: Manifest, written: Sequence[SegmentWriter] = ()) -> None:
        """Replace the manifest, with the mutex held; on a full device no trace of what it names is left."""
        manifest = replace(manifest, generation=self.state.manifest.generation + 1)
        with self.noting_failure():
            try:
                write_manifest(self.state.folder, manifest, self.state.own)
            except StoreError as error:
                # Either manifest may be the durable one: its files must stay.
                if not isinstance(error, WriterStoppedError):
                    for writer in written:
                        remove(writer.path, self.state.own)
                raise
        self.state.manifest = manifest

    def take_number(self) -> int:
        """A number no file has had."""
        with self.mutex:
            number = self.state.manifest.next_file
            self.state.manifest = replace(self.state.manifest, next_file=number + 1)
            return number

    def new_segment(self, table: Table, number: int) -> SegmentWriter:
        """A segment of a sequence, to be written. Raises as SegmentWriter."""
        file = SegmentFile(number, new_file(self.state.manifest.store))
        return SegmentWriter(table.segment_path(number), file, self.state.own)

    def check_writable(self) -> None:
        """Raise StoreReadOnlyError where the writer has stopped."""
        failed = self._broken or self._commit.failed
        if failed is not None:
            raise StoreReadOnlyError(f"{self.state.folder} stopped writing: {failed}")

    def let_go(self) -> None:
        """Close the log as it is: it is another process's."""
        self._wal.abandon()

    def close(self) -> None:
        """Make everything durable that was written, and close the log. Raises WriterStoppedError."""
        self._flusher.stop()
        with self.mutex:
            try:
                if self._broken is None and self._commit.failed is None:
                    self.flush()
            finally:
                if self._broken is None and self._commit.failed is None:
                    self._wal.close()
                else:
                    self._wal.abandon()

    def _change(self, record: Record, values: Array, columns: dict[str, Array]) -> None:
        """Write a small change and wait for it."""
        body = self.state.records.encode([values])
        users = values if record.kind == DELETE else np.empty(0, "u8")
        with self.mutex:
            self.check_writable()
            sequence = self._write(body, record, users, columns, waits=True)
        self._settle(sequence, 0, waits=True)

    def _write(
        self,
        body: tuple[Array, int],
        record: Record,
        users: Array,
        columns: dict[str, Array],
        *,
        waits: bool,
    ) -> int:
        if self._commit.last != self._wal.written:
            self._broken = "an interrupt came when a change was in its log and nowhere else; open it again"
            self.check_writable()
        try:  # what noting_failure does, without its cost
            sequence = self._wal.write(body, record)
        except StoreError as error:
            self._note(error)
            raise
        if record.batch is not None:
            self.state.batches.note([record.batch], sequence)
        self._commit.add(Change(sequence, record.kind, record.table, users, columns), waits=waits)
        return sequence

    def _settle(self, sequence: int, rows: int, *, waits: bool) -> None:
        """What an append does behind the log: wait, or leave it to the flusher; then seal full tails."""
        if waits:
            with self.noting_failure():
                self._commit.wait(sequence)
        else:
            self._flusher.note(rows)
        if self._full():
            with self.mutex:
                if self._full():
                    self._seal_unasked()

    def _apply(self, change: Change) -> None:
        """Make a change readable, once: an interrupt may have come after that was done."""
        if change.kind == ROWS:
            tails, rows = self.state.tables[change.table].tails, len(change.users)
            sequence, before = self._applying
            if sequence != change.sequence:
                self._applying = change.sequence, tails.rows
            elif tails.rows == before + rows:
                with self.state.lock.exclusive():  # the hot tier may not have heard of them
                    self.state.tables[change.table].changed(change.users)
                return
            elif tails.rows != before:
                raise StoreReadOnlyError(
                    f"an interrupt came when {tails.rows - before} of an append's {rows} behaviours were "
                    "readable; all are in the log: open the store again"
                )
        self.state.apply([change])

    def _put_off(self, rows: int) -> None:
        """Seal once the tails have grown from what they are now, `rows`, by what the options say."""
        self._seal_at = rows + self.state.options.seal_rows
        # The memory of an empty tail counts for nothing: it does not shrink.
        self._seal_at_bytes = (
            sum(table.tails.nbytes for table in self.state.tables) + self.state.options.tail_bytes
        )

    def _full(self) -> bool:
        tails = [table.tails for table in self.state.tables]
        return (
            sum(tail.rows for tail in tails) >= self._seal_at
            or sum(tail.nbytes for tail in tails) >= self._seal_at_bytes
        )

    def _seal_unasked(self) -> None:
        """Seal after an append that is durable already: a failure must not make it look lost."""
        try:
            self.seal()
        except StoreFullError:
            # The rows stay in the log and the tails; as many more, and the next seal tries again.
            self._put_off(sum(table.tails.rows for table in self.state.tables))
        except StoreError as error:
            self._broken = self._broken or str(error)

    def _seal(self, loaded: tuple[Table, Rows] | None, batches: Sequence[int]) -> None:
        """Segments, then a new log, then the manifest; the old logs go last."""
        state, manifest = self.state, self.state.manifest
        generation = manifest.generation
        written: list[tuple[Table, int, Array]] = []
        writers: list[SegmentWriter] = []
        new_wal: Wal | None = None
        try:
            for table in state.tables:
                of_load = loaded[1] if loaded is not None and loaded[0] is table else None
                if table.tails.rows or table.deleted or of_load:
                    manifest = self._seal_table(table, of_load, manifest, writers)
                    slot = table.open_segment(writers[-1].file)
                    written.append((table, slot, table.segments[slot].entries()))
            ids = [*state.batches.ids(), *batches]
            log, written_to = LogFile(manifest.next_file, new_file(manifest.store)), self._wal.written
            new_wal = Wal.create(state.folder, log, state.records, state.own, written_to, ids)
            self.whole(partial(self._take_over, manifest, new_wal, written, loaded, batches))
        except BaseException as error:
            if self.may_undo(generation, error):
                self._undo(written, writers, new_wal, error)
            raise

    def _seal_table(
        self, table: Table, loaded: Rows | None, manifest: Manifest, writers: list[SegmentWriter]
    ) -> Manifest:
        """Write one sequence's segment, of its tails and what is loaded; the manifest that names it."""
        number, full = manifest.next_file, self.state.options.block_rows
        with self.new_segment(table, number) as writer:
            if table.deleted:
                users = np.array(sorted(table.deleted), "u8")
                writer.add_stones(tombstones(users))
            seal(writer, table, self.state.blocks, loaded, full)
            writer.finish()
        writers.append(writer)
        segments = (*manifest.sequences[table.place].segments, writer.file)
        return replace(manifest.with_sequence(table.place, segments=segments), next_file=number + 1)

    def _rotated(self, manifest: Manifest, wal: Wal) -> Manifest:
        """The manifest once the tails are sealed and the logs up to now are not needed."""
        for table in self.state.tables:
            manifest = manifest.with_sequence(table.place, floor_s=table.reader.floor_s)
        return replace(
            manifest, closed_logs=(), log=wal.file, sequence=wal.written, next_file=wal.file.number + 1
        )

    def _take_over(
        self,
        manifest: Manifest,
        new_wal: Wal,
        written: Sequence[tuple[Table, int, Array]],
        loaded: tuple[Table, Rows] | None,
        batches: Sequence[int],
    ) -> None:
        """Name what a seal wrote, read from it, write to its log, and let go of the old ones."""
        old = self.state.manifest.logs
        self.adopt(self._rotated(manifest, new_wal))
        self._switch(new_wal, written, loaded)
        self.state.batches.note(batches, new_wal.written)
        self.sealed += 1
        point("seal.adopted")
        for log in old:
            remove(self.state.folder / log_name(log.number), self.state.own)
        point("wal.dropped")

    def _switch(
        self,
        new_wal: Wal,
        written: Sequence[tuple[Table, int, Array]],
        loaded: tuple[Table, Rows] | None,
    ) -> None:
        """Make the new segments readable in place of the tails, and go on with the new log."""
        for table, _, entries in written:
            table.index.reserve(len(entries))
        with self.state.lock.exclusive():
            for table, slot, entries in written:
                table.index.apply(slot, entries)
                table.tails.clear()
                table.deleted.clear()
            if loaded is not None:
                loaded[0].changed(loaded[1].users)
        self._wal.abandon()
        self._wal = self._commit.wal = new_wal
        self._put_off(0)

    def _undo(
        self,
        written: Sequence[tuple[Table, int, Array]],
        writers: Sequence[SegmentWriter],
        new_wal: Wal | None,
        error: BaseException,
    ) -> None:
        """Leave no trace of a seal that did not fit, or was interrupted; files that may be named stay."""
        for table, slot, _ in written:
            table.discard(slot)
        if new_wal is not None:
            new_wal.abandon()
        if not isinstance(error, WriterStoppedError):
            for writer in writers:
                remove(writer.path, self.state.own)
            if new_wal is not None:
                remove(new_wal.path, self.state.own)

    def whole(self, work: Callable[[], None]) -> None:
        """Replace files and their picture in memory: an interrupt is raised when both are, or before.

        Where one comes all the same between the two, the store stops.
        """
        generation, half = self.state.manifest.generation, False

        def noted() -> None:
            nonlocal half
            half = True
            try:
                work()
            except StoreError:
                half = self.state.manifest.generation != generation
                raise
            half = False

        try:
            if self.state.lock.held():
                noted()
            else:
                uninterrupted(noted)
        finally:
            if half:
                self._broken = self._broken or "an interrupt came while files were replaced; open it again"

    def may_undo(self, generation: int, error: BaseException) -> bool:
        """Whether what was made for a manifest of which an error came may be closed: nothing is read from it.

        Args:
            generation: the manifest's before.
        """
        # After an interrupt that left files and memory at odds, either may be in use.
        known = isinstance(error, StoreError) or self._broken is None
        return known and self.state.manifest.generation == generation

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """After a failed sync, or without its folder, the store stops: what it would build on may be gone."""
        try:
            yield
        except StoreError as error:
            self._note(error)
            raise

    def _note(self, error: StoreError) -> None:
        """Stop where an error says so, or where its cause is that the folder is another one now."""
        try:
            if isinstance(error, WriterStoppedError):
                raise error
            self.state.own()
        except WriterStoppedError as stopped:
            self._broken = self._broken or str(stopped)
            raise
