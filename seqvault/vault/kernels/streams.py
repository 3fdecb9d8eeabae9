"""Patched streams, decoded: the compiled twin of seqvault/vault/patched.py.

A section is an array of its u2 words; what follows a stream is returned as a position in it, or an error: a
code above ERROR. Every length is checked against the section before it is used. Values go straight to the
caller's array, of whatever width: sums there wrap as they do in u8.
"""

import numpy as np
from numba import njit

from seqvault.vault.damage import BAD_COLUMN, BAD_ZSTD, NO_DICTIONARY
from seqvault.vault.kernels.lanes import unpack_plane
from seqvault.vault.kernels.views import bytes_at, view2, view8
from seqvault.vault.kernels.zstd import ZSTD_decompressDCtx

__all__ = [
    "AT_GAPS",
    "AT_HIGHS",
    "AT_OTHER",
    "AT_RANKS",
    "AT_TABLE",
    "AT_TABLE_2",
    "AT_VALUES",
    "ERROR",
    "ROWS",
    "WORK_BYTES",
    "read_patches",
    "read_stream",
]

ERROR = np.uint64(1 << 63)
_BAD_COLUMN = np.uint64((1 << 63) + BAD_COLUMN)
_BAD_ZSTD = np.uint64((1 << 63) + BAD_ZSTD)
_NO_DICTIONARY = np.uint64((1 << 63) + NO_DICTIONARY)

# A thread's scratch memory, by use; room for the largest block.
ROWS = 1 << 16
AT_RANKS, AT_OTHER, AT_PLANE, AT_GAPS = (np.uint64(i * 2 * ROWS) for i in range(4))
AT_TABLE, AT_TABLE_2, AT_HIGHS, AT_VALUES = (np.uint64((8 + 8 * i) * ROWS) for i in range(4))
AT_BYTES = np.uint64(40 * ROWS)
WORK_BYTES = 41 * ROWS

_U0, _U1, _U2, _U4, _U8, _U9, _U15, _U16, _U64 = (np.uint64(i) for i in (0, 1, 2, 4, 8, 9, 15, 16, 64))
_WIDTH, _BYTES, _PATCHED, _LOW = (np.uint64(i) for i in (0x7F, 0x80, 0x100, 0xFF))


@njit(nogil=True)
def read_stream(words, at, count, first, last, limit, base, values, work, context):  # type: ignore[no-untyped-def]
    """values[: last - first] = base + values first..last-1 of the stream of `count` at words[at].

    Args:
        limit: bits a value may have.
        work: address of the thread's scratch memory.
        context: what zstd needs; see scratch.py.

    Returns:
        the position behind the stream, or an error.
    """
    end = np.uint64(words.size)
    if at + _U1 > end:
        return _BAD_COLUMN
    head = np.uint64(words[at])
    at += _U1
    width = head & _WIDTH
    frame, patched, patch_head = _U0, _U0, _U0
    below = width
    lanes = (count + _U15) >> _U4
    if head & _BYTES:
        if at + _U1 > end:
            return _BAD_COLUMN
        frame = np.uint64(words[at])
        at += _U1
        below += _U8
    if head & _PATCHED:
        if at + _U2 > end:
            return _BAD_COLUMN
        patched, patch_head = np.uint64(words[at]), np.uint64(words[at + _U1])
        at += _U2
    size = lanes * width + ((frame + _U1) >> _U1)
    if head >> _U9 or below > limit or at + size > end:
        return _BAD_COLUMN
    _unpack(words, at, width, lanes, first, last, base, values, work)
    at += lanes * width
    if head & _BYTES:
        if first < last and not _add_bytes(
            words, at, frame, count, first, last, width, values, work, context
        ):
            return _BAD_ZSTD
        at += (frame + _U1) >> _U1
    if head & _PATCHED:
        if below + (patch_head >> _U8) > limit:
            return _BAD_COLUMN
        at = read_patches(words, at, patched, patch_head, work)
        if at < ERROR and not _apply_patches(patched, count, first, last, below, values, work):
            return _BAD_COLUMN
    return at


@njit(nogil=True)
def read_patches(words, at, patched, head, work):  # type: ignore[no-untyped-def]
    """Gaps and high parts of the patches at words[at] into scratch; the position behind them or an error."""
    gap, high = head & _LOW, head >> _U8
    lanes = (patched + _U15) >> _U4
    if gap > _U16 or high > _U64 or at + lanes * (gap + high) > np.uint64(words.size):
        return _BAD_COLUMN
    gaps, highs = view2(work + AT_GAPS, ROWS), view8(work + AT_HIGHS, ROWS)
    if gap:
        unpack_plane(words, at, gap, lanes, _U0, patched, gaps)
    else:
        gaps[:patched] = 0
    _unpack(words, at + lanes * gap, high, lanes, _U0, patched, _U0, highs, work)
    return at + lanes * (gap + high)


@njit(nogil=True)
def _apply_patches(patched, count, first, last, below, values, work):  # type: ignore[no-untyped-def]
    """Add the high parts in scratch, shifted by `below`, to values of rows first..last-1.

    Returns:
        whether all of them lie among the `count` rows.
    """
    gaps, highs = view2(work + AT_GAPS, ROWS), view8(work + AT_HIGHS, ROWS)
    place = _U0
    for k in range(patched):
        place += np.uint64(gaps[np.uint64(k)])
        if place >= count:
            return False
        # Wraps to far above for rows before the first.
        to = place - first
        if to < last - first:
            values[to] = np.uint64(values[to]) + (highs[np.uint64(k)] << below)
        place += _U1
    return True


@njit(nogil=True)
def _unpack(words, at, width, lanes, first, last, base, values, work):  # type: ignore[no-untyped-def]
    """values[: last - first] = base + the lanes of `width` (0..64) bits at words[at], rows first..last-1."""
    plane = view2(work + AT_PLANE, ROWS)
    rows = last - first
    done = min(width, _U16)
    if done == _U0:
        for i in range(rows):
            values[np.uint64(i)] = base
        return
    unpack_plane(words, at, done, lanes, first, last, plane)
    for i in range(rows):
        values[np.uint64(i)] = base + np.uint64(plane[np.uint64(i)])
    while done < width:
        bits = min(width - done, _U16)
        unpack_plane(words, at + done * lanes, bits, lanes, first, last, plane)
        for i in range(rows):
            values[np.uint64(i)] = np.uint64(values[np.uint64(i)]) + (np.uint64(plane[np.uint64(i)]) << done)
        done += bits


@njit(nogil=True)
def _add_bytes(words, at, frame, count, first, last, shift, values, work, context):  # type: ignore[no-untyped-def]
    """Add the byte plane compressed in `frame` bytes at words[at]; whether it decompressed to `count` bytes."""
    source = np.uint64(words.ctypes.data) + (at << _U1)
    if ZSTD_decompressDCtx(context[_U0], work + AT_BYTES, np.uint64(ROWS), source, frame) != count:
        return False
    plane = bytes_at(work + AT_BYTES, ROWS)
    for i in range(last - first):
        more = np.uint64(plane[first + np.uint64(i)]) << shift
        values[np.uint64(i)] = np.uint64(values[np.uint64(i)]) + more
    return True
