"""Choosing a column's codec: the compiled twin of the choosing half of seqvault/vault/format/codec.py.

A plan is what will be written of a column: PLAN_WORDS u8 at an address. `room` is the address of rows of
scratch (room.py), `work` that of the scratch of pack.py.
"""

import numpy as np
from numba import njit

from seqvault.schema import CODECS
from seqvault.vault.format.codec import DELTA, DICT, FRAME, MISFITS_BITS, NARROW_BITS
from seqvault.vault.kernels.compiled import inner, symbol
from seqvault.vault.kernels.pack import patch_bits, stream_bits
from seqvault.vault.kernels.room import (
    GAPS,
    KEYS,
    MISFIT_PLACES,
    MISFITS,
    OTHER_KEYS,
    OTHER_PLACES,
    PLACES,
    TABLE,
    TABLE_STREAM,
    row,
    row_at,
)
from seqvault.vault.kernels.views import address_in, bit_length, memmove, memset, view8

__all__ = ["BASE", "BITS", "CODEC", "COUNT", "ENTRIES", "PLAN_WORDS", "base_bits", "best", "derived", "sort"]

_FRAME, _DELTA, _DICT = np.uint64(FRAME), np.uint64(DELTA), np.uint64(DICT)
_HINT_DELTA, _HINT_FRAME, _HINT_DICT = (np.uint64(CODECS.index(name)) for name in ("delta", "frame", "dict"))
_NARROW, _MISFITS_BITS = np.uint64(NARROW_BITS), np.uint64(MISFITS_BITS)
_U0, _U1, _U4, _U8, _U16, _U64, _U255 = (np.uint64(i) for i in (0, 1, 4, 8, 16, 64, 255))

# Codec, base, estimated bits; entries of the dictionary or 0; misfits.
PLAN_WORDS = 5
CODEC, BASE, BITS, ENTRIES, COUNT = range(PLAN_WORDS)


@njit(inline="always")
def base_bits(base):  # type: ignore[no-untyped-def]
    """What a base costs: none is written for 0."""
    return _U64 if base else _U0


@symbol("u8(u8, u8, u8, u8, u8, u8)")
def sort(keys_at, places_at, other_keys_at, other_places_at, count, bits):  # type: ignore[no-untyped-def]
    """Sort keys of at most `bits` bits and their places with them; 1 if the result is in the others."""
    keys, places = view8(keys_at, count), view8(places_at, count)
    other_keys, other_places = view8(other_keys_at, count), view8(other_places_at, count)
    starts = np.empty(256, np.uint64)
    swapped, shift = _U0, _U0
    while shift < bits:
        memset(address_in(starts), 0, np.uint64(2048))
        for i in range(count):
            starts[(keys[np.uint64(i)] >> shift) & _U255] += _U1
        total = _U0
        for k in range(256):
            of_digit = starts[k]
            starts[k] = total
            total += of_digit
        for i in range(count):
            key = keys[np.uint64(i)]
            digit = (key >> shift) & _U255
            to = starts[digit]
            starts[digit] = to + _U1
            other_keys[to] = key
            other_places[to] = places[np.uint64(i)]
        keys, other_keys = other_keys, keys
        places, other_places = other_places, places
        swapped ^= _U1
        shift += _U8
    return swapped


@inner
def _frame(values, flip, offsets):  # type: ignore[no-untyped-def]
    """Write the offsets; base, and bits of the widest."""
    lowest, highest = values[_U0] ^ flip, values[_U0] ^ flip
    for i in range(np.uint64(values.size)):
        lowest = min(lowest, values[np.uint64(i)] ^ flip)
        highest = max(highest, values[np.uint64(i)] ^ flip)
    base = lowest ^ flip
    for i in range(np.uint64(values.size)):
        offsets[np.uint64(i)] = values[np.uint64(i)] - base
    return base, bit_length(highest - lowest)


@inner
def _delta(values, deltas):  # type: ignore[no-untyped-def]
    """Write the differences; the base."""
    deltas[_U0] = 0
    for i in range(_U1, np.uint64(values.size)):
        deltas[np.uint64(i)] = values[np.uint64(i)] - values[np.uint64(i) - _U1]
    return values[np.uint64(values.size) - _U1]


@inner
def _dictionary(offsets, bits, ranks, room):  # type: ignore[no-untyped-def]
    """Gaps between the distinct offsets into scratch, and ranks of the rows; entries."""
    rows = np.uint64(offsets.size)
    keys, places = row(room, KEYS, rows), row(room, PLACES, rows)
    for i in range(rows):
        keys[np.uint64(i)] = offsets[np.uint64(i)]
        places[np.uint64(i)] = np.uint64(i)
    if sort(
        row_at(room, KEYS),
        row_at(room, PLACES),
        row_at(room, OTHER_KEYS),
        row_at(room, OTHER_PLACES),
        rows,
        bits,
    ):
        keys, places = row(room, OTHER_KEYS, rows), row(room, OTHER_PLACES, rows)
    gaps = row(room, GAPS, rows)
    gaps[_U0] = 0
    rank, before = _U0, keys[_U0]
    for i in range(rows):
        gap = keys[np.uint64(i)] - before
        before = keys[np.uint64(i)]
        if gap:
            rank += _U1
            gaps[rank] = gap
        ranks[places[np.uint64(i)]] = rank
    return rank + _U1


@symbol("void(u8, u8, u8, u8, u8, u8, u8, u8, u8)")
def best(values_at, rows, flip, hint, first, stream, plan_at, room, work):  # type: ignore[no-untyped-def]
    """Plan the cheapest codec that needs no other column.

    Args:
        values_at: address of the rows' values, u8 modulo 2**64.
        flip: the sign bit when they stand for signed integers, else 0.
        hint: the column's, as its place in CODECS.
        first: whether it is the column of times.
        stream: row of scratch to hold the codec's stream, or a dictionary's gaps, and its ranks in the next.
    """
    values, plan = view8(values_at, rows), view8(plan_at, PLAN_WORDS)
    offsets, other = row(room, stream, rows), row(room, stream + _U1, rows)
    memset(plan_at, 0, np.uint64(8 * PLAN_WORDS))
    if hint != _HINT_DELTA:
        base, widest = _frame(values, flip, offsets)
        bits = stream_bits(row_at(room, stream), rows, work) + base_bits(base)
        plan[CODEC], plan[BASE], plan[BITS] = _FRAME, base, bits
        if hint == _HINT_FRAME or (hint != _HINT_DICT and not first and bits <= _NARROW * rows):
            return
    if hint == _HINT_DELTA or (first and hint != _HINT_DICT):
        base = _delta(values, other)
        bits = stream_bits(row_at(room, stream + _U1), rows, work) + base_bits(base)
        if hint == _HINT_DELTA or bits < plan[BITS]:
            memmove(address_in(offsets), address_in(other), _U8 * rows)
            plan[CODEC], plan[BASE], plan[BITS] = _DELTA, base, bits
        return
    entries = _dictionary(offsets, widest, other, room)
    bits = stream_bits(row_at(room, GAPS), entries, work) + _U16 + base_bits(base)
    bits += stream_bits(row_at(room, stream + _U1), rows, work)
    if hint == _HINT_DICT or bits < plan[BITS]:
        memmove(row_at(room, stream), row_at(room, GAPS), _U8 * entries)
        plan[CODEC], plan[BASE], plan[BITS], plan[ENTRIES] = _DICT, base, bits, entries


@symbol("void(u8, u8, u8, u8, u8, u8, u8, u8)")
def derived(values_at, rows, flip, ranks_at, entries, plan_at, room, work):  # type: ignore[no-untyped-def]
    """Plan the codec that takes a row's value from its parent's rank: estimated bits are huge if too few fit.

    Args:
        ranks_at, entries: address of the parent's ranks, and how many entries its dictionary has.
    """
    values, ranks, plan = view8(values_at, rows), view8(ranks_at, rows), view8(plan_at, PLAN_WORDS)
    table = row(room, TABLE, entries)
    # Written backwards, so that the first row of a rank stays.
    for i in range(rows):
        place = rows - _U1 - np.uint64(i)
        table[ranks[place]] = values[place]
    places, misfits = row(room, MISFIT_PLACES, rows), row(room, MISFITS, rows)
    found, all_misfits = _U0, _U0
    for i in range(rows):
        value = values[np.uint64(i)]
        if table[ranks[np.uint64(i)]] != value:
            places[found], misfits[found] = np.uint64(i), value
            found += _U1
            all_misfits |= value
    if _U4 * found > rows:
        plan[BITS] = np.uint64(1 << 62)
        return
    best(row_at(room, TABLE), entries, flip, _U0, _U0, TABLE_STREAM, plan_at, room, work)
    plan[BITS] += _MISFITS_BITS + patch_bits(rows, found, bit_length(all_misfits))
    plan[COUNT] = found
