"""Columns by way of the store's item table: the compiled twin of `numbered` and `from_items` in codec.py."""

import numpy as np
from numba import njit

from seqvault.vault.format.codec import DICT, FRAME, MISFITS_BITS
from seqvault.vault.kernels.choose import BASE, BITS, CODEC, COUNT, ENTRIES, PLAN_WORDS, base_bits, sort
from seqvault.vault.kernels.compiled import symbol
from seqvault.vault.kernels.pack import patch_bits, stream_bits
from seqvault.vault.kernels.room import (
    GAPS,
    GROUPS,
    ITEM_ATTRIBUTES,
    ITEM_MISFIT_PLACES,
    ITEM_MISFITS,
    KEYS,
    MISFIT_PLACES,
    MISFITS,
    NUMBERS,
    OTHER_KEYS,
    OTHER_PLACES,
    PLACES,
    TABLE,
    TABLE_STREAM,
    row,
    row_at,
)
from seqvault.vault.kernels.views import bit_length, view8

__all__ = ["ITEM_WORDS", "KEY", "from_items", "numbered"]

# The item table as the encoder sees it: columns of items and of attributes; groups, addresses of their
# attributes, of their begins (one more) and of the items, all u8.
ITEM_WORDS = 6
KEY, ATTRIBUTE, _GROUP_COUNT, _NAMES, _BOUNDS, _VALUES = range(ITEM_WORDS)
_FRAME, _DICT, _MISFITS_BITS = np.uint64(FRAME), np.uint64(DICT), np.uint64(MISFITS_BITS)
_U0, _U1, _U2, _U3, _U4, _U16 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 16))
_UNKNOWN = np.uint64((1 << 64) - 1)


@njit
def _search(values, low, high, value):  # type: ignore[no-untyped-def]
    """Where a value stands in values[low:high], ascending; _UNKNOWN if nowhere."""
    end = high
    while low < high:
        middle = (low + high) // _U2
        if values[middle] < value:
            low = middle + _U1
        else:
            high = middle
    return low if low < end and values[low] == value else _UNKNOWN


@njit
def _look_up(gaps, base, attributes, table_at, room):  # type: ignore[no-untyped-def]
    """Numbers of the distinct items into scratch, and their groups; how many are known."""
    table = view8(table_at, ITEM_WORDS)
    groups = table[_GROUP_COUNT]
    names, bounds = view8(table[_NAMES], groups), view8(table[_BOUNDS], groups + _U1)
    items = view8(table[_VALUES], bounds[groups])
    entries = np.uint64(gaps.size)
    numbers, of_items = row(room, NUMBERS, entries), row(room, GROUPS, entries)
    value, known = base, _U0
    for k in range(entries):
        value += gaps[np.uint64(k)]
        number = _UNKNOWN
        group = _search(names, _U0, groups, attributes[np.uint64(k)])
        if group != _UNKNOWN:
            number = _search(items, bounds[group], bounds[group + _U1], value)
        numbers[np.uint64(k)], of_items[np.uint64(k)] = number, group
        known += np.uint64(number != _UNKNOWN)
    return known


@njit
def _renumber(entries, known, room):  # type: ignore[no-untyped-def]
    """Sort the known numbers: gaps and each item's new rank, in place of its number; the lowest number."""
    numbers, of_items = row(room, NUMBERS, entries), row(room, GROUPS, entries)
    keys, places = row(room, KEYS, known), row(room, PLACES, known)
    found, highest = _U0, _U0
    for k in range(entries):
        if numbers[np.uint64(k)] != _UNKNOWN:
            keys[found], places[found] = numbers[np.uint64(k)], np.uint64(k)
            highest = max(highest, numbers[np.uint64(k)])
            found += _U1
    others = row_at(room, OTHER_KEYS), row_at(room, OTHER_PLACES)
    if sort(row_at(room, KEYS), row_at(room, PLACES), others[0], others[1], known, bit_length(highest)):
        keys, places = row(room, OTHER_KEYS, known), row(room, OTHER_PLACES, known)
    gaps, attributes = row(room, GAPS, known), row(room, ITEM_ATTRIBUTES, known)
    gaps[_U0] = 0
    for k in range(known):
        if k:
            gaps[np.uint64(k)] = keys[np.uint64(k)] - keys[np.uint64(k) - _U1]
        numbers[places[np.uint64(k)]] = np.uint64(k)
        attributes[np.uint64(k)] = of_items[places[np.uint64(k)]]
    return keys[_U0]


@symbol("u8(u8, u8, u8, u8, u8, u8, u8, u8)")
def numbered(values_at, attributes_at, rows, stream, plan_at, table_at, room, work):  # type: ignore[no-untyped-def]
    """Plan the items' column, a dictionary so far, by numbers in the item table; 1 if that is smaller.

    Args:
        values_at, attributes_at: addresses of the rows' items and attributes, u8.
        stream: row of scratch with the gaps, followed by the ranks; both are replaced.
    """
    plan = view8(plan_at, PLAN_WORDS)
    values, of_rows, entries = view8(values_at, rows), view8(attributes_at, rows), plan[ENTRIES]
    ranks, firsts = row(room, stream + _U1, rows), row(room, TABLE, entries)
    for i in range(rows):
        place = rows - _U1 - np.uint64(i)
        firsts[ranks[place]] = of_rows[place]
    known = _look_up(row(room, stream, entries), plan[BASE], firsts, table_at, room)
    if _U4 * known < _U3 * entries:
        return _U0
    base = _renumber(entries, known, room)
    places, misfits = row(room, ITEM_MISFIT_PLACES, rows), row(room, ITEM_MISFITS, rows)
    numbers, new_ranks = row(room, NUMBERS, entries), row(room, TABLE_STREAM, rows)
    found, all_misfits = _U0, _U0
    for i in range(rows):
        rank = numbers[ranks[np.uint64(i)]]
        if rank == _UNKNOWN:
            rank = _U0
            places[found], misfits[found] = np.uint64(i), values[np.uint64(i)]
            all_misfits |= values[np.uint64(i)]
            found += _U1
        new_ranks[np.uint64(i)] = rank
    bits = stream_bits(row_at(room, GAPS), known, work) + stream_bits(row_at(room, TABLE_STREAM), rows, work)
    bits += _U16 + base_bits(base) + _MISFITS_BITS + patch_bits(rows, found, bit_length(all_misfits))
    if bits >= plan[BITS]:
        return _U0
    row(room, stream, known)[:] = row(room, GAPS, known)
    ranks[:] = new_ranks
    plan[CODEC], plan[BASE], plan[BITS], plan[ENTRIES], plan[COUNT] = _DICT, base, bits, known, found
    # Groups become their attributes, for `from_items`.
    table, attributes = view8(table_at, ITEM_WORDS), row(room, ITEM_ATTRIBUTES, known)
    names = view8(table[_NAMES], table[_GROUP_COUNT])
    for k in range(known):
        attributes[np.uint64(k)] = names[attributes[np.uint64(k)]]
    return _U1


@symbol("void(u8, u8, u8, u8, u8)")
def from_items(values_at, rows, ranks_at, plan_at, room):  # type: ignore[no-untyped-def]
    """Plan a column as the items' attribute, after `numbered`; its bits are huge if too few rows fit."""
    values, ranks, plan = view8(values_at, rows), view8(ranks_at, rows), view8(plan_at, PLAN_WORDS)
    attributes = row(room, ITEM_ATTRIBUTES, rows)
    places, misfits = row(room, MISFIT_PLACES, rows), row(room, MISFITS, rows)
    found, all_misfits = _U0, _U0
    for i in range(rows):
        value = values[np.uint64(i)]
        if attributes[ranks[np.uint64(i)]] != value:
            places[found], misfits[found] = np.uint64(i), value
            found += _U1
            all_misfits |= value
    bits = _MISFITS_BITS + patch_bits(rows, found, bit_length(all_misfits))
    plan[:] = 0
    plan[CODEC], plan[BITS], plan[COUNT] = _FRAME, bits if _U4 * found <= rows else np.uint64(1 << 62), found
