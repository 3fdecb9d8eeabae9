"""The write-ahead log: one record per change, durable before the change is acknowledged.

    +-----------------------------------------+----------+----------+- - -+----------------------+
    | SVWL, format u32, number u64, identity, | record   | record   |     | zeros, reserved for  |
    | hash: u64                               |          |          |     | records to come      |
    +-----------------------------------------+----------+----------+- - -+----------------------+
      32 bytes                                  record.py draws one

Records carry sequence numbers that grow by one; those that change nothing (batch ids, marks) repeat the last.
Space is reserved ahead, so that a record's sync has no new length to write."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError, StoreError, StoreFullError
from seqvault.schema import Array
from seqvault.vault.disk.files import (
    Own,
    SyncFailedError,
    allocate,
    close,
    cut,
    make_file,
    miswritten,
    open_file,
    read_at,
    remove,
    size_of,
    sync,
    sync_folder,
    write_at,
)
from seqvault.vault.disk.identity import HEAD_BYTES, LogFile, check_head, file_head
from seqvault.vault.disk.manifest import log_name
from seqvault.vault.disk.points import point
from seqvault.vault.log.record import BATCHES, MARK, MAX_BYTES, MAX_ROWS, Record, Records, salt_of

__all__ = ["HEAD_BYTES", "Wal", "check_log"]

_MAGIC = b"SVWL"
# Reserved ahead: as much as the log has, between these.
_LEAST_BYTES, _MOST_BYTES = 1 << 17, 1 << 24


def check_log(path: Path, data: Array, log: LogFile) -> None:
    """See that the bytes of a log begin as those of this one. Raises DamagedDataError, StrangerError."""
    check_head(path, data[:HEAD_BYTES].tobytes(), _MAGIC, log.number, log.id)


class Wal:
    """The live log, open for appending; its methods are called by one thread at a time, but for `sync`.

    Args:
        own: whether the folder is still the writer's.

    Attributes:
        file: the log as the manifest names it.
        end: byte behind the last record.
        written: sequence number of the last change written.
        durable: sequence number of the last change known durable.
    """

    def __init__(
        self, path: Path, file: LogFile, fd: int, records: Records, own: Own, *, sequence: int, end: int
    ) -> None:
        self.path = path
        self._own = own
        self.file = file
        self.end = end
        self.written = sequence
        self.durable = sequence
        self._fd = fd
        self._records = records
        self._salt = salt_of(file.number, file.id)
        self._reserved = size_of(fd)
        self._reserves = True
        self._marked = end

    @classmethod
    def create(
        cls,
        folder: Path,
        file: LogFile,
        records: Records,
        own: Own,
        sequence: int,
        batches: Sequence[int] = (),
    ) -> "Wal":
        """A new log, durable in its folder, whose first change follows `sequence`.

        Args:
            batches: batch ids that writers may still repeat.

        Raises:
            StoreFullError: no space; nothing was kept.
            DamagedDataError: it does not read back; nothing was kept.
            SyncFailedError: whether it is durable is unknown; nobody names it yet.
            FolderLostError: the folder is somebody else's; nothing was made there.
        """
        own()
        path = folder / log_name(file.number)
        fd = make_file(path)
        point("log.made")
        try:
            write_at(fd, file_head(_MAGIC, file.number, file.id), 0, path)
            wal = cls(path, file, fd, records, own, sequence=sequence, end=HEAD_BYTES)
            if batches:
                wal._note(BATCHES, np.array(batches, "u8"))
            point("log.written")
            sync(fd, path)
            point("log.synced")
            wal._read_back()
            sync_folder(folder)
            point("log.named")
        except StoreError:
            close(fd)
            remove(path, own)
            raise
        return wal

    @classmethod
    def reopen(
        cls, path: Path, file: LogFile, records: Records, own: Own, *, sequence: int, end: int
    ) -> "Wal":
        """The log as replayed, nothing but zeros behind `end`. Raises as `create`."""
        try:
            fd = open_file(path, write=True)
        except FileNotFoundError as error:
            raise DamagedDataError(f"{path} is gone since it was read; restore it from backup") from error
        try:
            own()
            # The last record may have been read from a page that never got to the disk.
            sync(fd, path)
        except StoreError:
            close(fd)
            raise
        return cls(path, file, fd, records, own, sequence=sequence, end=end)

    def write(self, body: tuple[Array, int], record: Record) -> int:
        """Put one change behind the others; durable after the next sync. Returns its sequence number.

        Args:
            body: what `Records.encode` made of its columns.

        Raises:
            StoreFullError: no space; the log is as before and can be written to.
            SyncFailedError: it cannot be written to any more.
        """
        self._put(body, record, self.written + 1)
        return self.written

    def sync(self) -> None:
        """Make what was written durable; the caller knows what that was.

        Raises:
            SyncFailedError: whether it is durable is unknown.
            FolderLostError: it is, in a folder that the path does not lead to.
        """
        sync(self._fd, self.path)
        self._own()

    def close(self) -> None:
        """Close the file, giving back what was reserved.

        The mark says how far the log was durable: it distinguishes damage to the last change from a torn
        write.
        """
        try:
            if self.durable == self.written and self.end != self._marked:
                self._note(MARK, np.array([self.durable], "u8"))
            cut(self._fd, self.end, self.path)
        except StoreError:
            pass
        finally:
            close(self._fd)

    def abandon(self) -> None:
        """Close the file and leave it as it is."""
        close(self._fd)

    def _note(self, kind: int, values: Array) -> None:
        """A record that changes nothing."""
        self._put(self._records.encode([values]), Record(kind, len(values), 1), self.written)

    def _read_back(self) -> None:
        """See that a new log holds what was written: it is to replace another."""
        data = np.frombuffer(bytearray(read_at(self._fd, self.end, 0, self.path)), "u1")
        found = self._records.scan(data, HEAD_BYTES, self.end, self._salt)
        end = int(found["place"][-1] + found["size"][-1]) if len(found) else HEAD_BYTES
        try:
            check_log(self.path, data, self.file)
        except DamagedDataError as error:
            raise miswritten(self.path) from error
        if end != self.end:
            raise miswritten(self.path)

    def _put(self, body: tuple[Array, int], record: Record, sequence: int) -> None:
        data, size = body
        if size > MAX_BYTES or record.rows > MAX_ROWS:
            raise StoreError(f"{record.rows} behaviours in one append: use bulk_load, or append in parts")
        self._records.finish(data, size, record.head(sequence, self.durable), self._salt)
        self._reserve(self.end + size)
        point("wal.writing")
        try:
            write_at(self._fd, data[:size].data, self.end, self.path)
        except StoreError as error:
            self._cut_back(error)
            raise
        point("wal.written")
        # Together: no interrupt comes between the two.
        self.end, self.written = self.end + size, sequence

    def _reserve(self, end: int) -> None:
        if end <= self._reserved or not self._reserves:
            return
        more = max(end - self._reserved, min(max(self.end, _LEAST_BYTES), _MOST_BYTES))
        try:
            self._reserves = allocate(self._fd, self._reserved, more, self.path)
            self._reserved += more
        except StoreFullError:
            # There may be room for this record alone; the write will show.
            self._reserved = end
        except StoreError as error:
            raise SyncFailedError(f"{error}; the store is read-only until reopened") from error

    def _cut_back(self, error: StoreError) -> None:
        try:
            cut(self._fd, self.end, self.path)
            self._reserved = self.end
        except StoreError as failed:
            raise SyncFailedError(
                f"{self.path}: cannot undo a failed write ({failed}); the store is read-only until reopened"
            ) from error
        if not isinstance(error, StoreFullError):
            raise SyncFailedError(f"{error}; the store is read-only until reopened") from error
