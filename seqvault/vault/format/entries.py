"""Entries: what a segment's footer, and the index made from it, know of a user's block without reading it.

An entry first removes every block of its user whose `start` is at least its own, then, if it has rows, is
added. So a later segment replaces the end of a history, and an entry without rows (a tombstone) cuts it off:
with start 0 the user is deleted. Entries are applied in the manifest's order of segments and, within one, in
the footer's.

A user with few behaviours shares a block with others (shared.py). Each of them has an entry of their own,
with the place of the same block, and SHARES added to its size.
"""

import numpy as np

from seqvault.errors import StoreError
from seqvault.schema import Array

__all__ = ["BLOCK", "ENTRY", "MAX_SLOTS", "SHARES", "block_sizes", "check_entries", "is_shared"]

ENTRY = np.dtype(
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
"""48 bytes: rank of the user's first row in the block, within their history; first and last time of the
user's rows; where the block lies in the segment, its bytes, and the user's rows in it. Ranks keep counting
when old rows are dropped."""

BLOCK = np.dtype([*ENTRY.descr, ("slot", "<u4")])
"""A live block: its entry, and the slot of the segment that holds it."""

MAX_SLOTS = 1 << 16
# The lowest bit of a size: blocks are multiples of 8 bytes.
SHARES = 1

# What the index packs into 32 bytes per block; each bound is exclusive.
_LIMITS = {"start": 1 << 32, "offset": 1 << 43, "size": 1 << 26, "rows": (1 << 16) + 1}


def is_shared(entries: Array) -> Array:
    """(K,) bool: whether other users' behaviours are in the same block.

    Args:
        entries: (K,) ENTRY or BLOCK.
    """
    shared: Array = (entries["size"] & SHARES) != 0
    return shared


def block_sizes(entries: Array) -> Array:
    """(K,) u4: bytes of each entry's block."""
    sizes: Array = entries["size"] & ~np.uint32(SHARES)
    return sizes


def check_entries(slot: int, entries: Array) -> None:
    """Refuse what the index cannot hold. Raises StoreError."""
    if not 0 <= slot < MAX_SLOTS:
        raise StoreError(f"segment slot {slot}: expected 0..{MAX_SLOTS - 1}; compact the store")
    if not entries.size:
        return
    for name, limit in _LIMITS.items():
        if int(entries[name].max()) >= limit:
            raise StoreError(f"an entry has {name}={int(entries[name].max())}: expected less than {limit}")
    if np.any((entries["offset"] | block_sizes(entries)) & 7):
        raise StoreError("an entry's offset or size is no multiple of 8: blocks are aligned")
    if np.any((entries["size"] == 0) & (entries["rows"] > 0)):
        raise StoreError("an entry has rows but no bytes")
