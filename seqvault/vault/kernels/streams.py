"""Patched streams, decoded: the compiled twin of seqvault/vault/format/patched.py.

A stream lies at an address, `end` behind the section that holds it: every length is checked against that
before it is used. What comes back is the address behind the stream, or an error: a code above ERROR. Values
go straight to the caller's memory, u8 or u2: sums wrap in both.
"""

import numpy as np
from numba import njit

from seqvault.vault.format.damage import BAD_COLUMN, BAD_ZSTD
from seqvault.vault.format.zstd import PLAIN_HEAD
from seqvault.vault.kernels.compiled import inner, symbol
from seqvault.vault.kernels.lanes import unpack_plane
from seqvault.vault.kernels.views import bytes_at, memset, view2, view8
from seqvault.vault.kernels.zstd import ZSTD_decompressDCtx

__all__ = [
    "AT_GAPS",
    "AT_HIGHS",
    "AT_OTHER",
    "AT_RANKS",
    "AT_TABLE",
    "AT_TABLE_2",
    "AT_TABLE_3",
    "AT_VALUES",
    "ERROR",
    "ROWS",
    "WORK_BYTES",
    "read_patches",
    "read_stream2",
    "read_stream8",
    "word",
]

ERROR = np.uint64(1 << 63)
_BAD_COLUMN = np.uint64((1 << 63) + BAD_COLUMN)
_BAD_ZSTD = np.uint64((1 << 63) + BAD_ZSTD)

_PLAIN_HEAD = PLAIN_HEAD[0]

# A thread's scratch memory, by use; room for the largest block.
ROWS = 1 << 16
AT_RANKS, AT_OTHER, AT_PLANE, AT_GAPS = (np.uint64(i * 2 * ROWS) for i in range(4))
AT_TABLE, AT_TABLE_2, AT_TABLE_3, AT_HIGHS, AT_VALUES = (np.uint64((8 + 8 * i) * ROWS) for i in range(5))
AT_BYTES = np.uint64(48 * ROWS)
WORK_BYTES = 49 * ROWS

_U0, _U1, _U2, _U4, _U8, _U9, _U15, _U16, _U64 = (np.uint64(i) for i in (0, 1, 2, 4, 8, 9, 15, 16, 64))
_WIDTH, _BYTES, _PATCHED, _LOW = (np.uint64(i) for i in (0x7F, 0x80, 0x100, 0xFF))


@njit(inline="always")
def word(at):  # type: ignore[no-untyped-def]
    """The u2 at an address, as u8."""
    return np.uint64(view2(at, 1)[0])


@inner
def _unpack(source, width, lanes, first, last, base, values, work):  # type: ignore[no-untyped-def]
    """values[: last - first] = base + rows first..last-1 of the lanes of `width` (0..64) bits at `source`."""
    plane = view2(work + AT_PLANE, last - first)
    done = min(width, _U16)
    if done == _U0:
        for i in range(last - first):
            values[np.uint64(i)] = base
        return
    unpack_plane(source, done, lanes, first, last, work + AT_PLANE)
    for i in range(last - first):
        values[np.uint64(i)] = base + np.uint64(plane[np.uint64(i)])
    while done < width:
        bits = min(width - done, _U16)
        unpack_plane(source + _U2 * done * lanes, bits, lanes, first, last, work + AT_PLANE)
        for i in range(last - first):
            values[np.uint64(i)] = np.uint64(values[np.uint64(i)]) + (np.uint64(plane[np.uint64(i)]) << done)
        done += bits


@symbol("u8(u8, u8, u8, u8, u8)")
def read_patches(at, end, patched, head, work):  # type: ignore[no-untyped-def]
    """Gaps and high parts of the patches at `at` into scratch; the address behind them or an error."""
    gap, high = head & _LOW, head >> _U8
    lanes = (patched + _U15) >> _U4
    if gap > _U16 or high > _U64 or at + _U2 * lanes * (gap + high) > end:
        return _BAD_COLUMN
    if gap:
        unpack_plane(at, gap, lanes, _U0, patched, work + AT_GAPS)
    else:
        memset(work + AT_GAPS, 0, _U2 * patched)
    highs = view8(work + AT_HIGHS, patched)
    _unpack(at + _U2 * lanes * gap, high, lanes, _U0, patched, _U0, highs, work)
    return at + _U2 * lanes * (gap + high)


@inner
def _apply_patches(patched, count, first, below, values, work):  # type: ignore[no-untyped-def]
    """Add the high parts in scratch, shifted by `below`, to the values of rows from `first` on.

    Returns:
        whether all of them lie among the `count` rows.
    """
    gaps, highs = view2(work + AT_GAPS, patched), view8(work + AT_HIGHS, patched)
    place = _U0
    for k in range(patched):
        place += np.uint64(gaps[np.uint64(k)])
        if place >= count:
            return False
        # Wraps to far above for rows before the first.
        to = place - first
        if to < np.uint64(values.size):
            values[to] = np.uint64(values[to]) + (highs[np.uint64(k)] << below)
        place += _U1
    return True


@inner
def _add_bytes(source, size, count, first, shift, values, work, zstd):  # type: ignore[no-untyped-def]
    """Add the byte plane in the frame at `source`; whether it decompressed to `count` bytes."""
    to = work + AT_BYTES
    if size == _U0 or bytes_at(source, 1)[0] != _PLAIN_HEAD:
        return False
    if ZSTD_decompressDCtx(zstd, to, np.uint64(ROWS), source, size) != count:
        return False
    plane = bytes_at(to + first, values.size)
    for i in range(np.uint64(values.size)):
        values[np.uint64(i)] = np.uint64(values[np.uint64(i)]) + (np.uint64(plane[np.uint64(i)]) << shift)
    return True


@inner
def _read_stream(at, end, count, first, last, limit, base, values, work, zstd):  # type: ignore[no-untyped-def]
    if at + _U2 > end:
        return _BAD_COLUMN
    head = word(at)
    at += _U2
    width = head & _WIDTH
    frame, patched, patch_head = _U0, _U0, _U0
    below = width
    lanes = (count + _U15) >> _U4
    if head & _BYTES:
        if at + _U2 > end:
            return _BAD_COLUMN
        frame = word(at)
        at += _U2
        below += _U8
    if head & _PATCHED:
        if at + _U4 > end:
            return _BAD_COLUMN
        patched, patch_head = word(at), word(at + _U2)
        at += _U4
    packed, padded = _U2 * lanes * width, (frame + _U1) & ~_U1
    if head >> _U9 or below > limit or at + packed + padded > end:
        return _BAD_COLUMN
    _unpack(at, width, lanes, first, last, base, values, work)
    at += packed
    wanted = head & _BYTES and first < last
    if wanted and not _add_bytes(at, frame, count, first, width, values, work, zstd):
        return _BAD_ZSTD
    at += padded
    if head & _PATCHED:
        if below + (patch_head >> _U8) > limit:
            return _BAD_COLUMN
        at = read_patches(at, end, patched, patch_head, work)
        if at < ERROR and not _apply_patches(patched, count, first, below, values, work):
            return _BAD_COLUMN
    return at


@symbol("u8(u8, u8, u8, u8, u8, u8, u8, u8, u8, u8)")
def read_stream8(at, end, count, first, last, limit, base, to, work, zstd):  # type: ignore[no-untyped-def]
    """Write base + values first..last-1 of the stream of `count` values at `at` to u8 memory.

    Args:
        limit: bits a value may have.
        to: address of last - first u8.
        work: address of the thread's scratch memory.
        zstd: address of a decompression context.

    Returns:
        the address behind the stream, or an error.
    """
    values = view8(to, last - first)
    return _read_stream(at, end, count, first, last, limit, base, values, work, zstd)


@symbol("u8(u8, u8, u8, u8, u8, u8, u8, u8, u8, u8)")
def read_stream2(at, end, count, first, last, limit, base, to, work, zstd):  # type: ignore[no-untyped-def]
    """As read_stream8, modulo 2**16 to u2 memory."""
    values = view2(to, last - first)
    return _read_stream(at, end, count, first, last, limit, base, values, work, zstd)
