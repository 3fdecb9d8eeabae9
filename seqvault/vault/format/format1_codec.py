"""Format 1's column codecs, to read stores that version 0.1 wrote.

FRAME    every value less the smallest, in the narrowest of 0, 1, 2, 4 bits or 1 to 8 bytes
DICT     the sorted distinct values as a frame, then each value's rank as a frame
DELTA    for times, which never fall: differences in 1, 2 or 4 bytes; the few that do not fit, in full, behind
         them with their positions

Times are summed backwards from the block's last time."""

from typing import NamedTuple

import numpy as np

from seqvault.schema import Array

__all__ = ["ColumnHead", "decode"]

FRAME, DICT, DELTA = 0, 1, 2
HEAD_FORMAT = "BBBxIQI"

_NARROW = {bits: np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)}
# What one byte of 1-, 2- or 4-bit values unpacks to, lowest bits first; the values of a byte as one integer,
# so that unpacking is a single lookup a byte.
_UNPACKED = {
    bits: ((np.arange(256)[:, None] >> np.arange(0, 8, bits)) & ((1 << bits) - 1))
    .astype("u1")
    .view(f"<u{8 // bits}")
    .reshape(-1)
    for bits in (1, 2, 4)
}


class ColumnHead(NamedTuple):
    """How one column of a block is stored.

    Args:
        codec: FRAME, DICT or DELTA.
        bits: width of a value, a rank or a difference.
        side_bits: width of a dictionary entry, or of a difference that did not fit.
        side_count: dictionary entries, or differences that did not fit.
        base: smallest value modulo 2**64; unused by DELTA.
        size: bytes of the column.
    """

    codec: int
    bits: int
    side_bits: int
    side_count: int
    base: int
    size: int


def decode(
    head: ColumnHead, data: bytes, at: int, rows: int, first: int, last_s: int, dtype: np.dtype[np.generic]
) -> Array:
    """Rows first..rows-1 of the column at byte `at` of verified bytes; perhaps a read-only view."""
    if head.codec == DELTA:
        return _decode_delta(head, data, at, rows, first, last_s)
    if head.codec == DICT:
        entries = _restore(_unpack(data, at, head.side_bits, 0, head.side_count), head.base, dtype)
        ranks = _unpack(data, at + _size(head.side_count, head.side_bits), head.bits, first, rows)
        return entries[ranks]
    return _restore(_unpack(data, at, head.bits, first, rows), head.base, dtype)


def _decode_delta(head: ColumnHead, data: bytes, at: int, rows: int, first: int, last_s: int) -> Array:
    if first >= rows:
        return np.empty(0, "i8")
    times = _unpack(data, at, head.bits, first, rows).astype("i8")
    if head.side_count:
        side = at + _size(rows, head.bits)
        positions = np.frombuffer(data, "<u2", head.side_count, side)
        misfits_s = _unpack(data, side + 2 * head.side_count, head.side_bits, 0, head.side_count)
        skip = int(np.searchsorted(positions, first)) if first else 0
        times[positions[skip:] - np.uint16(first)] = misfits_s[skip:].astype("u8").view("i8")
    times[0] = 0
    # Array arithmetic wraps, as the differences of times further apart than 2**63 seconds did.
    times[:1] = last_s - times.sum(keepdims=True)
    return np.cumsum(times, out=times)


def _size(count: int, bits: int) -> int:
    return (count * bits + 7) // 8


def _unpack(data: bytes, at: int, bits: int, first: int, end: int) -> Array:
    """Values first..end-1 of those packed from byte `at` on."""
    if bits in _NARROW:
        return np.frombuffer(data, _NARROW[bits], end - first, at + first * bits // 8)
    if bits == 0:
        return np.zeros(end - first, "u1")
    if bits > 8:
        size = bits // 8
        wide = np.dtype("<u4" if size <= 4 else "<u8")
        overlapping: Array = np.ndarray((end - first,), wide, data, at + first * size, (size,))
        masked: Array = overlapping & wide.type((1 << bits) - 1)
        return masked
    per_byte = 8 // bits
    skipped = first // per_byte
    packed = np.frombuffer(data, "u1", -(-end // per_byte) - skipped, at + skipped)
    values = _UNPACKED[bits].take(packed).view("u1")
    return values[first - skipped * per_byte : end - skipped * per_byte]


def _restore(offsets: Array, base: int, dtype: np.dtype[np.generic]) -> Array:
    if base == 0:
        return offsets.astype(dtype, copy=False)
    return (offsets.astype("u8") + np.uint64(base)).astype(dtype)
