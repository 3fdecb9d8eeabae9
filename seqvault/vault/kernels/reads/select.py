"""Rows chosen one by one: blocks cut by a bound in time, filters, distinct values, tails that reach back.

A chosen row is a number: below `rows` a row of the block, from there on a row of the tail. Both have their
columns side by side in memory, widest first, as a tail's chunk has.
"""

import numpy as np
from numba import njit

from seqvault.vault.kernels.compiled import inner
from seqvault.vault.kernels.reads import contexts as c
from seqvault.vault.kernels.reads.search import first_at_least
from seqvault.vault.kernels.views import address_in, bytes_at, memset, view2, view4, view8

__all__ = ["CAP_ROWS", "CURSOR", "TAIL", "WALK_WORDS", "WANTED", "choose", "gather", "mark", "seen_set"]

# walk: rows still wanted, rows the cap still lets be read, the tail's rows not yet passed, output row behind
# the next to be written.
WANTED, CAP_ROWS, TAIL, CURSOR = (np.uint64(i) for i in range(4))
WALK_WORDS = 4

_U0, _U1, _U2, _U3, _U4, _U8 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 8))
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_U32 = np.uint64(32)


@njit(inline="always")
def _load(address, width):  # type: ignore[no-untyped-def]
    """The unsigned integer of `width` bytes at an address."""
    if width == _U8:
        return view8(address, _U1)[0]
    if width == _U4:
        return np.uint64(view4(address, _U1)[0])
    if width == _U2:
        return np.uint64(view2(address, _U1)[0])
    return np.uint64(bytes_at(address, _U1)[0])


@inner
def _among(codes, value):  # type: ignore[no-untyped-def]
    """Whether sorted codes hold a value."""
    at = first_at_least(codes, value)
    return at < np.uint64(codes.size) and codes[at] == value


@inner
def mark(store, ask, base, rows, keep):  # type: ignore[no-untyped-def]
    """keep[i] = 1 where row i of the columns at `base` passes all filters."""
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    memset(address_in(keep), 1, rows)
    for number in range(ask[c.FILTERS]):
        item = c.ASKED + c.ITEM * (ask[c.OUTPUTS] + number)
        codes = view8(ask[item + _U1], ask[item + _U2])
        width = columns[_U3 * ask[item]]
        address = base + rows * columns[_U3 * ask[item] + _U1]
        if width == _U1:
            table = np.zeros(256, np.uint8)
            for code in codes:
                table[code] = 1
            values = bytes_at(address, rows)
            for i in range(rows):
                keep[i] &= table[values[i]]
        else:
            for i in range(rows):
                if not _among(codes, _load(address + i * width, width)):
                    keep[i] = 0


@inner
def seen_set(rows):  # type: ignore[no-untyped-def]
    """An empty set for so many values: the values, and which places are taken."""
    size = _U8
    while size < _U2 * rows:
        size <<= _U1
    return np.empty(size, np.uint64), np.zeros(size, np.uint8)


@inner
def _is_new(values, taken, value):  # type: ignore[no-untyped-def]
    """Add a value to the set; whether it was not in it."""
    mask = np.uint64(values.size) - _U1
    at = (((value ^ (value >> _U32)) * _FACTOR) >> np.uint64(20)) & mask
    while taken[at]:
        if values[at] == value:
            return False
        at = (at + _U1) & mask
    values[at] = value
    taken[at] = 1
    return True


@inner
def choose(store, ask, plan, walk, scratch, rows, keep, side, chosen):  # type: ignore[no-untyped-def]
    """Pass a block's rows and the tail's rows among them, newest first, and list the wanted in `chosen`.

    Args:
        scratch: the block's keys: times, and columns that are filtered or distinct.
        rows: the block's rows; 0 to pass what is left of the tail.
        keep: which of them pass the filters; empty without any.
        side: the same of the tail; and the set of values seen, two arrays.

    Returns:
        how many are chosen; `walk` is brought up to date but for its cursor.
    """
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    from_s, end_s = np.int64(plan[c.FROM_S]), np.int64(plan[c.END_S])
    base = address_in(scratch)
    tail_keep, values, taken = side
    times, tail_times = view8(base, rows), view8(plan[c.CHUNK], plan[c.TAIL_ROWS])
    filtered, distinct = ask[c.FILTERS] > _U0, ask[c.DISTINCT] > _U0
    column = ask[c.DISTINCT] - _U1 if distinct else _U0
    width, before = columns[_U3 * column], columns[_U3 * column + _U1]
    i, count = rows, _U0
    while walk[WANTED] > _U0 and walk[CAP_ROWS] > _U0:
        k = walk[TAIL]
        if i > _U0 and (k == _U0 or np.int64(times[i - _U1]) > np.int64(tail_times[k - _U1])):
            i -= _U1
            row, time_s, passes = i, np.int64(times[i]), not filtered or keep[i] == 1
            address = base + rows * before + i * width
        elif k > _U0 and (i > _U0 or rows == _U0):
            # Of equal times the tail's are newer: they arrived after all that is sealed.
            k -= _U1
            walk[TAIL] = k
            row, time_s, passes = rows + k, np.int64(tail_times[k]), not filtered or tail_keep[k] == 1
            address = plan[c.CHUNK] + plan[c.CAPACITY] * before + k * width
        else:
            break
        walk[CAP_ROWS] -= _U1
        if time_s < from_s:
            walk[WANTED] = _U0
            break
        if not passes or (end_s != c.NO_BOUND_S and time_s >= end_s):
            continue
        if distinct and not _is_new(values, taken, _load(address, width)):
            continue
        chosen[count] = row
        count += _U1
        walk[WANTED] -= _U1
    return count


@inner
def gather(goal, width, chosen, count, first, second, rows):  # type: ignore[no-untyped-def]
    """Write the chosen rows of a column so that they end before address `goal`, the newest last.

    Args:
        first, second: where the column of the block, and of the tail, begins.
    """
    for i in range(count):
        row = chosen[i]
        address = first + row * width if row < rows else second + (row - rows) * width
        goal -= width
        if width == _U8:
            view8(goal, _U1)[0] = view8(address, _U1)[0]
        elif width == _U4:
            view4(goal, _U1)[0] = view4(address, _U1)[0]
        elif width == _U2:
            view2(goal, _U1)[0] = view2(address, _U1)[0]
        else:
            bytes_at(goal, _U1)[0] = bytes_at(address, _U1)[0]
