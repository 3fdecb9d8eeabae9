"""The write-ahead log: one record an append, durable before the append returns.

    file    | SVWL, format u32, schema u32, zero u32 |  records ...
    record  | SVR1 | payload bytes u32 | crc u32 | sequence u64 | users N x u64 | rows N x packed record |

`crc` is the CRC-32 of the length, the sequence number and the payload. Sequence numbers grow by one. A
record that fails is the crash's torn end when nothing valid follows it, and is cut off; with a valid record
behind it, it is damage to acknowledged data, and opening says so instead of forgetting it."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError, SchemaError, StoreError, StoreFullError
from seqvault.rows import row_dtype
from seqvault.schema import Array, HistorySchema
from seqvault.vault.format1_block import fingerprint
from seqvault.vault.files import SyncFailedError, make_file, read_at, sync, sync_folder, write_at

__all__ = ["Replay", "Wal", "wal_path"]

_FORMAT = 1
_FILE = struct.Struct("<4sIII")
_RECORD = struct.Struct("<4sIIQ")
_MAGIC = b"SVR1"
MAX_PAYLOAD_BYTES = 1 << 31


@dataclass(frozen=True)
class Replay:
    """What a log held when it was opened.

    Args:
        user_ids, rows: (N,) every behaviour of its valid records, in arrival order.
        records: how many records those were.
        sequence: number of the last one; everything up to it is durable.
        end: where they end in the file.
        torn_bytes: bytes behind that, from a write that never finished.
    """

    user_ids: Array
    rows: Array
    records: int
    sequence: int
    end: int
    torn_bytes: int


def wal_path(folder: Path, number: int) -> Path:
    """The file of a log."""
    return folder / f"wal-{number:08d}.log"


class Wal:
    """The log open for appending."""

    def __init__(self, path: Path, fd: int, sequence: int, end: int) -> None:
        self.path = path
        self.sequence = sequence
        self.end = end
        self._fd = fd

    @classmethod
    def create(cls, folder: Path, number: int, schema: HistorySchema, sequence: int) -> "Wal":
        """A new log, durable in its folder, whose first record follows `sequence`."""
        path = wal_path(folder, number)
        fd = make_file(path)
        try:
            write_at(fd, _FILE.pack(b"SVWL", _FORMAT, fingerprint(schema), 0), 0, path)
            sync(fd, path)
            sync_folder(folder)
        except StoreError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return cls(path, fd, sequence, _FILE.size)

    @classmethod
    def reopen(cls, path: Path, replay: Replay) -> "Wal":
        """The log as replayed, its torn end cut off."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        wal = cls(path, fd, replay.sequence, replay.end)
        try:
            if replay.torn_bytes:
                os.ftruncate(fd, replay.end)
            # Also without a torn end: the last record may have been read from a page that never got to the
            # disk.
            sync(fd, path)
        except StoreError:
            os.close(fd)
            raise
        return wal

    def append(self, user_ids: Array, rows: Array) -> None:
        """Add one record and sync it.

        Raises:
            StoreFullError: no space; the log is as before and can be appended to.
            SyncFailedError: whether the record is durable shows when the log is opened again.
        """
        payload = user_ids.astype("<u8", copy=False).tobytes() + rows.tobytes()
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise StoreError(f"{len(rows)} behaviours in one append: use bulk_load, or append in parts")
        checked = struct.pack("<IQ", len(payload), self.sequence + 1)
        checksum = zlib.crc32(payload, zlib.crc32(checked))
        head = _RECORD.pack(_MAGIC, len(payload), checksum, self.sequence + 1)
        try:
            write_at(self._fd, head + payload, self.end, self.path)
        except StoreError as error:
            self._cut_back(error)
            raise
        sync(self._fd, self.path)
        self.sequence += 1
        self.end += len(head) + len(payload)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _cut_back(self, error: StoreError) -> None:
        try:
            os.ftruncate(self._fd, self.end)
        except OSError as cut:
            raise SyncFailedError(
                f"{self.path}: cannot undo a failed write ({cut}); the store is read-only until reopened"
            ) from error
        if not isinstance(error, StoreFullError):
            raise SyncFailedError(f"{error}; the store is read-only until reopened") from error


def replay(path: Path, schema: HistorySchema, sequence: int) -> Replay:
    """Read a log whose records follow number `sequence`.

    Raises:
        DamagedDataError: the file is missing, no log, or damaged before its last record.
        SchemaError: it was written under another schema.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DamagedDataError(
            f"{path} does not open ({error}): the manifest names it; restore it"
        ) from error
    try:
        data = read_at(fd, os.fstat(fd).st_size, 0, path)
    finally:
        os.close(fd)
    _check_file(path, data, schema)
    at, records, users, rows = _FILE.size, 0, [], []
    kind = row_dtype(schema)
    for payload, end in _records(data, at, sequence + 1, 8 + kind.itemsize):
        count = len(payload) // (8 + kind.itemsize)
        users.append(np.frombuffer(payload, "<u8", count))
        rows.append(np.frombuffer(payload, kind, count, 8 * count))
        records, at = records + 1, end
    if any(_follows(data, at, sequence + records, 8 + kind.itemsize)):
        raise DamagedDataError(
            f"{path}: the record at byte {at} (number {sequence + records + 1}) is damaged and valid "
            "ones follow it; restore the file from backup"
        )
    return Replay(
        np.concatenate(users) if users else np.empty(0, "u8"),
        np.concatenate(rows) if rows else np.empty(0, kind),
        records,
        sequence + records,
        at,
        len(data) - at,
    )


def _check_file(path: Path, data: bytes, schema: HistorySchema) -> None:
    if len(data) < _FILE.size or data[:4] != b"SVWL":
        raise DamagedDataError(f"{path} begins with {data[:4]!r}: expected a log; restore it from backup")
    _, version, schema_id, zero = _FILE.unpack_from(data)
    if version != _FORMAT or zero:
        raise DamagedDataError(
            f"{path} has format {version}: expected {_FORMAT}; was it made by another version?"
        )
    if schema_id != fingerprint(schema):
        raise SchemaError(f"{path} was written under another schema than {schema.name!r}")


def _records(data: bytes, at: int, sequence: int, unit: int) -> Iterator[tuple[memoryview, int]]:
    """(payload, end) of the valid records from `at` on, up to the first that fails."""
    while (payload := _record(data, at, sequence, unit)) is not None:
        at += _RECORD.size + len(payload)
        yield payload, at
        sequence += 1


def _record(data: bytes, at: int, sequence: int | None, unit: int) -> memoryview | None:
    """The payload of a valid record at `at`, of this number if one is given."""
    if at + _RECORD.size > len(data):
        return None
    magic, size, checksum, number = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + size
    if magic != _MAGIC or end > len(data) or size % unit or (sequence is not None and number != sequence):
        return None
    payload = memoryview(data)[at + _RECORD.size : end]
    if zlib.crc32(payload, zlib.crc32(struct.pack("<IQ", size, number))) != checksum:
        return None
    return payload


def _follows(data: bytes, at: int, sequence: int, unit: int) -> Iterator[bool]:
    """True for every valid record of a later number behind the failed one at `at`."""
    place = data.find(_MAGIC, at + 1)
    while place >= 0:
        if _record(data, place, None, unit) is not None:
            number = _RECORD.unpack_from(data, place)[3]
            yield number > sequence
        place = data.find(_MAGIC, place + 1)
