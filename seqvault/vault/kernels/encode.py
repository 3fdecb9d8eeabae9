"""Blocks, encoded: the compiled twin of encode_blocks_plain in seqvault/vault/format/block.py."""

import numpy as np

from seqvault.schema import CODECS
from seqvault.vault.format import codec
from seqvault.vault.format.block import HEAD, MAGIC
from seqvault.vault.kernels.choose import BASE, BITS, CODEC, COUNT, ENTRIES, PLAN_WORDS, best, derived
from seqvault.vault.kernels.compiled import inner, kernel
from seqvault.vault.kernels.hash64 import hash64_words
from seqvault.vault.kernels.outputs import load_column
from seqvault.vault.kernels.pack import pack_misfits, pack_stream
from seqvault.vault.kernels.room import (
    COLUMN_ROWS,
    MISFIT_PLACES,
    MISFITS,
    SHARED_ROWS,
    TABLE_STREAM,
    row,
    row_at,
)
from seqvault.vault.kernels.views import address_in, view2, view4, view8

__all__ = ["encode_many", "most_bytes"]

_MAGIC = np.uint64(int.from_bytes(MAGIC, "little"))
_HEAD = np.uint64(HEAD.size)
_DELTA, _DICT, _AUTO = np.uint64(codec.DELTA), np.uint64(codec.DICT), np.uint64(CODECS.index("auto"))
_BASE, _LAST, _PARENT = np.uint64(codec.BASE), np.uint64(codec.LAST), np.uint64(codec.PARENT)
_U0, _U1, _U2, _U3, _U4, _U7, _U8, _U16, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7, 8, 16, 32))
_SHARED, _EACH, _SIGN = np.uint64(SHARED_ROWS), np.uint64(COLUMN_ROWS), np.uint64(1 << 63)
# Addresses the encoder is given: rows of scratch, pack's scratch, a compression context or 0.
_ROOM, _WORK, _ZSTD = range(3)
# A column's description: address, bytes of a value, whether signed, hint as its place in CODECS.
_ADDRESS, _WIDTH, _SIGNED, _HINT = range(4)


@kernel("u8(u8, u8)")
def most_bytes(rows, columns):  # type: ignore[no-untyped-def]
    """No block of this size takes more: widths and patches at their worst, in every column."""
    return _HEAD + columns * (np.uint64(256) + np.uint64(24) * (rows + _U16))


@inner
def _own(column):  # type: ignore[no-untyped-def]
    """The first of a column's rows of scratch."""
    return _SHARED + _EACH * np.uint64(column)


@inner
def _choose(columns, begin, rows, plans, given):  # type: ignore[no-untyped-def]
    """Plan every column on its own; the parent of others."""
    room, work, parent = given[_ROOM], given[_WORK], _U0
    for c in range(np.uint64(columns.shape[0])):
        column, width = np.uint64(c), columns[np.uint64(c), _WIDTH]
        values, signed = row_at(room, _own(column)), columns[column, _SIGNED]
        load_column(columns[column, _ADDRESS] + begin * width, width, signed, rows, values)
        flip = _SIGN if signed else _U0
        plan = address_in(plans[column])
        best(
            values,
            rows,
            flip,
            columns[column, _HINT],
            np.uint64(c == 0),
            _own(column) + _U1,
            plan,
            room,
            work,
        )
        if plans[column, ENTRIES] > plans[parent, ENTRIES]:
            parent = column
    return parent


@inner
def _write_section(head, column, plan, last_s, rows, stream, given, to):  # type: ignore[no-untyped-def]
    """Write head and streams of a column; the address behind them.

    Args:
        head: the parent, of the first word.
        last_s: the block's last time.
        rows: values in the last stream.
        stream: row of scratch that holds it, or a dictionary's gaps, followed by its ranks.
    """
    words = view2(to, 6)
    at, base, room = _U1, plan[BASE], given[_ROOM]
    head |= plan[CODEC]
    if column == _U0 and plan[CODEC] == _DELTA and base == last_s:
        head |= _LAST
    elif base:
        head |= _BASE
        for k in range(4):
            words[at] = base >> (_U16 * np.uint64(k))
            at += _U1
    words[_U0] = head
    to += _U2 * at
    if plan[CODEC] == _DICT:
        words[at] = plan[ENTRIES] - _U1
        to = pack_stream(row_at(room, stream), plan[ENTRIES], given[_ZSTD], to + _U2, given[_WORK])
        stream += _U1
    return pack_stream(row_at(room, stream), rows, given[_ZSTD], to, given[_WORK])


@inner
def _write_column(columns, column, parent, plans, rows, last_s, given, to):  # type: ignore[no-untyped-def]
    """Write one column's section, the cheaper of its own and of one that follows from the parent's."""
    room, work, own = given[_ROOM], given[_WORK], _own(column)
    values, ranks, entries = row_at(room, own), row_at(room, _own(parent) + _U2), plans[parent, ENTRIES]
    other = np.empty(PLAN_WORDS, np.uint64)
    head, table_rows = (parent + _U1) << _PARENT, entries
    other[BITS] = plans[column, BITS]
    if column and column != parent and _U1 < entries < rows and columns[column, _HINT] == _AUTO:
        flip = _SIGN if columns[column, _SIGNED] else _U0
        derived(values, rows, flip, ranks, entries, address_in(other), room, work)
    if other[BITS] < plans[column, BITS]:
        to = _write_section(head, column, other, last_s, table_rows, TABLE_STREAM, given, to)
        places, misfits = row_at(room, MISFIT_PLACES), row_at(room, MISFITS)
        return pack_misfits(other[COUNT], places, misfits, rows, to, work)
    return _write_section(_U0, column, plans[column], last_s, rows, own + _U1, given, to)


@inner
def _encode(user, start, columns, begin, rows, schema, out, at, plans, given):  # type: ignore[no-untyped-def]
    """Write one block at out[at]; its bytes."""
    count = np.uint64(columns.shape[0])
    address = address_in(out) + at
    head, sizes = view8(address, _HEAD >> _U3), view4(address + _HEAD, count)
    parent = _choose(columns, begin, rows, plans, given)
    times = row(given[_ROOM], _own(0), rows)
    first_s, last_s = times[_U0], times[rows - _U1]
    to = address + _HEAD + _U4 * count
    for c in range(count):
        before = to
        to = _write_column(columns, np.uint64(c), parent, plans, rows, last_s, given, to)
        sizes[np.uint64(c)] = to - before
    while (to - address) & _U7:
        view2(to, 1)[0] = 0
        to += _U2
    size = to - address
    head[0] = _MAGIC | size << _U32
    head[2], head[3], head[4], head[5] = user, start, first_s, last_s
    head[6], head[7] = rows | schema << _U32, count | schema >> _U32 << _U32
    head[1] = hash64_words(out, at + _U16, size - _U16, head[0])
    return size


@kernel("u8(u8[::1], u8[::1], u8[::1], u8[:, ::1], u8, u1[::1], u8[::1], u8, UniTuple(u8, 3))")
def encode_many(users, starts, bounds, columns, schema, out, offsets, begin, given):  # type: ignore[no-untyped-def]
    """Write the blocks `begin`.. one behind the other, from offsets[begin] on, as far as `out` has room.

    Args:
        bounds: (K+1,) rows of each block.
        columns: (C, 4) address, bytes of a value, whether signed, hint as its place in CODECS.
        schema: its id, above it the blocks' kind; see block.id_of_kind.
        offsets: (K+1,) where each block begins; entries behind `begin` are written.
        given: addresses of rows of scratch, of pack's scratch, and of a compression context, 0 for none.

    Returns:
        the first block not written.
    """
    plans = np.empty((columns.shape[0], PLAN_WORDS), np.uint64)
    for k in range(begin, np.uint64(users.size)):
        block = np.uint64(k)
        rows = bounds[block + _U1] - bounds[block]
        at = offsets[block]
        if at + most_bytes(rows, np.uint64(columns.shape[0])) > np.uint64(out.size):
            return block
        user, start, first = users[block], starts[block], bounds[block]
        size = _encode(user, start, columns, first, rows, schema, out, at, plans, given)
        offsets[block + _U1] = at + size
    return np.uint64(users.size)
