"""Segments: immutable files of blocks, with a footer from which the index is rebuilt.

    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
    | SVSG, format u32, number | block |     | block | footer: 48 bytes   | footer place u64, entries u64 |
    | u64, identity, hash: u64 |       |     |       | an entry           | hash u64, SVSF, zero          |
    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
      32 bytes                   multiples of 8 bytes                       32 bytes

Number and identity are the file's own (identity.py): another file under its name is refused. The footer's
hash covers its entries, seeded with their place and count; the manifest has it, too. One user's blocks of a
segment lie side by side, so that a history is read in few pieces. Tombstones, entries without rows, are
blocks without rows as well, so that the blocks alone say all that the footer does (salvage.py).
"""

import struct
from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array
from seqvault.vault.disk.files import close, open_file, read_at, size_of
from seqvault.vault.disk.identity import HEAD_BYTES, SegmentFile, StrangerError, check_head, file_head
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.format.hash64 import hash64

__all__ = ["HEAD_BYTES", "TAIL_BYTES", "Segment", "segment_footer", "segment_head"]

_MAGIC = b"SVSG"
_TAIL = struct.Struct("<QQQ4s4x")
TAIL_BYTES = _TAIL.size


def segment_head(file: SegmentFile) -> bytes:
    """The first bytes of a segment."""
    return file_head(_MAGIC, file.number, file.id)


class Segment:
    """An open segment: reads bytes, and lists its blocks for the index.

    Args:
        file: as the manifest names it.

    Attributes:
        file: with its size and footer's hash, once `entries` has been called.
        block_bytes: of all its blocks, likewise.

    Raises:
        DamagedDataError: it does not open, or is no segment of this number.
        StrangerError: it is another file.
    """

    def __init__(self, path: Path, file: SegmentFile, *, direct: bool = False) -> None:
        self.path = path
        self.file = file
        self.block_bytes = 0
        self.fd = _open(path)
        try:
            self.size = size_of(self.fd)
            check_head(path, self.read(0, HEAD_BYTES), _MAGIC, file.number, file.id)
            # A second descriptor past the page cache, for blocks alone.
            self.block_fd = open_file(path, direct=True) if direct else self.fd
        except StoreError:
            close(self.fd)
            raise

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file, unverified."""
        return read_at(self.fd, size, offset, self.path)

    def entries(self) -> Array:
        """(K,) ENTRY of the footer.

        Raises:
            DamagedDataError: it fails its checksum.
            StrangerError: it is another footer than the one that the manifest names.
        """
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
        if self.file.footer is not None and (self.size, checksum) != (self.file.size, self.file.footer):
            raise StrangerError(
                f"{self.path} is another file of this number: {self.size} bytes, footer {checksum:#x}; the "
                f"manifest names {self.file.size} and {self.file.footer:#x}: put back the one that was there"
            )
        entries = np.frombuffer(data, ENTRY).copy()
        ends = entries["offset"] + entries["size"]
        blocks = entries["rows"] > 0
        if np.any(ends[blocks] > place) or np.any(entries["offset"][blocks] < HEAD_BYTES):
            raise DamagedDataError(f"{self.path}: its footer names blocks outside of the file; restore it")
        self.file = self.file._replace(size=self.size, footer=checksum)
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


def segment_footer(place: int, entries: Array) -> tuple[bytes, int]:
    """The last bytes of a segment whose blocks end at byte `place`, and the hash in them."""
    data = entries.tobytes()
    checksum = _checksum(place, len(entries), data)
    return data + _TAIL.pack(place, len(entries), checksum, b"SVSF"), checksum


def _checksum(place: int, count: int, data: bytes) -> int:
    return hash64(data, hash64(struct.pack("<QQ", place, count)))
