"""Segments: immutable files of blocks, with a footer from which the index is rebuilt.

    +----------------+---------+---------+- - -+--------------------------+---------------------------------+
    | SVSG, format,  | block   | block   |     | footer: one 48-byte      | footer offset u64, entries u64, |
    | schema, zero   |         |         |     | entry a block            | CRC-32 of both, SVSF            |
    +----------------+---------+---------+- - -+--------------------------+---------------------------------+
      16 bytes                                                              24 bytes

One user's blocks of a segment lie side by side, so that a history is read in few pieces.
"""

import os
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seqvault.errors import DamagedDataError, SchemaError, StoreError
from seqvault.schema import HistorySchema
from seqvault.vault.format1_block import Block, fingerprint
from seqvault.vault.files import make_file, read_at, rename, sync, sync_folder, write_at

__all__ = ["Segment", "SegmentWriter", "segment_path"]

_FORMAT = 1
_HEAD = struct.Struct("<4sIIxxxx")
_TAIL = struct.Struct("<QQI4s")
_ENTRY = np.dtype(
    [
        ("user", "<u8"),
        ("start", "<u8"),
        ("first_s", "<i8"),
        ("last_s", "<i8"),
        ("offset", "<u8"),
        ("size", "<u4"),
        ("rows", "<u4"),
    ]
)
_BUFFER_BYTES = 1 << 20


def segment_path(folder: Path, number: int) -> Path:
    """The file of a segment."""
    return folder / f"segment-{number:08d}.seg"


class SegmentWriter:
    """Writes a new segment, which has its name only once `finish` made it durable; else it is removed."""

    def __init__(self, folder: Path, number: int, schema: HistorySchema) -> None:
        self._path = segment_path(folder, number)
        self._draft = self._path.with_suffix(".new")
        self._number = number
        self._fd = make_file(self._draft)
        self._buffer = bytearray(_HEAD.pack(b"SVSG", _FORMAT, fingerprint(schema)))
        self._flushed = 0
        self._finished = False
        self.blocks: list[Block] = []

    def add(self, data: bytes, user: int, rows: int, first_s: int, last_s: int, start: int) -> None:
        """Put an encoded block behind the others."""
        offset = self._flushed + len(self._buffer)
        self.blocks.append(Block(self._number, offset, len(data), rows, user, first_s, last_s, start))
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def finish(self) -> None:
        """Footer, sync, name, sync of the name.

        Raises StoreFullError with nothing kept, SyncFailedError when durability is unknown.
        """
        footer_at = self._flushed + len(self._buffer)
        entries = np.array(
            [(b.user, b.start, b.first_s, b.last_s, b.offset, b.size, b.rows) for b in self.blocks], _ENTRY
        ).tobytes()
        place = struct.pack("<QQ", footer_at, len(self.blocks))
        checksum = zlib.crc32(place, zlib.crc32(entries))
        self._buffer += entries + place + struct.pack("<I4s", checksum, b"SVSF")
        self._flush()
        sync(self._fd, self._draft)
        rename(self._draft, self._path)
        self._finished = True
        sync_folder(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)
        if not self._finished:
            self._draft.unlink(missing_ok=True)

    def _flush(self) -> None:
        write_at(self._fd, bytes(self._buffer), self._flushed, self._draft)
        self._flushed += len(self._buffer)
        self._buffer = bytearray()


class Segment:
    """An open segment: reads bytes, and lists its blocks for the index."""

    def __init__(self, folder: Path, number: int, schema: HistorySchema) -> None:
        self.path = segment_path(folder, number)
        self.number = number
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DamagedDataError(
                f"{self.path} does not open ({error}): the manifest lists it; restore it"
            ) from error
        try:
            self.size = os.fstat(self._fd).st_size
            self._check_head(schema)
        except StoreError:
            os.close(self._fd)
            raise

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file, unverified."""
        return read_at(self._fd, size, offset, self.path)

    def blocks(self) -> list[Block]:
        """Every block by file position. Raises DamagedDataError when the footer fails its checksum."""
        if self.size < _HEAD.size + _TAIL.size:
            raise DamagedDataError(f"{self.path} has {self.size} bytes: too few for a segment; restore it")
        tail = self.read(self.size - _TAIL.size, _TAIL.size)
        offset, count, checksum, magic = _TAIL.unpack(tail)
        end = self.size - _TAIL.size
        if magic != b"SVSF" or offset + count * _ENTRY.itemsize != end:
            raise DamagedDataError(f"{self.path}: its footer is damaged; restore the file from backup")
        entries = self.read(offset, end - offset)
        found = zlib.crc32(tail[:16], zlib.crc32(entries))
        if found != checksum:
            raise DamagedDataError(
                f"{self.path}: footer checksum {found:#010x}, not {checksum:#010x}; restore it from backup"
            )
        return [
            Block(self.number, offset, size, rows, user, first_s, last_s, start)
            for user, start, first_s, last_s, offset, size, rows in np.frombuffer(entries, _ENTRY).tolist()
        ]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _check_head(self, schema: HistorySchema) -> None:
        magic, version, schema_id = _HEAD.unpack(self.read(0, _HEAD.size))
        if magic != b"SVSG" or version != _FORMAT:
            raise DamagedDataError(
                f"{self.path} begins with {magic!r} {version}: not a segment of this version"
            )
        if schema_id != fingerprint(schema):
            raise SchemaError(f"{self.path} was written under another schema than {schema.name!r}")
