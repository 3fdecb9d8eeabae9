"""Blocks, verified and decoded: the compiled twin of seqvault/vault/format/block.py.

`verify_block` once per block, then `decode_rows` as often as rows or columns are wanted. Neither reads or
writes a byte outside what it was given, whatever the block holds.
"""

import numpy as np

from seqvault.vault.format.block import ENTRIES, HEAD, MAGIC, MAX_ROWS, OWN, SHARED
from seqvault.vault.format.codec import CODEC, DICT, FRAME, PARENT, UNUSED
from seqvault.vault.format.damage import (
    BAD_CALL,
    BAD_COLUMN,
    BAD_HASH,
    BAD_MAGIC,
    BAD_SIZE,
    NOT_EXPECTED,
    OK,
)
from seqvault.vault.kernels.columns import (
    read_derived,
    read_dictionary,
    read_frame2,
    read_plain,
)
from seqvault.vault.kernels.compiled import inner, kernel
from seqvault.vault.kernels.hash64 import hash64_words
from seqvault.vault.kernels.outputs import store_chosen, store_default, store_low_bytes, store_narrow
from seqvault.vault.kernels.streams import (
    AT_OTHER,
    AT_RANKS,
    AT_TABLE,
    AT_TABLE_2,
    AT_VALUES,
    ERROR,
    WORK_BYTES,
    word,
)
from seqvault.vault.kernels.views import address_in, view4, view8

__all__ = ["MISSING", "block_schema", "decode_rows", "verify_block", "verify_shared"]

# Position of a column the block's schema does not have.
MISSING = 1 << 32

_MAGIC = int.from_bytes(MAGIC, "little")
_HEAD = np.uint64(HEAD.size)
_NO_COLUMN = np.uint64(MISSING)
_U0, _U1, _U2, _U3, _U4, _U7, _U8, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7, 8, 32))
_LOW32 = np.uint64(0xFFFFFFFF)
# Fields of the header, in words of eight bytes.
_HASH, _USER, _START, _FIRST, _LAST, _ROWS, _COLUMNS = (np.uint64(i) for i in range(1, 8))
_PARENT, _CODEC, _FRAME, _DICT = np.uint64(PARENT), np.uint64(CODEC), np.uint64(FRAME), np.uint64(DICT)
_UNUSED = np.uint64(UNUSED)
_BAD_COLUMN = np.uint64((1 << 63) + BAD_COLUMN)


@inner
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


@inner
def _section(place, size, column):  # type: ignore[no-untyped-def]
    """Where a column's section begins and ends; an empty one if there is none, or none that is possible."""
    columns = view8(place, _HEAD >> _U3)[_COLUMNS] & _LOW32
    sizes = view4(place + _HEAD, columns)
    begin = _HEAD + columns * _U4
    if column >= columns:
        return place, place
    for i in range(column):
        begin += np.uint64(sizes[np.uint64(i)])
    end = begin + np.uint64(sizes[column])
    if (begin | end) & _U1 or end > size or end - begin < _U2:
        return place, place
    return place + begin, place + end


@inner
def _hold(place, size, first, last, column, held, source):  # type: ignore[no-untyped-def]
    """Ranks and dictionary of a column in scratch: what is held then, or an error."""
    if held[0] == column:
        return _U0, held
    section = _section(place, size, column)
    if section[0] == section[1] or word(section[0]) >> _PARENT:
        return _BAD_COLUMN, held
    rows = view8(place, _HEAD >> _U3)[_ROWS] & _LOW32
    ranks, table = source[0] + AT_RANKS, source[0] + AT_TABLE
    at, entries = read_dictionary(section, rows, first, last, ranks, table, source)
    return at, (column, entries)


@inner
def _decode(place, size, first, last, column, to, width, held, source):  # type: ignore[no-untyped-def]
    """One column to an output.

    Args:
        held: column whose ranks and dictionary lie in scratch, and its entries.

    Returns:
        a code above ERROR for an error; what is held then.
    """
    section = _section(place, size, column)
    if section[0] == section[1]:
        return _BAD_COLUMN, held
    block, count, work = view8(place, _HEAD >> _U3), last - first, source[0]
    rows, last_s, head = block[_ROWS] & _LOW32, block[_LAST], word(section[0])
    if head & _UNUSED:
        return _BAD_COLUMN, held
    if head >> _PARENT:
        code, held = _hold(place, size, first, last, (head >> _PARENT) - _U1, held, source)
        if code >= ERROR:
            return code, held
        return read_derived(section, rows, first, last, last_s, held[1], to, width, source), held
    if head & _CODEC == _DICT:
        code, held = _hold(place, size, first, last, column, held, source)
        if code >= ERROR:
            return code, held
        store_chosen(to, width, count, work + AT_RANKS, work + AT_TABLE)
        return code, held
    if width <= _U2 and head & _CODEC == _FRAME:
        code = read_frame2(section, rows, first, last, to if width == _U2 else work + AT_VALUES, source)
        if width == _U1:
            store_low_bytes(to, count, work + AT_VALUES)
        return code, held
    values = to if width == _U8 else work + AT_VALUES
    # Neither a frame nor differences touch ranks; differences use the second table.
    code, _entries = read_plain(
        section, rows, first, last, last_s, values, work + AT_OTHER, work + AT_TABLE_2, source
    )
    if width != _U8:
        store_narrow(to, width, count, values)
    return code, held


@inner
def _intact(data, at, size):  # type: ignore[no-untyped-def]
    """Whether size and checksum of a block are right: OK or a code."""
    length = np.uint64(data.size)
    if (at | size) & _U7 or size < _HEAD or at > length or size > length - at:
        return BAD_SIZE
    head = view8(address_in(data) + at, size >> _U3)
    if head[_U0] & _LOW32 != np.uint64(_MAGIC):
        return BAD_MAGIC
    if head[_U0] >> _U32 != size:
        return BAD_SIZE
    if hash64_words(data, at + np.uint64(16), size - np.uint64(16), head[_U0]) != head[_HASH]:
        return BAD_HASH
    return OK


@kernel("i8(u1[::1], u8, u8, u8, u8, u8, i8, i8)")
def verify_block(data, at, size, user, start, rows, first_s, last_s):  # type: ignore[no-untyped-def]
    """Whether the block of `size` bytes at data[at] is intact and the one user's that the index lists.

    Returns OK or a code.

    `at`, `size` and the address of `data` are multiples of 8.
    """
    code = _intact(data, at, size)
    if code != OK:
        return code
    head = view8(address_in(data) + at, size >> _U3)
    same = head[_USER] == user and head[_START] == start and head[_ROWS] & _LOW32 == rows
    same = same and head[_COLUMNS] >> _U32 == np.uint64(OWN)
    if not (same and np.int64(head[_FIRST]) == first_s and np.int64(head[_LAST]) == last_s):
        return NOT_EXPECTED
    return OK


@kernel("i8(u1[::1], u8, u8)")
def verify_shared(data, at, size):  # type: ignore[no-untyped-def]
    """Whether the block of `size` bytes at data[at] is intact and shared by users: OK or a code.

    `at`, `size` and the address of `data` are multiples of 8.
    """
    code = _intact(data, at, size)
    if code != OK:
        return code
    head = view8(address_in(data) + at, size >> _U3)
    return OK if head[_COLUMNS] >> _U32 == np.uint64(SHARED) else NOT_EXPECTED


@kernel("u8(u1[::1], u8)")
def block_schema(data, at):  # type: ignore[no-untyped-def]
    """The schema id of a verified block."""
    return view8(address_in(data) + at, _HEAD >> _U3)[_ROWS] >> _U32


@kernel("i8(u1[::1], u8, u8, u8, u8, u8[:, ::1], u1[::1], u8, u1[::1], u8)")
def decode_rows(data, at, size, first, last, wanted, out, row, work, context):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of a block's columns into rows row.. of the caller's: OK or a code.

    Args:
        data, at, size: the block, verified; `at`, `size` and the address multiples of 8.
        wanted: (P, 4) of each output column: its position in the block's schema or MISSING; its width in
            bytes; where its row 0 is in `out`, a multiple of the width; its value where it is missing.
        out: memory of the output columns.
        work: (WORK_BYTES,) scratch of this thread.
        context: address of a decompression context; see scratch.py.
    """
    length = np.uint64(data.size)
    if (at | size) & _U7 or size < _HEAD or at > length or size > length - at:
        return BAD_CALL
    head = view8(address_in(data) + at, size >> _U3)
    rows, columns = head[_ROWS] & _LOW32, head[_COLUMNS] & _LOW32
    if rows == _U0 or rows > np.uint64(MAX_ROWS) or columns > np.uint64(64) or _HEAD + columns * _U4 > size:
        return BAD_COLUMN
    if head[_COLUMNS] >> _U32 > np.uint64(ENTRIES):
        return BAD_COLUMN
    if first > last or last > rows or np.uint64(work.size) < np.uint64(WORK_BYTES):
        return BAD_CALL
    if not _fits(wanted, address_in(out), np.uint64(out.size), row, last - first):
        return BAD_CALL
    if first == last:
        return OK
    place = address_in(data) + at
    source = (address_in(work), context)
    held = (_NO_COLUMN, _U0)
    for p in range(wanted.shape[0]):
        column, width = wanted[np.uint64(p), _U0], wanted[np.uint64(p), _U1]
        to = address_in(out) + wanted[np.uint64(p), _U2] + row * width
        if column == _NO_COLUMN:
            store_default(to, width, last - first, wanted[np.uint64(p), _U3])
            continue
        code, held = _decode(place, size, first, last, column, to, width, held, source)
        if code >= ERROR:
            return np.int64(code - ERROR)
    return OK
