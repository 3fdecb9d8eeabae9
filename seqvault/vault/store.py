"""SeqVault: histories in packed columnar blocks, recent behaviours in DRAM, every append in a log.

Start reading here. append: wal.py, tail.py. Sealing: sealing.py, segment.py, manifest.py. Reading: reader.py,
block.py, codec.py. docs/storage.md draws the files and says what survives which failure.

Source: LASER, arXiv:2602.11562 (SeqVault); the layout is our own.
"""

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seqvault.errors import (
    DamagedDataError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
)
from seqvault.rows import pack_rows, sorted_rows, unpack_rows
from seqvault.schema import BEHAVIOURS, Array, Columns, HistorySchema
from seqvault.select import bounds_s, by_user, check_n, check_users, clip_s
from seqvault.store import HistoryBatch, ReadTime
from seqvault.vault.format1_block import MAX_ROWS
from seqvault.vault.files import SyncFailedError
from seqvault.vault.manifest import Manifest, read_manifest, write_manifest
from seqvault.vault.reader import HistoryReader, Pieces
from seqvault.vault.sealing import copy_live, seal_user
from seqvault.vault.segment import Segment, SegmentWriter, segment_path
from seqvault.vault.tail import Tails
from seqvault.vault.wal import Replay, Wal, replay, wal_path

__all__ = ["SeqVault"]

_LEFTOVER = re.compile(r"(segment|wal)-(\d{8})\.(seg|log|new)|MANIFEST\.new")
# Compaction waits until this much is dead: small stores are not worth copying.
_DEAD_BYTES = 4 << 20


class SeqVault:
    """A durable HistoryStore of packed columnar blocks.

    Args:
        path: the store's folder.
        block_rows: behaviours a block holds; more compress better, fewer read less for a short history.
        seal_rows: behaviours the tails of all users hold together before they are sealed.

    Raises:
        StoreLockedError: another writer has it open.
        DamagedDataError: manifest, log or a segment's footer fail their checksums.
        SchemaError: the store was made with another schema.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        schema: HistorySchema = BEHAVIOURS,
        read_only: bool = False,
        block_rows: int = 4096,
        seal_rows: int = 250_000,
    ) -> None:
        if not 1 <= block_rows <= MAX_ROWS or seal_rows < 1:
            raise StoreError(
                f"block_rows={block_rows}, seal_rows={seal_rows}: expected 1..{MAX_ROWS}, and at least 1"
            )
        self.schema = schema
        self._path = Path(path)
        self._read_only = read_only
        self._block_rows = block_rows
        self._seal_rows = seal_rows
        self._seal_at = seal_rows
        self._closed = False
        self._broken: str | None = None
        self._mutex = threading.RLock()
        self._reader = HistoryReader(self._path, schema)
        self._wal: Wal | None = None
        self._lock_fd: int | None = None
        try:
            if read_only:
                self._manifest, self._replay = self._load_read_only()
            else:
                self._lock_fd = self._lock()
                self._manifest, self._replay = self._recover()
        except BaseException:
            self._release()
            raise
        self._reader.tails.add(self._replay.user_ids, self._replay.rows)

    def append(self, user_ids: object, columns: Columns) -> None:
        """See HistoryStore.append: one log record, synced; then, once the tails are full, a seal."""
        users, checked = self.schema.check(user_ids, columns)
        with self._mutex:
            wal = self._writable()
            if not len(users):
                return
            rows = pack_rows(self.schema, checked, np.arange(len(users)))
            with self._noting_failure():
                wal.append(users, rows)
            self._reader.tails.add(users, rows)
            if self._reader.tails.behaviours >= self._seal_at:
                self._seal_unasked()

    def bulk_load(self, user_ids: object, columns: Columns) -> None:
        """See HistoryStore.bulk_load: sorted, encoded and sealed without passing through the log."""
        users, checked = self.schema.check(user_ids, columns)
        with self._mutex:
            self._writable()
            if len(users):
                order, distinct, bounds = by_user(users)
                rows = pack_rows(self.schema, checked, order)
                parts = np.split(rows, bounds[1:-1])
                with self._noting_failure():
                    self._seal(dict(zip(distinct.tolist(), parts, strict=True)))

    def seal(self) -> None:
        """Turn the tails into blocks now. Raises StoreFullError, StoreReadOnlyError, DamagedDataError."""
        with self._mutex:
            self._writable()
            with self._noting_failure():
                self._seal({})

    def compact(self) -> None:
        """Copy the live blocks into one segment, users side by side, and drop the dead ones."""
        with self._mutex:
            self._writable()
            with self._noting_failure():
                self._compact()

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
        return self._read(
            users,
            columns,
            lambda i, user, names, out: self._reader.last(user, n, bounds[i], keep, names, out),
        )

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
            check_users(user_ids),
            columns,
            lambda _, user, names, out: self._reader.between(user, start_s, end_s, keep, names, out),
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
        """See HistoryStore.timed_read_last. There is no binding: the whole call is the store's own."""
        start = time.perf_counter()
        batch = self.read_last(user_ids, n, before_s=before_s, columns=columns, scenes=scenes)
        call_s = time.perf_counter() - start
        return batch, ReadTime(call_s, call_s)

    def stats(self) -> dict[str, int | float]:
        """Counts, sizes, and what recovery found.

        users, behaviours, unsealed (behaviours in the tails), segments, blocks, bytes_on_disk, live_bytes,
        durable_sequence (appends known durable), replayed_records, torn_bytes (cut off the log at open).
        """
        with self._mutex:
            self._check_open()
            blocks = self._reader.live_blocks()
            sealed = sum(block.rows for block in blocks)
            unsealed = self._reader.tails.behaviours
            return {
                "users": len(self._reader.users()),
                "behaviours": sealed + unsealed,
                "unsealed": unsealed,
                "segments": len(self._reader.segments),
                "blocks": len(blocks),
                "bytes_on_disk": sum(file.stat().st_size for file in self._path.iterdir()),
                "live_bytes": sum(block.size for block in blocks),
                "durable_sequence": self._wal.sequence if self._wal is not None else self._replay.sequence,
                "replayed_records": self._replay.records,
                "torn_bytes": self._replay.torn_bytes,
            }

    def close(self) -> None:
        """See HistoryStore.close. Tails stay in the log and are replayed at the next open."""
        with self._mutex:
            if not self._closed:
                self._closed = True
                self._release()

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
        read: Callable[[int, int, tuple[str, ...], Pieces], int],
    ) -> HistoryBatch:
        names = self.schema.chosen(columns)
        pieces: Pieces = [[] for _ in names]
        offsets = np.zeros(len(users) + 1, "i8")
        with self._mutex:
            self._check_open()
            lengths = [read(i, user, names, pieces) for i, user in enumerate(users.tolist())]
            np.cumsum(lengths, out=offsets[1:])
            flat = {
                name: np.concatenate(parts) if parts else np.empty(0, self.schema.dtype(name))
                for name, parts in zip(names, pieces, strict=True)
            }
        return HistoryBatch(users, offsets, flat)

    def _lock(self) -> int:
        self._path.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise StoreLockedError(
                f"{self._path} is open for writing elsewhere: close it there, or open it with read_only=True"
            ) from error
        return fd

    def _recover(self) -> tuple[Manifest, Replay]:
        """Load what the manifest names, cut a torn record off the log, remove a crash's leftovers."""
        manifest = read_manifest(self._path, self.schema)
        if manifest is None:
            manifest = self._make()
        for number in manifest.segments:
            self._reader.open_segment(number)
        replayed = replay(wal_path(self._path, manifest.wal), self.schema, manifest.sequence)
        self._wal = Wal.reopen(wal_path(self._path, manifest.wal), replayed)
        live = {segment_path(self._path, n).name for n in manifest.segments}
        live.add(wal_path(self._path, manifest.wal).name)
        for file in self._path.iterdir():
            if _LEFTOVER.fullmatch(file.name) and file.name not in live:
                file.unlink()
        return manifest, replayed

    def _make(self) -> Manifest:
        """A new store. Raises DamagedDataError where one has lost its manifest."""
        found = [file.name for file in self._path.iterdir() if file.suffix == ".seg"]
        logs = [file for file in self._path.glob("wal-*.log") if file.stat().st_size > 64]
        if found or logs:
            raise DamagedDataError(
                f"{self._path} has data files but no MANIFEST: restore it from backup, or use another folder"
            )
        manifest = Manifest((), 1, 0, 1)
        Wal.create(self._path, 1, self.schema, 0).close()
        write_manifest(self._path, self.schema, manifest)
        return manifest

    def _load_read_only(self) -> tuple[Manifest, Replay]:
        """As the writer left it; tried again when a writer replaces files meanwhile."""
        for attempt in range(5):
            manifest = read_manifest(self._path, self.schema)
            if manifest is None:
                raise StoreError(
                    f"{self._path}: no SeqVault to read; open it with read_only=False to make one"
                )
            try:
                for number in manifest.segments:
                    self._reader.open_segment(number)
                return manifest, replay(wal_path(self._path, manifest.wal), self.schema, manifest.sequence)
            except DamagedDataError:
                if attempt == 4 or read_manifest(self._path, self.schema) == manifest:
                    raise
                self._reader.close()
                self._reader = HistoryReader(self._path, self.schema)
        raise AssertionError("the loop returns or raises")

    def _seal_unasked(self) -> None:
        """Seal after an append that is durable already: a failure must not make it look lost."""
        self._seal_at = self._reader.tails.behaviours + self._seal_rows
        try:
            with self._noting_failure():
                self._seal({})
        except StoreFullError:
            # The rows stay in the log and the tails; the next seal tries again.
            return
        except StoreError as error:
            self._broken = self._broken or str(error)

    def _seal(self, loaded: dict[int, Array]) -> None:
        """Tails and loaded rows into a segment, then a new log, then the manifest; the old log goes last."""
        tails = self._reader.tails
        users = sorted(set(loaded) | tails.users())
        wal = self._writable()
        if not users:
            return
        number = self._manifest.next_segment
        with SegmentWriter(self._path, number, self.schema) as writer:
            for user in users:
                tail, extra = tails.get(user), loaded.get(user)
                parts = [part for part in (tail.rows if tail else None, extra) if part is not None]
                rows = sorted_rows(parts[0] if len(parts) == 1 else np.concatenate(parts))
                columns = unpack_rows(rows, self.schema.names)
                seal_user(writer, self._reader, self.schema, user, columns, self._block_rows)
            writer.finish()
        segment = Segment(self._path, number, self.schema)
        self._wal = self._adopt(
            replace(
                self._manifest,
                segments=(*self._manifest.segments, number),
                wal=self._manifest.wal + 1,
                sequence=wal.sequence,
                next_segment=number + 1,
            ),
            segment,
        )
        wal.close()
        wal.path.unlink(missing_ok=True)
        self._reader.tails = Tails()
        self._reader.segments[number] = segment
        self._reader.index(writer.blocks)
        self._seal_at = self._seal_rows
        live = sum(block.size for block in self._reader.live_blocks())
        total = sum(segment.size for segment in self._reader.segments.values())
        if total - live > max(live, _DEAD_BYTES):
            # A full device only puts compaction off: what was sealed is durable.
            with suppress(StoreFullError):
                self._compact()

    def _adopt(self, manifest: Manifest, segment: Segment) -> Wal:
        """Make a finished segment and a new log part of the store; leave no trace on a full device."""
        new_wal = None
        try:
            new_wal = Wal.create(self._path, manifest.wal, self.schema, manifest.sequence)
            write_manifest(self._path, self.schema, manifest)
        except StoreError as error:
            if new_wal is not None:
                new_wal.close()
            segment.close()
            # After a failed sync either manifest may be the durable one: its files must stay.
            if not isinstance(error, SyncFailedError):
                segment.path.unlink(missing_ok=True)
                wal_path(self._path, manifest.wal).unlink(missing_ok=True)
            raise
        self._manifest = manifest
        return new_wal

    def _compact(self) -> None:
        number = self._manifest.next_segment
        with SegmentWriter(self._path, number, self.schema) as writer:
            copy_live(writer, self._reader, self.schema)
            writer.finish()
        segment = Segment(self._path, number, self.schema)
        manifest = replace(self._manifest, segments=(number,), next_segment=number + 1)
        try:
            write_manifest(self._path, self.schema, manifest)
        except StoreError as error:
            segment.close()
            if not isinstance(error, SyncFailedError):
                segment.path.unlink(missing_ok=True)
            raise
        self._manifest = manifest
        tails, old = self._reader.tails, self._reader
        self._reader = HistoryReader(self._path, self.schema)
        self._reader.tails = tails
        self._reader.segments[number] = segment
        self._reader.index(writer.blocks)
        for dropped in old.segments.values():
            dropped.path.unlink(missing_ok=True)
        old.close()

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """After a failed sync the store stops writing: what it would build on may not be on the disk."""
        try:
            yield
        except SyncFailedError as error:
            self._broken = str(error)
            raise

    def _writable(self) -> Wal:
        self._check_open()
        if self._broken is not None:
            raise StoreReadOnlyError(f"{self._path} stopped writing: {self._broken}")
        if self._read_only or self._wal is None:
            raise StoreReadOnlyError(f"{self._path} is open read-only: open it with read_only=False")
        return self._wal

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"{self._path} is closed: open it again")

    def _release(self) -> None:
        self._reader.close()
        if self._wal is not None:
            self._wal.close()
            self._wal = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
