"""The index's loops. A user's live blocks lie side by side in `records`, oldest first.

    table      | user u64 | first record u32, blocks u32 |   a slot; the second word is EMPTY where it is free
    records    | first_s i64 | last_s i64 | offset / 8: 40 bits, shared: 1, size / 8: 23 |
               | start u32, slot, rows - 1: u16

A run has room for `room(blocks)` records, so it needs no capacity of its own; runs that became free are
listed by their length, linked through their first word, and given to the next user who grows to it.
"""

import numpy as np
from numba import njit

from seqvault.vault.format.entries import SHARES
from seqvault.vault.kernels.compiled import inner, kernel
from seqvault.vault.kernels.reads.users import EMPTY, find_user

__all__ = [
    "BLOCKS",
    "CLASSES",
    "ROWS",
    "STATE_WORDS",
    "USED",
    "USERS",
    "apply",
    "count_found",
    "drop",
    "fill_found",
    "find_start",
    "live_bytes",
    "move",
    "rehash",
    "repack",
]  # fmt: skip

# Words of `state`: users in the table (deleted ones too), live blocks, their rows, records handed out.
USERS, BLOCKS, ROWS, USED = (np.uint64(i) for i in range(4))
STATE_WORDS = 4
# Lengths of free runs that are listed: 1 to 16 by ones, then by eights.
CLASSES = 1024

_U0, _U1, _U2, _U3, _U4 = (np.uint64(i) for i in range(5))
_U16, _U23, _U24, _U32 = np.uint64(16), np.uint64(23), np.uint64(24), np.uint64(32)
_LOW16, _LOW23, _LOW32 = np.uint64(0xFFFF), np.uint64(0x7FFFFF), np.uint64(0xFFFFFFFF)
_SHARES = np.uint64(SHARES)
_EXACT = np.uint64(16)
_WIDTH = np.uint64(2)


@njit(inline="always")
def room(blocks):  # type: ignore[no-untyped-def]
    """Records a run of so many blocks has."""
    return blocks if blocks <= _EXACT else (blocks + np.uint64(7)) & ~np.uint64(7)


@njit(inline="always")
def _class(length):  # type: ignore[no-untyped-def]
    return length if length <= _EXACT else _EXACT + ((length - _EXACT) >> _U3)


@njit(inline="always")
def find_start(records, first, count, start):  # type: ignore[no-untyped-def]
    """How many of a user's blocks begin before rank `start`."""
    low, high = _U0, count
    while low < high:
        middle = (low + high) >> _U1
        if records[(first + middle) * _U4 + _U3] >> _U32 < start:
            low = middle + _U1
        else:
            high = middle
    return low


@inner
def _release(free, records, first, length):  # type: ignore[no-untyped-def]
    """List a run, or the parts of it that have a listed length, as free."""
    while length > _U0:
        part = length if length <= _EXACT else length & ~np.uint64(7)
        kind = _class(part)
        if kind >= np.uint64(free.size):
            return  # Only longer than any user grows to; it stays unused until the next build.
        records[first * _U4] = free[kind]
        free[kind] = first
        first += part
        length -= part


@inner
def _take(state, free, records, length):  # type: ignore[no-untyped-def]
    """First record of a run of that length; EMPTY when the array has no room for it."""
    kind = _class(length)
    if kind < np.uint64(free.size) and free[kind] != EMPTY:
        first = free[kind]
        free[kind] = records[first * _U4]
        return first
    if (state[USED] + length) * _U4 > np.uint64(records.size):
        return EMPTY
    first = state[USED]
    state[USED] += length
    return first


@inner
def _resize(state, free, records, first, count, kept, final):  # type: ignore[no-untyped-def]
    """Where a run of `final` blocks lies that begins with the first `kept` of the old one; EMPTY: no room."""
    old, new = room(count), room(final)
    if new <= old:
        _release(free, records, first + new, old - new)
        return first
    moved = _take(state, free, records, new)
    if moved == EMPTY:
        return EMPTY
    for i in range(kept * _U4):
        records[moved * _U4 + i] = records[first * _U4 + i]
    _release(free, records, first, old)
    return moved


@njit(inline="always")
def _put(records, at, entries, i, slot):  # type: ignore[no-untyped-def]
    at = at * _U4
    size, rows = entries[i, 5] & _LOW32, entries[i, 5] >> _U32
    records[at] = entries[i, 2]
    records[at + _U1] = entries[i, 3]
    records[at + _U2] = (entries[i, 4] >> _U3) << _U24 | (size & _SHARES) << _U23 | size >> _U3
    records[at + _U3] = entries[i, 1] << _U32 | slot << _U16 | (rows - _U1)


@njit(inline="always")
def _rows(records, at):  # type: ignore[no-untyped-def]
    return (records[at * _U4 + _U3] & _LOW16) + _U1


@inner
def _group(entries, i):  # type: ignore[no-untyped-def]
    """End of the entries from i on that follow each other in one history; i for an entry without rows."""
    end = i
    while (
        end < np.uint64(len(entries))
        and entries[end, 0] == entries[i, 0]
        and entries[end, 5] >> _U32 > _U0
        and (end == i or entries[end, 1] > entries[end - _U1, 1])
    ):
        end += _U1
    return end


@inner
def _replace(state, table, free, records, at, entries, i, end, slot):  # type: ignore[no-untyped-def]
    """Apply one user's entries i..end-1 (none: a tombstone i). False when the records need room first."""
    first, count = _U0, _U0
    if table[at + _U1] != EMPTY:
        first, count = table[at + _U1] >> _U32, table[at + _U1] & _LOW32
    kept = find_start(records, first, count, entries[i, 1])
    final = kept + (end - i)
    removed = _U0
    for block in range(first + kept, first + count):
        removed += _rows(records, block)
    moved = _resize(state, free, records, first, count, kept, final)
    if moved == EMPTY:
        return False
    added = _U0
    for k in range(end - i):
        _put(records, moved + kept + k, entries, i + k, slot)
        added += entries[i + k, 5] >> _U32
    if table[at + _U1] == EMPTY:
        state[USERS] += _U1
    table[at] = entries[i, 0]
    table[at + _U1] = moved << _U32 | final
    state[BLOCKS] += final - count
    state[ROWS] += added - removed
    return True


@kernel("u8(u8[::1], u8[::1], u8[::1], u8[::1], u8, u8[:, ::1], u8)")
def apply(state, table, free, records, slot, entries, i):  # type: ignore[no-untyped-def]
    """Apply a segment's entries (six words each) from the i-th on.

    Returns:
        how many are applied; where that is not all, table or records need room first.
    """
    slots = np.uint64(table.size) // _WIDTH
    while i < np.uint64(len(entries)):
        at = find_user(table, slots, _WIDTH, entries[i, 0])
        end = _group(entries, i)
        if table[at + _U1] == EMPTY and end > i and (state[USERS] + _U1) * _U4 > slots * _U3:
            return i
        known = table[at + _U1] != EMPTY
        if (known or end > i) and not _replace(state, table, free, records, at, entries, i, end, slot):
            return i
        i = max(end, i + _U1)
    return i


@kernel("i8(u8[::1], u8[::1])")
def rehash(old, new):  # type: ignore[no-untyped-def]
    """Put the users of an old table who have blocks into a new, free one; returns how many."""
    slots = np.uint64(new.size) // _WIDTH
    users = np.int64(0)
    for at in range(_U0, np.uint64(old.size), _WIDTH):
        if old[at + _U1] != EMPTY and old[at + _U1] & _LOW32 > _U0:
            place = find_user(new, slots, _WIDTH, old[at])
            new[place] = old[at]
            new[place + _U1] = old[at + _U1]
            users += 1
    return users


@kernel("void(u8[::1], u8[::1], u8[::1], u8[::1])")
def repack(state, table, old, new):  # type: ignore[no-untyped-def]
    """Copy all runs side by side into a new array of records."""
    used = _U0
    for at in range(_U0, np.uint64(table.size), _WIDTH):
        if table[at + _U1] != EMPTY:
            first, count = table[at + _U1] >> _U32, table[at + _U1] & _LOW32
            for i in range(count * _U4):
                new[used * _U4 + i] = old[first * _U4 + i]
            table[at + _U1] = used << _U32 | count
            used += room(count)
    state[USED] = used


@kernel("void(u8[::1], u8[::1], i8[::1])")
def count_found(table, users, bounds):  # type: ignore[no-untyped-def]
    """bounds[i + 1] = blocks of users 0..i."""
    slots = np.uint64(table.size) // _WIDTH
    total = np.int64(0)
    for i in range(np.uint64(users.size)):
        run = table[find_user(table, slots, _WIDTH, users[i]) + _U1]
        if run != EMPTY:
            total += np.int64(run & _LOW32)
        bounds[i + _U1] = total


@kernel("void(u8[::1], u8[::1], u8[::1], u8[:, ::1], u4[::1])")
def fill_found(table, records, users, entries, block_slots):  # type: ignore[no-untyped-def]
    """The live blocks of the users, oldest first, as six words of an entry and a slot each."""
    slots = np.uint64(table.size) // _WIDTH
    k = _U0
    for i in range(np.uint64(users.size)):
        run = table[find_user(table, slots, _WIDTH, users[i]) + _U1]
        count = _U0 if run == EMPTY else run & _LOW32
        for block in range(run >> _U32, (run >> _U32) + count):
            at = block * _U4
            place, rest = records[at + _U2], records[at + _U3]
            entries[k, 0] = users[i]
            entries[k, 1] = rest >> _U32
            entries[k, 2] = records[at]
            entries[k, 3] = records[at + _U1]
            entries[k, 4] = (place >> _U24) << _U3
            size = (place & _LOW23) << _U3 | (place >> _U23) & _SHARES
            entries[k, 5] = size | _rows(records, block) << _U32
            block_slots[k] = (rest >> _U16) & _LOW16
            k += _U1


@kernel("void(u8[::1], u8[::1], u8[:, ::1])")
def live_bytes(table, records, out):  # type: ignore[no-untyped-def]
    """Add the bytes of every live block to out[slot, 0], of shared ones the user's rows to out[slot, 1].

    Slots beyond it are left out.
    """
    for at in range(_U0, np.uint64(table.size), _WIDTH):
        run = table[at + _U1]
        if run != EMPTY:
            for block in range(run >> _U32, (run >> _U32) + (run & _LOW32)):
                slot = (records[block * _U4 + _U3] >> _U16) & _LOW16
                place = records[block * _U4 + _U2]
                if slot >= np.uint64(len(out)):
                    continue
                if (place >> _U23) & _SHARES:
                    out[slot, _U1] += _rows(records, block)
                else:
                    out[slot, _U0] += (place & _LOW23) << _U3


@kernel("void(u8[::1], u8[::1], u1[::1], u8, u8[:, ::1])")
def move(table, records, leaving, slot, entries):  # type: ignore[no-untyped-def]
    """Let live blocks that lie in a slot marked in `leaving` lie where their entries say, in `slot`."""
    slots = np.uint64(table.size) // _WIDTH
    for i in range(np.uint64(len(entries))):
        run = table[find_user(table, slots, _WIDTH, entries[i, 0]) + _U1]
        if run == EMPTY or entries[i, 5] >> _U32 == _U0:
            continue
        first, count = run >> _U32, run & _LOW32
        k = find_start(records, first, count, entries[i, 1])
        if k == count:
            continue
        rest = records[(first + k) * _U4 + _U3]
        same = rest >> _U32 == entries[i, 1] and (rest & _LOW16) + _U1 == entries[i, 5] >> _U32
        if same and leaving[(rest >> _U16) & _LOW16]:
            _put(records, first + k, entries, i, slot)


@kernel("void(u8[::1], u8[::1], u8[::1], u8[::1], u1[::1])")
def drop(state, table, free, records, leaving):  # type: ignore[no-untyped-def]
    """Remove every block that lies in a slot marked in `leaving`."""
    for at in range(_U0, np.uint64(table.size), _WIDTH):
        run = table[at + _U1]
        if run == EMPTY:
            continue
        first, count, kept = run >> _U32, run & _LOW32, _U0
        for block in range(first, first + count):
            if leaving[(records[block * _U4 + _U3] >> _U16) & _LOW16]:
                state[ROWS] -= _rows(records, block)
                continue
            for i in range(_U4):
                records[(first + kept) * _U4 + i] = records[block * _U4 + i]
            kept += _U1
        state[BLOCKS] -= count - kept
        table[at + _U1] = first << _U32 | kept
        _release(free, records, first + room(kept), room(count) - room(kept))
