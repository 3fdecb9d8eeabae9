"""What a read does while it looks at index and tails: find the users, choose blocks, copy tail rows.

The newest rows of a history are its tail's, unless late behaviours made the tail reach back into the blocks.
When it does not, and no filter asks for the values, the tail's part of the answer is one copy per column,
made here. Otherwise the whole tail is copied aside, to be merged with the blocks row by row.
"""

import numpy as np

from seqvault.vault.kernels.compiled import inner
from seqvault.vault.kernels.reads import contexts as c
from seqvault.vault.kernels.reads.users import EMPTY, find_user
from seqvault.vault.kernels.views import address_in, memmove, view8

__all__ = ["copy_tails", "find_users", "plan_users"]

_U0, _U1, _U2, _U3, _U4, _U7 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7))
_U16, _U23, _U24, _U32 = np.uint64(16), np.uint64(23), np.uint64(24), np.uint64(32)
_LOW16, _LOW23, _LOW32 = np.uint64(0xFFFF), np.uint64(0x7FFFFF), np.uint64(0xFFFFFFFF)


@inner
def find_users(store, users, plans):  # type: ignore[no-untyped-def]
    """Each user's tail and records; returns how many blocks they all have."""
    index, tails = view8(store[c.INDEX], _U3), view8(store[c.TAILS], _U2)
    index_table, tail_table = view8(index[0], index[1]), view8(tails[0], tails[1])
    blocks = _U0
    for i in range(np.uint64(users.size)):
        plan = plans[i]
        at = find_user(tail_table, tails[1] >> _U2, _U4, users[i])
        held = tail_table[at + _U1]
        plan[c.TAIL_ROWS] = _U0 if held == EMPTY else held >> _U32
        plan[c.CAPACITY] = held & _LOW32
        plan[c.CHUNK] = tail_table[at + _U2]
        run = index_table[find_user(index_table, index[1] >> _U1, _U2, users[i]) + _U1]
        plan[c.RECORD] = run >> _U32
        plan[c.RECORDS] = _U0 if run == EMPTY else run & _LOW32
        blocks += plan[c.RECORDS]
    return blocks


@inner
def _note(store, block, records, at):  # type: ignore[no-untyped-def]
    """Copy what the index knows of a block."""
    place, rest = records[at + _U2], records[at + _U3]
    block[c.FIRST_S] = records[at]
    block[c.LAST_S] = records[at + _U1]
    block[c.OFFSET] = (place >> _U24) << _U3
    block[c.SIZE] = (place & _LOW23) << _U3
    block[c.SHARED] = (place >> _U23) & _U1
    block[c.BASE] = _U0
    block[c.START] = rest >> _U32
    block[c.ROWS] = (rest & _LOW16) + _U1
    block[c.SLOT] = (rest >> _U16) & _LOW16
    block[c.FD] = view8(store[c.FDS], _U0)[block[c.SLOT]]


@inner
def _choose_merged(store, plan, blocks, k, records, n, filtered):  # type: ignore[no-untyped-def]
    """Blocks to merge with the tail, newest first: all that may hold a wanted row. Sets MOST."""
    from_s, end_s = np.int64(plan[c.FROM_S]), np.int64(plan[c.END_S])
    possible, sure = plan[c.TAIL_ROWS], _U0
    i = plan[c.RECORDS]
    while i > _U0 and (filtered or sure < n):
        i -= _U1
        at = (plan[c.RECORD] + i) * _U4
        if np.int64(records[at + _U1]) < from_s:
            break
        begins_before = end_s == c.NO_BOUND_S or np.int64(records[at]) < end_s
        # Blocks behind the bound count for the cap.
        if begins_before or store[c.CAP] != c.NO_LIMIT:
            _note(store, blocks[k], records, at)
            possible += blocks[k, c.ROWS]
            if end_s == c.NO_BOUND_S or np.int64(records[at + _U1]) < end_s:
                sure += blocks[k, c.ROWS]
            elif begins_before:
                sure += _U1
            k += _U1
    plan[c.MERGED] = _U1
    plan[c.LEFT] = n
    plan[c.CAP_LEFT] = store[c.CAP]
    plan[c.TAIL_TAKEN] = _U0
    plan[c.MOST] = min(possible, n, store[c.CAP])
    return k


@inner
def _below(times, rows, bound):  # type: ignore[no-untyped-def]
    """How many of a tail's rows have a time below the bound."""
    low, high = _U0, rows
    while low < high:
        middle = (low + high) >> _U1
        if np.int64(times[middle]) < bound:
            low = middle + _U1
        else:
            high = middle
    return low


@inner
def _choose_tail(store, plan, n):  # type: ignore[no-untyped-def]
    """The tail's rows to copy, when all blocks are older: sets TAIL_FROM, TAIL_TAKEN, LEFT, CAP_LEFT."""
    rows = plan[c.TAIL_ROWS]
    begin, end = _U0, rows
    if rows > _U0:
        times = view8(plan[c.CHUNK], rows)
        end_s = np.int64(plan[c.END_S])
        if end_s != c.NO_BOUND_S and np.int64(times[rows - _U1]) >= end_s:
            end = _below(times, rows, end_s)
        if np.int64(times[0]) < np.int64(plan[c.FROM_S]):
            begin = _below(times, rows, np.int64(plan[c.FROM_S]))
        if rows > store[c.CAP]:
            begin = max(begin, rows - store[c.CAP])
    taken = min(n, end - begin) if begin < end else _U0
    plan[c.TAIL_FROM] = end - taken
    plan[c.TAIL_TAKEN] = taken
    plan[c.LEFT] = n - taken
    plan[c.CAP_LEFT] = store[c.CAP] - min(rows, store[c.CAP])


@inner
def _choose_older(store, plan, blocks, k, records):  # type: ignore[no-untyped-def]
    """Blocks that hold the rows the tail does not have, newest first. Sets CAP_LEFT, MOST."""
    from_s, end_s = np.int64(plan[c.FROM_S]), np.int64(plan[c.END_S])
    left, cap_left = plan[c.LEFT], plan[c.CAP_LEFT]
    possible, sure = _U0, _U0
    i = plan[c.RECORDS]
    while i > _U0 and sure < left and cap_left > _U0:
        i -= _U1
        at = (plan[c.RECORD] + i) * _U4
        if np.int64(records[at + _U1]) < from_s:
            break
        visible = min((records[at + _U3] & _LOW16) + _U1, cap_left)
        cap_left -= visible
        if end_s != c.NO_BOUND_S and np.int64(records[at]) >= end_s:
            plan[c.CAP_LEFT] = cap_left
            continue
        _note(store, blocks[k], records, at)
        k += _U1
        possible += visible
        sure += visible if end_s == c.NO_BOUND_S or np.int64(records[at + _U1]) < end_s else _U1
    plan[c.MERGED] = _U0
    plan[c.MOST] = plan[c.TAIL_TAKEN] + min(left, possible)
    return k


@inner
def plan_users(store, ask, n, end_s, plans, blocks):  # type: ignore[no-untyped-def]
    """Choose blocks and tail rows of every user found; returns the most rows they can have in all."""
    index = view8(store[c.INDEX], _U3)
    records = view8(index[2], _U0)
    ends = view8(ask[c.ENDS], np.uint64(len(plans)))
    filtered = ask[c.FILTERS] + ask[c.DISTINCT] > _U0
    k, rows = _U0, _U0
    for i in range(np.uint64(len(plans))):
        plan = plans[i]
        plan[c.FROM_S] = np.uint64(max(np.int64(ask[c.START_S]), np.int64(store[c.FLOOR_S])))
        plan[c.END_S] = ends[i] if ask[c.ENDS] else np.uint64(end_s)
        plan[c.BLOCK] = k
        ordered = True
        if plan[c.TAIL_ROWS] > _U0 and plan[c.RECORDS] > _U0:
            newest = (plan[c.RECORD] + plan[c.RECORDS] - _U1) * _U4
            ordered = np.int64(view8(plan[c.CHUNK], _U1)[0]) >= np.int64(records[newest + _U1])
        if filtered or not ordered:
            k = _choose_merged(store, plan, blocks, k, records, n, filtered)
        else:
            _choose_tail(store, plan, n)
            k = _choose_older(store, plan, blocks, k, records)
        plan[c.BLOCKS] = k - plan[c.BLOCK]
        rows += plan[c.MOST]
        plan[c.ROW_END] = rows
    return rows


@inner
def _copy_aside(store, plan, copies, at):  # type: ignore[no-untyped-def]
    """Copy a whole tail to `copies` as a chunk without spare room; returns where its end is."""
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    rows, chunk = plan[c.TAIL_ROWS], plan[c.CHUNK]
    address = address_in(copies) + at
    for column in range(store[c.COLUMNS]):
        width, before = columns[_U3 * column], columns[_U3 * column + _U1]
        memmove(address + rows * before, chunk + plan[c.CAPACITY] * before, rows * width)
        at += rows * width
    plan[c.CHUNK] = address
    plan[c.CAPACITY] = rows
    return (at + _U7) & ~_U7


@inner
def copy_tails(store, ask, plans, out, capacity, copies):  # type: ignore[no-untyped-def]
    """Copy the tails' rows: to the end of each user's part of the output, or aside where they are merged."""
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    at = _U0
    for i in range(np.uint64(len(plans))):
        plan = plans[i]
        if plan[c.MERGED] and plan[c.TAIL_ROWS]:
            at = _copy_aside(store, plan, copies, at)
        taken = plan[c.TAIL_TAKEN]
        if taken == _U0:
            continue
        row = plan[c.ROW_END] - taken
        for output in range(ask[c.OUTPUTS]):
            item = c.ASKED + c.ITEM * output
            width, before = ask[item + _U1], columns[_U3 * ask[item] + _U1]
            goal = address_in(out) + capacity * ask[item + _U2] + row * width
            source = plan[c.CHUNK] + plan[c.CAPACITY] * before + plan[c.TAIL_FROM] * width
            memmove(goal, source, taken * width)
