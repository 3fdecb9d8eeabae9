"""A segment whose footer is damaged: its entries, read from the blocks themselves.

Blocks are self-describing and lie behind each other from the segment's head to its footer, tombstones among
them as blocks without rows; shared ones say whose each row is. So the chain of intact blocks gives the
footer's entries back. That no block is missing at the chain's end is proved by the manifest, which has the
footer's hash. A manifest of format 2
has none: then it is proved by what is left of the footer, its first entry, where the chain ends, or its last
32 bytes, whose checksum covers all entries. Without a proof nothing is believed: a block that is missed would
let an older version of a history, or a deleted one, come back.
"""

import numpy as np

from seqvault.schema import Array
from seqvault.vault.compiled.options import Options
from seqvault.vault.compiled.whole import shared_entries
from seqvault.vault.disk.segment import HEAD_BYTES, TAIL_BYTES, Segment, segment_footer
from seqvault.vault.format.block import HEAD, MAGIC, OWN, read_header
from seqvault.vault.format.damage import BlockDamage
from seqvault.vault.format.entries import ENTRY, block_sizes
from seqvault.vault.format.hash64 import hash64_rows

__all__ = ["entries_of_blocks", "stone_blocks"]

# Read at once; a block may be larger.
_WINDOW_BYTES = 8 << 20
_MOST_BYTES = 1 << 27


def stone_blocks(stones: Array) -> Array:
    """Blocks without rows, for tombstones: (64 K,) u1.

    Args:
        stones: (K,) ENTRY.
    """
    words = np.zeros((len(stones), HEAD.size // 8), "<u8")
    words[:, 0] = int.from_bytes(MAGIC, "little") | HEAD.size << 32
    words[:, 2], words[:, 3] = stones["user"], stones["start"]
    words[:, 1] = hash64_rows(words[:, 2:], words[:, 0])
    return words.reshape(-1).view("u1")


def entries_of_blocks(segment: Segment) -> Array | None:
    """(K,) ENTRY, exactly those of the footer that was written; None where that is not certain.

    Raises:
        DamagedDataError: the device does not read.
    """
    entries, end = _chain(segment)
    if not len(entries):
        return None
    # Without a hash in the manifest it is of a format before they were packed.
    footer, checksum = segment_footer(end, entries, packed=False)
    if segment.file.footer is not None:
        return entries if segment.file.footer == checksum else None
    first, last = footer[: ENTRY.itemsize], footer[-TAIL_BYTES:]
    left = segment.size - end
    begins = left >= len(first) and segment.read(end, len(first)) == first
    ends = left == len(footer) and segment.read(segment.size - len(last), len(last)) == last
    return entries if begins or ends else None


def _chain(segment: Segment) -> tuple[Array, int]:
    """The intact blocks that follow each other behind the head, and the byte behind the last."""
    at, window = HEAD_BYTES, _WINDOW_BYTES
    parts = [np.empty(0, ENTRY)]
    while at + HEAD.size <= segment.size:
        data = np.frombuffer(bytearray(segment.read(at, min(window, segment.size - at))), "u1")
        found = _plainly(data, at) if Options().plain else _compiled(data, at)
        if not len(found):
            found = _shared(data, at)
        window = _WINDOW_BYTES
        if not len(found):
            size = int.from_bytes(data[4:8].tobytes(), "little")
            if not len(data) < size <= min(segment.size - at, _MOST_BYTES):
                break
            window = size
            continue
        parts.append(found)
        at = int(found["offset"][-1]) + int(block_sizes(found)[-1])
    entries = np.concatenate(parts)
    stones = entries["rows"] == 0
    entries["offset"][stones] = entries["size"][stones] = 0
    return entries, at


def _shared(data: Array, base: int) -> Array:
    """The entries of a shared block, if there is one."""
    try:
        return shared_entries(data, base, plain=Options().plain)
    except BlockDamage:
        return np.empty(0, ENTRY)


def _compiled(data: Array, base: int) -> Array:
    from seqvault.vault.kernels.verify import next_blocks

    entries = np.empty(len(data) // HEAD.size, ENTRY)
    return entries[: int(next_blocks(data, base, entries.view("u8").reshape(-1, 6)))]


def _plainly(data: Array, base: int) -> Array:
    at, found = 0, []
    while at < len(data):
        try:
            head = read_header(data, at)
        except BlockDamage:
            break
        if head.kind != OWN:
            break
        found.append((head.user, head.start, head.first_s, head.last_s, base + at, head.size, head.rows))
        at += head.size
    return np.array(found, ENTRY)
