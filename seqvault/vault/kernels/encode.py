"""Blocks, encoded: the compiled twin of encode_blocks_plain in seqvault/vault/block.py."""

import numpy as np
from numba import njit

from seqvault.schema import CODECS
from seqvault.vault.block import HEAD, MAGIC
from seqvault.vault.codec import DICT
from seqvault.vault.kernels.choose import (
    COLUMN_ROWS,
    SHARED_ROWS,
    TABLE_STREAM,
    best,
    derived,
    room_row,
    write_misfits,
    write_section,
)
from seqvault.vault.kernels.compiled import kernel
from seqvault.vault.kernels.hash64 import hash64_words
from seqvault.vault.kernels.views import bytes_at, view2, view4, view8

__all__ = ["encode_many", "most_bytes"]

_MAGIC = np.uint64(int.from_bytes(MAGIC, "little"))
_HEAD = np.uint64(HEAD.size)
_DICT, _AUTO = np.uint64(DICT), np.uint64(CODECS.index("auto"))
_U0, _U1, _U2, _U3, _U4, _U7, _U8, _U16, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7, 8, 16, 32))
_SHARED, _EACH = np.uint64(SHARED_ROWS), np.uint64(COLUMN_ROWS)
# What is known of a column before it is written: codec, base, bits, entries.
_CODEC, _BASE, _BITS, _ENTRIES = (np.uint64(i) for i in range(4))


@njit
def most_bytes(rows, columns):  # type: ignore[no-untyped-def]
    """No block of this size takes more: widths and patches at their worst, in every column."""
    return _HEAD + np.uint64(columns) * (np.uint64(256) + np.uint64(24) * (rows + _U16))


@njit
def _load(address, width, signed, values):  # type: ignore[no-untyped-def]
    """values = integers of a width at an address, modulo 2**64."""
    count = np.uint64(values.size)
    if width == _U8:
        values[:] = view8(address, count)
    elif signed:
        _load_signed(address, width, values)
    elif width == _U4:
        values[:] = view4(address, count)
    elif width == _U2:
        values[:] = view2(address, count)
    else:
        values[:] = bytes_at(address, count)


@njit
def _load_signed(address, width, values):  # type: ignore[no-untyped-def]
    # Shifting the sign up and back down would need signed shifts: adding and taking off the sign bit does not.
    sign = _U1 << (_U8 * width - _U1)
    _load(address, width, False, values)
    for i in range(np.uint64(values.size)):
        values[np.uint64(i)] = (values[np.uint64(i)] ^ sign) - sign


@njit
def _choose(columns, begin, rows, plan, room, work):  # type: ignore[no-untyped-def]
    """Fill the plan of every column on its own; the column whose dictionary is the widest."""
    parent = _U0
    for c in range(np.uint64(columns.shape[0])):
        column = np.uint64(c)
        width, signed, hint = columns[column, _U1], columns[column, _U2], columns[column, _U3]
        own = _SHARED + _EACH * column
        values = room_row(room, own, rows)
        _load(columns[column, _U0] + begin * width, width, signed != _U0, values)
        flip = (_U1 << np.uint64(63)) if signed else _U0
        codec, base, bits, entries = best(values, flip, hint, c == _U0, own + _U1, room, work)
        plan[column, _CODEC], plan[column, _BASE] = codec, base
        plan[column, _BITS], plan[column, _ENTRIES] = bits, entries
        if entries > plan[parent, _ENTRIES]:
            parent = column
    return parent


@njit
def _write_column(columns, column, parent, plan, rows, last_s, zstd, words, at, room, work):  # type: ignore[no-untyped-def]
    """Write one column's section; the position behind it."""
    own = _SHARED + _EACH * column
    entries = plan[parent, _ENTRIES]
    if column and column != parent and columns[column, _U3] == _AUTO and _U1 < entries < rows:
        ranks = room_row(room, _SHARED + _EACH * parent + _U2, rows)
        flip = (_U1 << np.uint64(63)) if columns[column, _U2] else _U0
        values = room_row(room, own, rows)
        better, codec, base, coded, misfits = derived(
            values, flip, ranks, entries, plan[column, _BITS], room, work
        )
        if better:
            at = write_section(
                codec,
                base,
                parent + _U1,
                (False, last_s),
                entries,
                coded,
                TABLE_STREAM,
                zstd,
                words,
                at,
                room,
                work,
            )
            return write_misfits(misfits, words, at, room, work)
    codec, base, coded = plan[column, _CODEC], plan[column, _BASE], plan[column, _ENTRIES]
    times = (column == _U0, last_s)
    return write_section(codec, base, _U0, times, rows, coded, own + _U1, zstd, words, at, room, work)


@njit
def _encode(user, start, columns, begin, rows, ids, zstd, out, at, plan, room, work):  # type: ignore[no-untyped-def]
    """Write one block at out[at]; its bytes."""
    count = np.uint64(columns.shape[0])
    address = np.uint64(out.ctypes.data) + at
    head, sizes = view8(address, _HEAD >> _U3), view4(address + _HEAD, count)
    parent = _choose(columns, begin, rows, plan, room, work)
    times = room_row(room, _SHARED, rows)
    first_s, last_s = times[_U0], times[rows - _U1]
    words = view2(address, (np.uint64(out.size) - at) >> _U1)
    place = (_HEAD + count * _U4) >> _U1
    for c in range(count):
        before = place
        place = _write_column(
            columns, np.uint64(c), parent, plan, rows, last_s, zstd, words, place, room, work
        )
        sizes[np.uint64(c)] = (place - before) << _U1
    while place & _U3:
        words[place] = 0
        place += _U1
    size = place << _U1
    head[0] = _MAGIC | size << _U32
    head[2], head[3], head[4], head[5] = user, start, first_s, last_s
    head[6], head[7] = rows | ids[0] << _U32, count | ids[1] << _U32
    head[1] = hash64_words(out, at + _U16, size - _U16, head[0])
    return size


@kernel("u8(u8[::1], u8[::1], u8[::1], u8[:, ::1], UniTuple(u8, 2), u8, u1[::1], u8[::1], u8, u8[::1])")
def encode_many(users, starts, bounds, columns, ids, zstd, out, offsets, begin, scratch):  # type: ignore[no-untyped-def]
    """Write the blocks `begin`.. one behind the other to `out`, from offsets[begin] on, as far as it has room.

    Args:
        bounds: (K+1,) rows of each block.
        columns: (C, 4) address, bytes of a value, whether signed, hint as its place in CODECS.
        ids: of the schema, of the dictionary.
        zstd: address of a compression context; 0 for packed streams only.
        offsets: (K+1,) where each block begins; entries behind `begin` are written.
        scratch: addresses of rows and of pack's scratch.

    Returns:
        the first block not written.
    """
    plan = np.empty((columns.shape[0], 4), np.uint64)
    for k in range(begin, np.uint64(users.size)):
        block = np.uint64(k)
        rows = bounds[block + _U1] - bounds[block]
        at = offsets[block]
        if at + most_bytes(rows, columns.shape[0]) > np.uint64(out.size):
            return block
        size = _encode(
            users[block],
            starts[block],
            columns,
            bounds[block],
            rows,
            ids,
            zstd,
            out,
            at,
            plan,
            scratch[0],
            scratch[1],
        )
        offsets[block + _U1] = at + size
    return np.uint64(users.size)
