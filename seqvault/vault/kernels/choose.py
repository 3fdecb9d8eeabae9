"""Choosing a column's codec and writing its section: the compiled twin of seqvault/vault/codec.py.

`room` is the address of rows of scratch, (ROWS,) u8 each; `work` that of the scratch of pack.py.
"""

import numpy as np
from numba import njit

from seqvault.schema import CODECS
from seqvault.vault.codec import BASE, DELTA, DICT, FRAME, LAST, NARROW_BITS, PARENT
from seqvault.vault.kernels.pack import (
    AT_HIGHS,
    AT_PLACES,
    cheapest_width,
    count_lengths,
    pack_patches,
    pack_stream,
    patch_bits,
)
from seqvault.vault.kernels.views import bit_length, view8

__all__ = [
    "COLUMN_ROWS",
    "ROW_BYTES",
    "SHARED_ROWS",
    "TABLE_STREAM",
    "best",
    "derived",
    "room_row",
    "write_misfits",
    "write_section",
]

_FRAME, _DELTA, _DICT = np.uint64(FRAME), np.uint64(DELTA), np.uint64(DICT)
_BASE, _LAST, _PARENT = np.uint64(BASE), np.uint64(LAST), np.uint64(PARENT)
_HINT_DELTA, _HINT_FRAME, _HINT_DICT = (np.uint64(CODECS.index(name)) for name in ("delta", "frame", "dict"))
_NARROW = np.uint64(NARROW_BITS)
_U0, _U1, _U2, _U4, _U8, _U16, _U64, _U255 = (np.uint64(i) for i in (0, 1, 2, 4, 8, 16, 64, 255))
_HUGE = np.uint64(1 << 62)

# Not a power of two, or equal places of all rows would share one set of the cache.
ROW_BYTES = 8 * ((1 << 16) + 72)
# Rows of scratch: for sorting; for a derived column's table, its streams and its misfits; then COLUMN_ROWS for
# each column: values and two streams.
_KEYS, _PLACES, _OTHER_KEYS, _OTHER_PLACES, _GAPS = (np.uint64(i) for i in range(5))
_TABLE, TABLE_STREAM, _MISFIT_PLACES, _MISFITS = (np.uint64(i) for i in (5, 6, 8, 9))
SHARED_ROWS, COLUMN_ROWS = 10, 3


@njit
def room_row(room, row, count):  # type: ignore[no-untyped-def]
    """The first `count` u8 of a row of scratch."""
    return view8(room + np.uint64(row) * np.uint64(ROW_BYTES), count)


@njit
def best(values, flip, hint, first, stream, room, work):  # type: ignore[no-untyped-def]
    """The cheapest codec that needs no other column.

    Args:
        values: (N,) u8, modulo 2**64.
        flip: the sign bit when they stand for signed integers, else 0.
        hint: the column's, as its place in CODECS.
        first: whether it is the column of times.
        stream: row of scratch to hold the codec's stream, or a dictionary's gaps, and in the next row its ranks.

    Returns:
        codec, base, estimated bits, entries of the dictionary or 0.
    """
    rows = np.uint64(values.size)
    offsets, other = room_row(room, stream, rows), room_row(room, stream + _U1, rows)
    if hint == _HINT_DELTA:
        base, bits = _delta(values, offsets, work)
        return _DELTA, base, bits, _U0
    base, bits, widest = _frame(values, flip, offsets, work)
    if hint == _HINT_FRAME or (hint != _HINT_DICT and not first and bits <= _NARROW * rows):
        return _FRAME, base, bits, _U0
    if first and hint != _HINT_DICT:
        last, delta_bits = _delta(values, other, work)
        if delta_bits >= bits:
            return _FRAME, base, bits, _U0
        offsets[:] = other
        return _DELTA, last, delta_bits, _U0
    entries, dict_bits = _dictionary(offsets, widest, other, room, work)
    dict_bits += _base_bits(base)
    if hint != _HINT_DICT and dict_bits >= bits:
        return _FRAME, base, bits, _U0
    room_row(room, stream, entries)[:] = room_row(room, _GAPS, entries)
    return _DICT, base, dict_bits, entries


@njit
def derived(values, flip, ranks, entries, limit, room, work):  # type: ignore[no-untyped-def]
    """The codec that takes a row's value from its parent's rank, if its estimated bits stay below a limit.

    Args:
        ranks: (N,) u8, the parent's, whose dictionary has `entries`.

    Returns:
        whether they do; codec, base, entries as of `best`, all of the table; misfits, kept in scratch.
    """
    rows = np.uint64(values.size)
    table = room_row(room, _TABLE, entries)
    # Written backwards, so that the first row of a rank stays.
    for i in range(rows):
        place = rows - _U1 - np.uint64(i)
        table[ranks[place]] = values[place]
    places, misfits = room_row(room, _MISFIT_PLACES, rows), room_row(room, _MISFITS, rows)
    found, all_misfits = _U0, _U0
    for i in range(rows):
        value = values[np.uint64(i)]
        places[found], misfits[found] = np.uint64(i), value
        if table[ranks[np.uint64(i)]] != value:
            found += _U1
            all_misfits |= value
    if _U4 * found > rows:
        return False, _U0, _U0, _U0, _U0
    codec, base, bits, coded = best(table, flip, _U0, False, TABLE_STREAM, room, work)
    bits += _U16 + patch_bits(rows, found, bit_length(all_misfits))
    return bits < limit, codec, base, coded, found


@njit
def write_section(codec, base, parent, last_s, rows, entries, stream, zstd, words, at, room, work):  # type: ignore[no-untyped-def]
    """Write head and streams of a column; the position behind them.

    Args:
        parent: 1 + its position, 0 for none.
        last_s: (whether it is the column of times, the block's last time).
        rows: values in the last stream.
        stream: row of scratch that holds it, as of `best`.
    """
    head = codec | parent << _PARENT
    begin = at
    at += _U1
    if last_s[0] and codec == _DELTA and base == last_s[1]:
        head |= _LAST
    elif base:
        head |= _BASE
        for k in range(4):
            words[at] = base >> (_U16 * np.uint64(k))
            at += _U1
    words[begin] = head
    if codec == _DICT:
        words[at] = entries - _U1
        at = pack_stream(room_row(room, stream, entries), zstd, words, at + _U1, work)
        stream += _U1
    return pack_stream(room_row(room, stream, rows), zstd, words, at, work)


@njit
def write_misfits(misfits, words, at, room, work):  # type: ignore[no-untyped-def]
    """Write the misfits that `derived` left in scratch; the position behind them."""
    if misfits == _U0:
        words[at] = 0
        return at + _U1
    view8(work + AT_PLACES, misfits)[:] = room_row(room, _MISFIT_PLACES, misfits)
    view8(work + AT_HIGHS, misfits)[:] = room_row(room, _MISFITS, misfits)
    return pack_patches(misfits, words, at, at + _U2, work)


@njit
def _base_bits(base):  # type: ignore[no-untyped-def]
    return _U64 if base else _U0


@njit
def _frame(values, flip, offsets, work):  # type: ignore[no-untyped-def]
    """Write the offsets; base, estimated bits, bits of the widest offset."""
    lowest = values[_U0] ^ flip
    for i in range(np.uint64(values.size)):
        lowest = min(lowest, values[np.uint64(i)] ^ flip)
    base = lowest ^ flip
    for i in range(np.uint64(values.size)):
        offsets[np.uint64(i)] = values[np.uint64(i)] - base
    widest = count_lengths(offsets, work)
    bits = cheapest_width(np.uint64(values.size), widest, work)[1]
    return base, bits + _base_bits(base), widest


@njit
def _delta(values, deltas, work):  # type: ignore[no-untyped-def]
    """Write the differences; base and estimated bits."""
    deltas[_U0] = 0
    for i in range(_U1, np.uint64(values.size)):
        deltas[np.uint64(i)] = values[np.uint64(i)] - values[np.uint64(i) - _U1]
    base = values[np.uint64(values.size) - _U1]
    bits = cheapest_width(np.uint64(values.size), count_lengths(deltas, work), work)[1]
    return base, bits + _base_bits(base)


@njit
def _dictionary(offsets, bits, ranks, room, work):  # type: ignore[no-untyped-def]
    """Sort out the distinct offsets: gaps into scratch, ranks of the rows; entries and estimated bits."""
    rows = np.uint64(offsets.size)
    keys, places = room_row(room, _KEYS, rows), room_row(room, _PLACES, rows)
    keys[:] = offsets
    for i in range(rows):
        places[np.uint64(i)] = np.uint64(i)
    if _sort(keys, places, room_row(room, _OTHER_KEYS, rows), room_row(room, _OTHER_PLACES, rows), bits):
        keys, places = room_row(room, _OTHER_KEYS, rows), room_row(room, _OTHER_PLACES, rows)
    gaps = room_row(room, _GAPS, rows)
    gaps[_U0] = 0
    entries, before = _U0, keys[_U0]
    for i in range(rows):
        gap = keys[np.uint64(i)] - before
        before = keys[np.uint64(i)]
        entries += np.uint64(gap != _U0)
        if gap:
            gaps[entries] = gap
        ranks[places[np.uint64(i)]] = entries
    entries += _U1
    coded = cheapest_width(entries, count_lengths(gaps[:entries], work), work)[1]
    return entries, coded + cheapest_width(rows, count_lengths(ranks, work), work)[1] + _U16


@njit
def _sort(keys, places, other_keys, other_places, bits):  # type: ignore[no-untyped-def]
    """Sort keys of at most `bits` bits and their places with them; whether the result is in the others."""
    starts = np.empty(256, np.uint64)
    swapped = False
    shift = _U0
    while shift < bits:
        starts[:] = 0
        for i in range(np.uint64(keys.size)):
            starts[(keys[np.uint64(i)] >> shift) & _U255] += _U1
        total = _U0
        for k in range(256):
            count = starts[k]
            starts[k] = total
            total += count
        for i in range(np.uint64(keys.size)):
            key = keys[np.uint64(i)]
            digit = (key >> shift) & _U255
            to = starts[digit]
            starts[digit] = to + _U1
            other_keys[to] = key
            other_places[to] = places[np.uint64(i)]
        keys, other_keys = other_keys, keys
        places, other_places = other_places, places
        swapped = not swapped
        shift += _U8
    return swapped
