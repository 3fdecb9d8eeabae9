"""Segments: immutable files of blocks, with a footer from which the index is rebuilt.

    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
    | SVSG, format u32         | block |     | block | footer: 48 bytes   | footer place u64, entries u64 |
    | number u64, 0, hash u64  |       |     |       | an entry           | hash u64, SVSF, zero          |
    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
      32 bytes                   multiples of 8 bytes                       32 bytes

`number` is the file's own: a segment under another's name is refused. The footer's hash covers its entries,
seeded with their place and count. One user's blocks of a segment lie side by side, so that a history is read
in few pieces. Tombstones, entries without rows, are blocks without rows as well, so that the blocks alone say
all that the footer does (salvage.py).
"""

import struct
from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array
from seqvault.vault.disk.files import close, open_file, read_at, size_of
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.format.hash64 import hash64

__all__ = ["HEAD_BYTES", "TAIL_BYTES", "Segment", "segment_footer", "segment_head"]

_FORMAT = 2
_HEAD = struct.Struct("<4sIQQQ")
_TAIL = struct.Struct("<QQQ4s4x")
HEAD_BYTES, TAIL_BYTES = _HEAD.size, _TAIL.size


def segment_head(number: int) -> bytes:
    """The first bytes of a segment."""
    fields = struct.pack("<4sIQQ", b"SVSG", _FORMAT, number, 0)
    return fields + struct.pack("<Q", hash64(fields))


class Segment:
    """An open segment: reads bytes, and lists its blocks for the index.

    Attributes:
        block_bytes: of all its blocks, once `entries` has been called.

    Raises:
        DamagedDataError: it does not open, or is no segment of this number.
    """

    def __init__(self, path: Path, number: int, *, direct: bool = False) -> None:
        self.path = path
        self.number = number
        self.block_bytes = 0
        self.fd = _open(path)
        try:
            self.size = size_of(self.fd)
            found = self.read(0, HEAD_BYTES)
            if found != segment_head(number):
                raise DamagedDataError(
                    f"{path} begins with {found[:16]!r}: expected segment {number} of format {_FORMAT}; "
                    "restore it from backup"
                )
            # A second descriptor past the page cache, for blocks alone.
            self.block_fd = open_file(path, direct=True) if direct else self.fd
        except StoreError:
            close(self.fd)
            raise

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file, unverified."""
        return read_at(self.fd, size, offset, self.path)

    def entries(self) -> Array:
        """(K,) ENTRY of the footer. Raises DamagedDataError when it fails its checksum."""
        end = self.size - TAIL_BYTES
        if end < HEAD_BYTES:
            raise DamagedDataError(f"{self.path} has {self.size} bytes: too few for a segment; restore it")
        place, count, checksum, magic = _TAIL.unpack(self.read(end, TAIL_BYTES))
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
        self.block_bytes = int(entries["size"][blocks].sum())
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


def segment_footer(place: int, entries: Array) -> bytes:
    """The last bytes of a segment whose blocks end at byte `place`."""
    data = entries.tobytes()
    return data + _TAIL.pack(place, len(entries), _checksum(place, len(entries), data), b"SVSF")


def _checksum(place: int, count: int, data: bytes) -> int:
    return hash64(data, hash64(struct.pack("<QQ", place, count)))
