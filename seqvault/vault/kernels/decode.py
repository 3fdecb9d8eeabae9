"""Blocks, verified and decoded: the compiled twin of seqvault/vault/block.py.

`verify_block` once a block, then `decode_rows` as often as rows or columns are wanted. Neither reads or writes
a byte outside what it was given, whatever the block holds.
"""

import numpy as np
from numba import njit

from seqvault.vault.block import HEAD, MAGIC, MAX_ROWS
from seqvault.vault.codec import CODEC, FRAME, PARENT
from seqvault.vault.damage import (
    BAD_CALL,
    BAD_COLUMN,
    BAD_HASH,
    BAD_MAGIC,
    BAD_SIZE,
    NOT_EXPECTED,
    OK,
)
from seqvault.vault.kernels.columns import read_derived, read_narrow, read_plain, read_ranks
from seqvault.vault.kernels.hash64 import hash64_words
from seqvault.vault.kernels.outputs import store_chosen, store_default, store_low_bytes, store_narrow
from seqvault.vault.kernels.streams import AT_RANKS, AT_TABLE, AT_VALUES, ERROR, ROWS, WORK_BYTES
from seqvault.vault.kernels.views import view2, view4, view8

__all__ = ["MISSING", "block_schema", "decode_rows", "verify_block"]

# Position of a column the block's schema does not have.
MISSING = 1 << 32

_MAGIC = int.from_bytes(MAGIC, "little")
_HEAD = np.uint64(HEAD.size)
_NO_COLUMN = np.uint64(MISSING)
_U0, _U1, _U2, _U3, _U4, _U7, _U8, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7, 8, 32))
_LOW32 = np.uint64(0xFFFFFFFF)
# Fields of the header, in words of eight bytes.
_HASH, _USER, _START, _FIRST, _LAST, _ROWS, _COLUMNS = (np.uint64(i) for i in range(1, 8))
_PARENT, _CODEC, _FRAME = np.uint64(PARENT), np.uint64(CODEC), np.uint64(FRAME)


@njit(nogil=True)
def _fits(wanted, address, size, row, count):  # type: ignore[no-untyped-def]
    """Whether every output column has room for rows row..row+count-1, at an aligned place."""
    if row > _LOW32 or size >> np.uint64(48):
        return False
    for p in range(wanted.shape[0]):
        width, offset = wanted[np.uint64(p), _U1], wanted[np.uint64(p), _U2]
        if width not in (_U1, _U2, _U4, _U8) or (address + offset) & (width - _U1):
            return False
        if offset > size or (row + count) * width > size - offset:
            return False
    return True


@njit(nogil=True)
def _section(place, size, column):  # type: ignore[no-untyped-def]
    """The words of a column, none if the block has no such column or its sizes are impossible."""
    head = view8(place, _HEAD >> _U3)
    columns = head[_COLUMNS] & _LOW32
    sizes = view4(place + _HEAD, columns)
    begin = _HEAD + columns * _U4
    if column >= columns:
        return view2(place, _U0)
    for i in range(column):
        begin += np.uint64(sizes[np.uint64(i)])
    length = np.uint64(sizes[column])
    if (begin | length) & _U1 or begin + length > size:
        return view2(place, _U0)
    return view2(place + begin, length >> _U1)


@njit(nogil=True)
def _decode(place, size, first, last, column, to, width, held, work, context):  # type: ignore[no-untyped-def]
    """One column to an output: a position or an error, and (column whose ranks lie in scratch, its entries)."""
    head = view8(place, _HEAD >> _U3)
    rows, last_s, count = head[_ROWS] & _LOW32, head[_LAST], last - first
    words = _section(place, size, column)
    if words.size == 0:
        return np.uint64(ERROR + np.uint64(BAD_COLUMN)), held
    parent = np.uint64(words[_U0]) >> _PARENT
    if parent:
        if held[0] != parent - _U1:
            entries = read_ranks(_section(place, size, parent - _U1), rows, first, last, work, context)
            if entries >= ERROR:
                return entries, held
            held = (parent - _U1, entries)
        return read_derived(words, rows, first, last, last_s, held[1], to, width, work, context), held
    if width <= _U2 and np.uint64(words[_U0]) & _CODEC == _FRAME:
        narrow = view2(to if width == _U2 else work + AT_VALUES, count)
        code = read_narrow(words, rows, first, last, narrow, work, context)
        if width == _U1 and code < ERROR:
            store_low_bytes(to, narrow)
        return code, held
    values = view8(to if width == _U8 else work + AT_VALUES, count)
    ranks, table = view2(work + AT_RANKS, ROWS), view8(work + AT_TABLE, ROWS)
    code, entries = read_plain(words, rows, first, last, last_s, values, ranks, table, work, context)
    if code >= ERROR:
        return code, held
    if entries:
        store_chosen(to, width, count, ranks, table)
        return code, (column, entries)
    if width != _U8:
        store_narrow(to, width, values)
    return code, held


@njit("i8(u1[::1], u8, u8, u8, u8, u8, i8, i8)", nogil=True, cache=True)
def verify_block(data, at, size, user, start, rows, first_s, last_s):  # type: ignore[no-untyped-def]
    """Whether the block of `size` bytes at data[at] is intact and the one the index lists: OK or a code.

    `at`, `size` and the address of `data` are multiples of 8.
    """
    length = np.uint64(data.size)
    if (at | size) & _U7 or size < _HEAD or at > length or size > length - at:
        return BAD_SIZE
    head = view8(np.uint64(data.ctypes.data) + at, size >> _U3)
    if head[_U0] & _LOW32 != np.uint64(_MAGIC):
        return BAD_MAGIC
    if head[_U0] >> _U32 != size:
        return BAD_SIZE
    if hash64_words(data, at + np.uint64(16), size - np.uint64(16), head[_U0]) != head[_HASH]:
        return BAD_HASH
    same = head[_USER] == user and head[_START] == start and head[_ROWS] & _LOW32 == rows
    if not (same and np.int64(head[_FIRST]) == first_s and np.int64(head[_LAST]) == last_s):
        return NOT_EXPECTED
    return OK


@njit("u8(u1[::1], u8)", nogil=True, cache=True)
def block_schema(data, at):  # type: ignore[no-untyped-def]
    """The schema id of a verified block."""
    return view8(np.uint64(data.ctypes.data) + at, _HEAD >> _U3)[_ROWS] >> _U32


@njit("i8(u1[::1], u8, u8, u8, u8, u8[:, ::1], u1[::1], u8, u1[::1], u8[::1])", nogil=True, cache=True)
def decode_rows(data, at, size, first, last, wanted, out, row, work, context):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of a block's columns into rows row.. of the caller's: OK or a code.

    Args:
        data, at, size: the block, verified; `at`, `size` and the address multiples of 8.
        wanted: (P, 4) of each output column: its position in the block's schema or MISSING; its width in bytes;
            where its row 0 is in `out`, a multiple of the width; its value where it is missing.
        out: memory of the output columns.
        work: (WORK_BYTES,) scratch of this thread.
        context: zstd's part of it; see scratch.py.
    """
    length = np.uint64(data.size)
    if (at | size) & _U7 or size < _HEAD or at > length or size > length - at:
        return BAD_CALL
    head = view8(np.uint64(data.ctypes.data) + at, size >> _U3)
    rows, columns = head[_ROWS] & _LOW32, head[_COLUMNS] & _LOW32
    if rows == _U0 or rows > np.uint64(MAX_ROWS) or columns > np.uint64(64) or _HEAD + columns * _U4 > size:
        return BAD_COLUMN
    if first > last or last > rows or np.uint64(work.size) < np.uint64(WORK_BYTES):
        return BAD_CALL
    if not _fits(wanted, np.uint64(out.ctypes.data), np.uint64(out.size), row, last - first):
        return BAD_CALL
    if first == last:
        return OK
    place = np.uint64(data.ctypes.data) + at
    scratch = np.uint64(work.ctypes.data)
    held = (_NO_COLUMN, _U0)
    for p in range(wanted.shape[0]):
        column, width = wanted[np.uint64(p), _U0], wanted[np.uint64(p), _U1]
        to = np.uint64(out.ctypes.data) + wanted[np.uint64(p), _U2] + row * width
        if column == _NO_COLUMN:
            store_default(to, width, last - first, wanted[np.uint64(p), _U3])
            continue
        code, held = _decode(place, size, first, last, column, to, width, held, scratch, context)
        if code >= ERROR:
            return np.int64(code - ERROR)
    return OK
