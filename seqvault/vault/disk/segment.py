"""Segments: immutable files of blocks, with a footer from which the index is rebuilt.

    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
    | SVSG, format u32, number | block |     | block | footer: entries,   | footer place u64, entries u64 |
    | u64, identity, hash: u64 |       |     |       | packed             | hash u64, SVSE, zero          |
    +--------------------------+-------+- - -+-------+--------------------+-------------------------------+
      32 bytes                   multiples of 8 bytes                       32 bytes

Number and identity are the file's own (identity.py): another file under its name is refused. The footer's
hash covers its entries unpacked (entries.py; footer.py packs them), seeded with their place and count; the
manifest has it, too. Before format 4 they were not packed, and the magic was SVSF. One user's blocks of a
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
from seqvault.vault.format.damage import BlockDamage
from seqvault.vault.format.entries import ENTRY, block_sizes, is_shared
from seqvault.vault.format.footer import pack_entries, unpack_entries
from seqvault.vault.format.hash64 import hash64

__all__ = ["HEAD_BYTES", "TAIL_BYTES", "Segment", "segment_footer", "segment_head"]

_MAGIC = b"SVSG"
_PACKED, _UNPACKED = b"SVSE", b"SVSF"
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
        shared_row_bytes: mean bytes of a row in its shared blocks, likewise.

    Raises:
        DamagedDataError: it does not open, or is no segment of this number.
        StrangerError: it is another file.
    """

    def __init__(self, path: Path, file: SegmentFile, *, direct: bool = False) -> None:
        self.path = path
        self.file = file
        self.block_bytes = 0
        self.shared_row_bytes = 0.0
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
        packed = magic == _PACKED
        as_long = place <= end if packed else place + count * ENTRY.itemsize == end
        if magic not in (_PACKED, _UNPACKED) or place < HEAD_BYTES or not as_long:
            raise DamagedDataError(
                f"{self.path}, byte {end}: its footer is damaged; restore the file from backup"
            )
        data = self.read(place, end - place)
        entries = _unpacked(data) if packed else np.frombuffer(data, ENTRY).copy()
        if entries is None or len(entries) != count or _checksum(place, entries) != checksum:
            raise DamagedDataError(
                f"{self.path}, byte {place}: its footer fails its checksum; restore the file from backup"
            )
        if self.file.footer is not None and (self.size, checksum) != (self.file.size, self.file.footer):
            raise StrangerError(
                f"{self.path} is another file of this number: {self.size} bytes, footer {checksum:#x}; the "
                f"manifest names {self.file.size} and {self.file.footer:#x}: put back the one that was there"
            )
        blocks = entries[entries["rows"] > 0]
        ends = blocks["offset"] + block_sizes(blocks)
        if np.any(ends > place) or np.any(blocks["offset"] < HEAD_BYTES):
            raise DamagedDataError(f"{self.path}: its footer names blocks outside of the file; restore it")
        self.file = self.file._replace(size=self.size, footer=checksum)
        self._count(blocks)
        return entries

    def _count(self, blocks: Array) -> None:
        """Sum up the bytes of blocks, a shared one once."""
        shared = is_shared(blocks)
        _, first = np.unique(blocks["offset"][shared], return_index=True)
        shared_bytes = int(block_sizes(blocks)[shared][first].sum(dtype="i8"))
        self.block_bytes = int(blocks["size"][~shared].sum(dtype="i8")) + shared_bytes
        self.shared_row_bytes = shared_bytes / max(int(blocks["rows"][shared].sum(dtype="i8")), 1)

    def live_bytes(self, own: int, shared_rows: int) -> int:
        """Bytes of it that are live: those of blocks of one user, and their rows' part of shared ones."""
        return own + int(shared_rows * self.shared_row_bytes)

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


def segment_footer(place: int, entries: Array, *, packed: bool = True) -> tuple[bytes, int]:
    """The last bytes of a segment whose blocks end at byte `place`, and the hash in them.

    Args:
        packed: False as before format 4.
    """
    data = pack_entries(entries) if packed else entries.tobytes()
    checksum = _checksum(place, entries)
    magic = _PACKED if packed else _UNPACKED
    return data + _TAIL.pack(place, len(entries), checksum, magic), checksum


def _unpacked(data: bytes) -> Array | None:
    try:
        return unpack_entries(data)
    except BlockDamage:
        return None


def _checksum(place: int, entries: Array) -> int:
    return hash64(entries.tobytes(), hash64(struct.pack("<QQ", place, len(entries))))
