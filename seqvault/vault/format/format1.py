"""Stores of format 1, which version 0.1 wrote: read as they are, and converted when opened for writing.

    folder    MANIFEST   segment-00000001.seg ...   wal-00000003.log        checksums are CRC-32
    MANIFEST  JSON: format, schema, segments, wal, sequence, next_segment | \\n | CRC in hex | \\n
    segment   | SVSG, 1, schema u32, 0 | blocks | 48 bytes an entry | place u64, entries u64, crc u32, SVSF |
    log       | SVWL, 1, schema u32, 0 | records: SVR1, bytes u32, crc u32, sequence u64, users, packed rows |

Entries replace a user's blocks from their rank on, as they do now.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.rows import row_dtype
from seqvault.schema import Array, HistorySchema
from seqvault.vault.disk.files import close, open_file, read_at, read_file, size_of
from seqvault.vault.disk.manifest import NAME
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.format.format1_block import Block, decode_block
from seqvault.vault.format.rows_by_user import Rows, group_rows, join

__all__ = ["Format1", "is_format1", "read_format1"]

_FILE_HEAD = struct.Struct("<4sIII")
_TAIL = struct.Struct("<QQI4s")
_RECORD = struct.Struct("<4sIIQ")
_ROWS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class Format1:
    """A store of format 1.

    Attributes:
        schema: of its behaviours.
        records, sequence: appends in its log, and the number of the last one.
        torn_bytes: of the log's end.
        next_file: a number none of its files has.
    """

    schema: HistorySchema
    records: int
    sequence: int
    torn_bytes: int
    next_file: int
    _folder: Path
    _fingerprint: int
    _blocks: dict[int, list[Block]]
    _logged: Rows

    def portions(self) -> Iterator[Rows]:
        """Everything in it, some users at a time.

        Raises:
            DamagedDataError: a block fails its checksum.
        """
        users = np.union1d(np.array(list(self._blocks), "u8"), self._logged.users)
        rows = [sum(block.rows for block in self._blocks.get(user, ())) for user in users.tolist()]
        places = np.cumsum(rows) // _ROWS_AT_ONCE
        for portion in np.split(users, np.flatnonzero(places[1:] != places[:-1]) + 1):
            first = int(np.searchsorted(self._logged.users, portion[0]))
            end = int(np.searchsorted(self._logged.users, portion[-1], "right"))
            yield join(self._sealed(portion), self._logged.part(first, end))

    def _sealed(self, users: Array) -> Rows:
        pieces: dict[str, list[Array]] = {name: [] for name in self.schema.names}
        lengths, fds = [], dict[int, int]()
        try:
            for user in users.tolist():
                blocks = self._blocks.get(user, [])
                lengths.append(sum(block.rows for block in blocks))
                for block in blocks:
                    path = _segment_path(self._folder, block.segment)
                    if block.segment not in fds:
                        fds[block.segment] = open_file(path)
                    data = read_at(fds[block.segment], block.size, block.offset, path)
                    for name, values in decode_block(self.schema, self._fingerprint, data, block).items():
                        pieces[name].append(values)
        finally:
            for fd in fds.values():
                close(fd)
        columns = {
            name: np.concatenate([np.empty(0, self.schema.dtype(name)), *parts])
            for name, parts in pieces.items()
        }
        return Rows(users, np.concatenate(([0], np.cumsum(lengths, dtype="i8"))), columns)


def is_format1(folder: Path) -> bool:
    """Whether a folder holds a store of format 1."""
    try:
        return read_file(folder / NAME).startswith(b'{"format": 1,')
    except FileNotFoundError:
        return False


def read_format1(folder: Path) -> Format1:
    """Read a store of format 1; its blocks are read later, by `portions`.

    Raises:
        DamagedDataError: manifest, log or a footer fails its checksum.
    """
    body, _, checksum = read_file(folder / NAME).partition(b"\n")
    if checksum != b"%08x\n" % zlib.crc32(body):
        raise DamagedDataError(f"{folder / NAME}: its checksum does not match; restore it from backup")
    manifest = json.loads(body)
    schema = HistorySchema.from_dict(manifest["schema"])
    fingerprint = zlib.crc32(repr(manifest["schema"]).encode())
    blocks: dict[int, list[Block]] = {}
    for number in manifest["segments"]:
        for block in _entries(_segment_path(folder, number), number):
            of_user = blocks.setdefault(block.user, [])
            while of_user and of_user[-1].start >= block.start:
                of_user.pop()
            of_user.append(block)
    log = folder / f"wal-{manifest['wal']:08d}.log"
    users, rows, records, torn = _replay(log, schema, manifest["sequence"])
    columns = {name: np.ascontiguousarray(rows[name]) for name in schema.names}
    return Format1(
        schema,
        records,
        manifest["sequence"] + records,
        torn,
        max(manifest["next_segment"], manifest["wal"] + 1),
        folder,
        fingerprint,
        blocks,
        group_rows(users, columns),
    )


def _segment_path(folder: Path, number: int) -> Path:
    return folder / f"segment-{number:08d}.seg"


def _entries(path: Path, number: int) -> list[Block]:
    try:
        fd = open_file(path)
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing: the manifest lists it; restore it from backup") from error
    try:
        end = size_of(fd) - _TAIL.size
        if end < _FILE_HEAD.size:
            raise DamagedDataError(f"{path} has {end + _TAIL.size} bytes: too few for a segment; restore it")
        tail = read_at(fd, _TAIL.size, end, path)
        place, count, checksum, magic = _TAIL.unpack(tail)
        if magic != b"SVSF" or place + count * ENTRY.itemsize != end:
            raise DamagedDataError(f"{path}: its footer is damaged; restore the file from backup")
        data = read_at(fd, end - place, place, path)
    finally:
        close(fd)
    if zlib.crc32(tail[:16], zlib.crc32(data)) != checksum:
        raise DamagedDataError(f"{path}: its footer fails its checksum; restore the file from backup")
    return [
        Block(number, offset, size, rows, user, first_s, last_s, start)
        for user, start, first_s, last_s, offset, size, rows in np.frombuffer(data, ENTRY).tolist()
    ]


def _replay(path: Path, schema: HistorySchema, sequence: int) -> tuple[Array, Array, int, int]:
    """(users, rows, records, torn bytes) of a log."""
    try:
        data = read_file(path)
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing: the manifest names it; restore it from backup") from error
    if data[:4] != b"SVWL":
        raise DamagedDataError(f"{path} begins with {data[:4]!r}: expected a log; restore it from backup")
    kind = row_dtype(schema)
    at, records = _FILE_HEAD.size, 0
    users, rows = [np.empty(0, "u8")], [np.empty(0, kind)]
    while (payload := _payload(data, at, sequence + records + 1)) is not None:
        count = len(payload) // (8 + kind.itemsize)
        users.append(np.frombuffer(payload, "u8", count))
        rows.append(np.frombuffer(payload, kind, count, 8 * count))
        at += _RECORD.size + len(payload)
        records += 1
    place = data.find(b"SVR1", at + 1)
    while place >= 0:
        number = _RECORD.unpack_from(data, place)[3] if place + _RECORD.size <= len(data) else 0
        if number > sequence + records and _payload(data, place, number) is not None:
            raise DamagedDataError(
                f"{path}: the record at byte {at} is damaged and valid ones follow it; restore it from backup"
            )
        place = data.find(b"SVR1", place + 1)
    return np.concatenate(users), np.concatenate(rows), records, len(data) - at


def _payload(data: bytes, at: int, number: int) -> bytes | None:
    """The payload of the record of this number, if a valid one is at `at`."""
    if at + _RECORD.size > len(data):
        return None
    magic, size, checksum, found = _RECORD.unpack_from(data, at)
    payload = data[at + _RECORD.size : at + _RECORD.size + size]
    if magic != b"SVR1" or found != number or len(payload) != size:
        return None
    intact = zlib.crc32(payload, zlib.crc32(struct.pack("<IQ", size, number))) == checksum
    return payload if intact else None
