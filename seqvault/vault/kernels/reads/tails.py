"""The tails' loops. A user's unsealed behaviours lie in one chunk, column by column, by (time, arrival).

    table    | user u64 | rows u32, capacity u32 | address of the chunk | rows in order, rows to come: u32 |
    chunk    | capacity x time_s | capacity x another column of 8 bytes | ... | capacity x column of 1 byte |

Capacities are powers of two. A chunk that has grown too small is listed as free by its capacity, linked
through its first word. `layout` is (P, 2): a column's width, and the widths of those before it in a chunk.
"""

import numpy as np

from seqvault.vault.kernels.compiled import inner, kernel
from seqvault.vault.kernels.reads.users import EMPTY, find_user
from seqvault.vault.kernels.views import address_in, bytes_at, memmove, signed8, view2, view4, view8

__all__ = [
    "CLASSES", "ROWS", "STATE_WORDS", "TABLE_WIDTH", "USED_BYTES", "USERS",
    "add", "count_rows", "drop", "fill_rows", "rehash",
]  # fmt: skip

# Words of `state`: users in the table (dropped ones too), rows, the slab that chunks are cut from and where
# in it the next one begins, bytes cut from all slabs.
USERS, ROWS, SLAB, CUT, USED_BYTES = (np.uint64(i) for i in range(5))
STATE_WORDS = 5
CLASSES = 40
TABLE_WIDTH = 4

_U0, _U1, _U2, _U3, _U4, _U8 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 8))
_U32, _LOW32 = np.uint64(32), np.uint64(0xFFFFFFFF)
_WIDTH = np.uint64(TABLE_WIDTH)
_LEAST_CAPACITY = np.uint64(8)


@inner
def _cut(state, slabs, size):  # type: ignore[no-untyped-def]
    """Address of fresh memory; 0 when no slab has so much left."""
    while state[SLAB] < np.uint64(len(slabs)):
        if state[CUT] + size <= slabs[state[SLAB], 1]:
            address = slabs[state[SLAB], 0] + state[CUT]
            state[CUT] += size
            state[USED_BYTES] += size
            return address
        state[SLAB] += _U1
        state[CUT] = _U0
    return _U0


@inner
def _class(capacity):  # type: ignore[no-untyped-def]
    kind = _U0
    while capacity > _LEAST_CAPACITY:
        capacity >>= _U1
        kind += _U1
    return kind


@inner
def _grow(state, table, free, slabs, layout, at, rows):  # type: ignore[no-untyped-def]
    """Give a user's chunk room for `rows`; 0, or the bytes a new slab must have for it."""
    count, old = table[at + _U1] >> _U32, table[at + _U1] & _LOW32
    capacity = max(old, _LEAST_CAPACITY)
    while capacity < rows:
        capacity <<= _U1
    row_bytes = _U0
    for column in range(np.uint64(len(layout))):
        row_bytes += layout[column, 0]
    kind = _class(capacity)
    chunk = free[kind]
    if chunk != EMPTY:
        free[kind] = view8(chunk, _U1)[_U0]
    else:
        chunk = _cut(state, slabs, capacity * row_bytes)
        if chunk == _U0:
            return capacity * row_bytes
    if old > _U0:
        was = table[at + _U2]
        for column in range(np.uint64(len(layout))):
            width, before = layout[column, 0], layout[column, 1]
            memmove(chunk + capacity * before, was + old * before, count * width)
        _release(free, was, old)
    table[at + _U1] = count << _U32 | capacity
    table[at + _U2] = chunk
    return _U0


@inner
def _release(free, chunk, capacity):  # type: ignore[no-untyped-def]
    kind = _class(capacity)
    view8(chunk, _U1)[_U0] = free[kind]
    free[kind] = chunk


@inner
def _announce(state, table, users, places):  # type: ignore[no-untyped-def]
    """Find each row's user, newcomers included, and count the rows to come."""
    slots = np.uint64(table.size) // _WIDTH
    for i in range(np.uint64(users.size)):
        at = find_user(table, slots, _WIDTH, users[i])
        if table[at + _U1] == EMPTY:
            table[at] = users[i]
            table[at + _U1] = _U0
            table[at + _U2] = _U0
            table[at + _U3] = _U0
            state[USERS] += _U1
        table[at + _U3] += _U1
        places[i] = at


@inner
def _make_room(state, table, free, slabs, layout, places):  # type: ignore[no-untyped-def]
    """Room for all rows to come; or 0 rows to come again, and the bytes a new slab must have."""
    for i in range(np.uint64(places.size)):
        at = places[i]
        rows = (table[at + _U1] >> _U32) + (table[at + _U3] & _LOW32)
        if rows > table[at + _U1] & _LOW32:
            missing = _grow(state, table, free, slabs, layout, at, rows)
            if missing > _U0:
                for k in range(np.uint64(places.size)):
                    table[places[k] + _U3] = _U0
                return missing
    return _U0


@inner
def _place_times(table, times, places, chunks, disordered):  # type: ignore[no-untyped-def]
    """Put the times behind those there are; where each row went; how many users' rows are out of order."""
    count = _U0
    for i in range(np.uint64(places.size)):
        at, time_s = places[i], times[i]
        row, chunk = table[at + _U1] >> _U32, table[at + _U2]
        in_chunk = view8(chunk, row + _U1)
        if row > _U0 and np.int64(time_s) < np.int64(in_chunk[row - _U1]) and table[at + _U3] >> _U32 == _U0:
            table[at + _U3] |= row << _U32
            disordered[count] = at
            count += _U1
        in_chunk[row] = time_s
        places[i] = row
        chunks[i, 0] = chunk
        chunks[i, 1] = table[at + _U1] & _LOW32
        table[at + _U1] += _U1 << _U32
        table[at + _U3] -= _U1
    return count


@inner
def _place_column(values, width, before, places, chunks):  # type: ignore[no-untyped-def]
    """Put another column's values where the times went."""
    count = np.uint64(places.size)
    if width == _U8:
        wide = view8(values, count)
        for i in range(count):
            view8(chunks[i, 0] + chunks[i, 1] * before, _U0)[places[i]] = wide[i]
    elif width == _U4:
        four = view4(values, count)
        for i in range(count):
            view4(chunks[i, 0] + chunks[i, 1] * before, _U0)[places[i]] = four[i]
    elif width == _U2:
        two = view2(values, count)
        for i in range(count):
            view2(chunks[i, 0] + chunks[i, 1] * before, _U0)[places[i]] = two[i]
    else:
        one = bytes_at(values, count)
        for i in range(count):
            bytes_at(chunks[i, 0] + chunks[i, 1] * before, _U0)[places[i]] = one[i]


@inner
def _ranked(times, count):  # type: ignore[no-untyped-def]
    """Positions of signed times in stable ascending order: runs of 1, 2, 4, ... merged.

    numpy's own sort takes numba five seconds to compile.
    """
    order, other = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for i in range(count):
        order[i] = i
    length = _U1
    while length < count:
        for begin in range(_U0, count, _U2 * length):
            middle, end = min(begin + length, count), min(begin + _U2 * length, count)
            left, right = begin, middle
            for goal in range(begin, end):
                if left < middle and (right == end or times[order[left]] <= times[order[right]]):
                    other[goal] = order[left]
                    left += _U1
                else:
                    other[goal] = order[right]
                    right += _U1
        order, other = other, order
        length *= _U2
    return order


@inner
def _above(times, count, bound):  # type: ignore[no-untyped-def]
    """How many of the first sorted times are at most the bound."""
    low, high = _U0, count
    while low < high:
        middle = (low + high) >> _U1
        if times[middle] <= bound:
            low = middle + _U1
        else:
            high = middle
    return low


@inner
def _order(table, layout, at):  # type: ignore[no-untyped-def]
    """Merge a user's last rows, which came out of order, into those before; equal times stay in order."""
    rows, capacity = table[at + _U1] >> _U32, table[at + _U1] & _LOW32
    chunk, kept = table[at + _U2], table[at + _U3] >> _U32
    table[at + _U3] = _U0
    late = rows - kept
    times = signed8(chunk, rows)
    order = _ranked(signed8(chunk + _U8 * kept, late), late)
    goal = np.empty(late, np.uint64)
    for k in range(late):
        goal[k] = _above(times, kept, times[kept + order[k]])
    scratch = np.empty(late * _U8, np.uint8)
    for column in range(np.uint64(len(layout))):
        width = layout[column, 0]
        base = chunk + capacity * layout[column, 1]
        _merge(base, width, kept, order, goal, address_in(scratch))


@inner
def _merge(base, width, kept, order, goal, scratch):  # type: ignore[no-untyped-def]
    """Move row kept + order[k] of a column before row goal[k] of the first `kept`, for all k at once."""
    late = np.uint64(goal.size)
    for k in range(late):
        memmove(scratch + k * width, base + (kept + order[k]) * width, width)
    end = kept
    for i in range(late):
        k = late - _U1 - i
        memmove(base + (goal[k] + k + _U1) * width, base + goal[k] * width, (end - goal[k]) * width)
        memmove(base + (goal[k] + k) * width, scratch + k * width, width)
        end = goal[k]


@kernel("u8(u8[::1], u8[::1], u8[::1], u8[:, ::1], u8[:, ::1], u8[::1], u8[::1])")
def add(state, table, free, slabs, layout, users, columns):  # type: ignore[no-untyped-def]
    """Add rows, in arrival order; the table has room for as many new users.

    Args:
        columns: (P,) addresses of the columns' first values.

    Returns:
        0; or, with nothing added, the bytes a new slab must have.
    """
    count = np.uint64(users.size)
    places = np.empty(count, np.uint64)
    _announce(state, table, users, places)
    missing = _make_room(state, table, free, slabs, layout, places)
    if missing > _U0:
        return missing
    chunks, disordered = np.empty((count, _U2), np.uint64), np.empty(count, np.uint64)
    late = _place_times(table, view8(columns[_U0], count), places, chunks, disordered)
    for column in range(_U1, np.uint64(len(layout))):
        _place_column(columns[column], layout[column, 0], layout[column, 1], places, chunks)
    for i in range(late):
        _order(table, layout, disordered[i])
    state[ROWS] += count
    return _U0


@kernel("i8(u8[::1], u8[::1])")
def rehash(old, new):  # type: ignore[no-untyped-def]
    """Put the users of an old table who have a chunk into a new, free one; returns how many."""
    slots = np.uint64(new.size) // _WIDTH
    users = np.int64(0)
    for at in range(_U0, np.uint64(old.size), _WIDTH):
        if old[at + _U1] != EMPTY and old[at + _U1] & _LOW32 > _U0:
            place = find_user(new, slots, _WIDTH, old[at])
            for i in range(_WIDTH):
                new[place + i] = old[at + i]
            users += 1
    return users


@kernel("void(u8[::1], u8[::1], u8[::1], u8[::1])")
def drop(state, table, free, users):  # type: ignore[no-untyped-def]
    """Forget these users' rows."""
    slots = np.uint64(table.size) // _WIDTH
    for i in range(np.uint64(users.size)):
        at = find_user(table, slots, _WIDTH, users[i])
        if table[at + _U1] != EMPTY and table[at + _U1] & _LOW32 > _U0:
            state[ROWS] -= table[at + _U1] >> _U32
            _release(free, table[at + _U2], table[at + _U1] & _LOW32)
            table[at + _U1] = _U0


@kernel("void(u8[::1], u8[::1], i8[::1])")
def count_rows(table, users, bounds):  # type: ignore[no-untyped-def]
    """bounds[i + 1] = rows of users 0..i."""
    slots = np.uint64(table.size) // _WIDTH
    total = np.int64(0)
    for i in range(np.uint64(users.size)):
        held = table[find_user(table, slots, _WIDTH, users[i]) + _U1]
        if held != EMPTY:
            total += np.int64(held >> _U32)
        bounds[i + _U1] = total


@kernel("void(u8[::1], u8[:, ::1], u8[::1], i8[::1], u8[::1])")
def fill_rows(table, layout, users, bounds, columns):  # type: ignore[no-untyped-def]
    """Copy the users' rows one after another into columns at the given addresses."""
    slots = np.uint64(table.size) // _WIDTH
    for i in range(np.uint64(users.size)):
        at = find_user(table, slots, _WIDTH, users[i])
        row, rows = np.uint64(bounds[i]), np.uint64(bounds[i + _U1] - bounds[i])
        if rows > _U0:
            chunk, capacity = table[at + _U2], table[at + _U1] & _LOW32
            for column in range(np.uint64(len(layout))):
                width, before = layout[column, 0], layout[column, 1]
                memmove(columns[column] + row * width, chunk + capacity * before, rows * width)
