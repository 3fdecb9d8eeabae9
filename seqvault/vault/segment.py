"""Segments: immutable files of blocks, with a footer from which the index is rebuilt.

    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
    | SVSG, format u32         | block |     | block | footer: 48 bytes   | footer place u64, entries u64 |
    | number u64, 0, hash u64  |       |     |       | an entry           | hash u64, SVSF, zero          |
    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
      32 bytes                   multiples of 8 bytes                       32 bytes

`number` is the file's own: a segment under another's name is refused. The footer's hash covers its entries,
seeded with their place and count. One user's blocks of a segment lie side by side, so that a history is read
in few pieces.
"""

import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array
from seqvault.vault.entries import ENTRY
from seqvault.vault.files import (
    SyncFailedError,
    close,
    make_file,
    open_file,
    read_at,
    remove,
    rename,
    size_of,
    sync,
    sync_folder,
    write_at,
)
from seqvault.vault.hash64 import hash64
from seqvault.vault.points import point

__all__ = ["HEAD_BYTES", "Segment", "SegmentWriter"]

_FORMAT = 2
_HEAD = struct.Struct("<4sIQQQ")
_TAIL = struct.Struct("<QQQ4s4x")
HEAD_BYTES = _HEAD.size
# Written at once: large enough that the calls cost nothing, small enough to stay in the cache.
_BUFFER_BYTES = 1 << 20


def _head(number: int) -> bytes:
    fields = struct.pack("<4sIQQ", b"SVSG", _FORMAT, number, 0)
    return fields + struct.pack("<Q", hash64(fields))


class SegmentWriter:
    """Writes a new segment, which has its name only once `finish` made it durable; else it is removed.

    Args:
        path: its name when it is finished.
        number: its number, written into it.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self._draft = path.with_suffix(".new")
        self._fd = make_file(self._draft)
        point("segment.made")
        self._buffer: list[Array | bytes] = [_head(number)]
        self._buffered = HEAD_BYTES
        self._flushed = 0
        self._entries: list[Array] = []
        self._finished = False

    @property
    def size(self) -> int:
        """Bytes so far, footer aside."""
        return self._flushed + self._buffered

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._entries

    def add(self, data: Array, entries: Array) -> None:
        """Put encoded blocks behind the others.

        Args:
            data: (N,) u1, the blocks; not changed before `finish`.
            entries: ENTRY of each, offsets counted from the beginning of `data`; entries without rows
                (tombstones) as well.
        """
        placed = entries.copy()
        placed["offset"] += np.where(entries["rows"] > 0, self.size, 0).astype("u8")
        self._entries.append(placed)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= _BUFFER_BYTES:
            self._flush()

    def finish(self) -> Array:
        """Footer, sync, name, sync of the name. Returns the entries as the footer has them.

        Raises:
            StoreFullError: no space; nothing was kept.
            SyncFailedError: whether it is durable is unknown.
        """
        entries = np.concatenate(self._entries) if self._entries else np.empty(0, ENTRY)
        self._buffer += [entries.tobytes(), _footer(self.size, entries)]
        self._flush()
        point("segment.written")
        sync(self._fd, self._draft)
        point("segment.synced")
        rename(self._draft, self.path)
        self._finished = True
        point("segment.renamed")
        sync_folder(self.path.parent)
        point("segment.named")
        return entries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close(self._fd)
        # After a failed sync the draft may have its name already: the next open sorts that out.
        if not self._finished and not isinstance(error, SyncFailedError):
            remove(self._draft)

    def _flush(self) -> None:
        for part in self._buffer:
            data = memoryview(part) if isinstance(part, bytes) else part.data
            write_at(self._fd, data, self._flushed, self._draft)
            self._flushed += len(data)
        self._buffer, self._buffered = [], 0
        point("segment.writing")


class Segment:
    """An open segment: reads bytes, and lists its blocks for the index.

    Raises:
        DamagedDataError: it does not open, or is no segment of this number.
    """

    def __init__(self, path: Path, number: int, *, direct: bool = False) -> None:
        self.path = path
        self.number = number
        self.fd = _open(path)
        try:
            self.size = size_of(self.fd)
            found = self.read(0, HEAD_BYTES)
            if found != _head(number):
                raise DamagedDataError(
                    f"{path} begins with {found[:16]!r}: expected segment {number} of format {_FORMAT}; "
                    "restore it from backup"
                )
        except StoreError:
            close(self.fd)
            raise
        # A second descriptor past the page cache, for blocks alone.
        self.block_fd = open_file(path, direct=True) if direct else self.fd

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file, unverified."""
        return read_at(self.fd, size, offset, self.path)

    def entries(self) -> Array:
        """(K,) ENTRY of the footer. Raises DamagedDataError when it fails its checksum."""
        end = self.size - _TAIL.size
        if end < HEAD_BYTES:
            raise DamagedDataError(f"{self.path} has {self.size} bytes: too few for a segment; restore it")
        place, count, checksum, magic = _TAIL.unpack(self.read(end, _TAIL.size))
        if magic != b"SVSF" or place < HEAD_BYTES or place + count * ENTRY.itemsize != end:
            raise DamagedDataError(
                f"{self.path}, byte {end}: its footer is damaged; restore the file from backup"
            )
        data = self.read(place, end - place)
        if _checksum(place, count, data) != checksum:
            raise DamagedDataError(
                f"{self.path}, byte {place}: its footer fails its checksum; restore the file from backup"
            )
        entries = np.frombuffer(data, ENTRY).copy()
        ends = entries["offset"] + entries["size"]
        blocks = entries["rows"] > 0
        if np.any(ends[blocks] > place) or np.any(entries["offset"][blocks] < HEAD_BYTES):
            raise DamagedDataError(f"{self.path}: its footer names blocks outside of the file; restore it")
        return entries

    def close(self) -> None:
        """Close the file."""
        if self.block_fd != self.fd:
            close(self.block_fd)
        close(self.fd)


def _open(path: Path) -> int:
    try:
        return open_file(path)
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing: the manifest lists it; restore it from backup") from error


def _footer(place: int, entries: Array) -> bytes:
    return _TAIL.pack(place, len(entries), _checksum(place, len(entries), entries.tobytes()), b"SVSF")


def _checksum(place: int, count: int, data: bytes) -> int:
    return hash64(data, hash64(struct.pack("<QQ", place, count)))
