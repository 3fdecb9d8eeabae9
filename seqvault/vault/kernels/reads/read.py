"""A read, from user ids to columns, in one call without the GIL. The plain twin is reading/plain.py.

    look    under the readers' side of the lock: find the users, choose their blocks, copy tail rows (look.py)
    fetch   neighbouring blocks of a user with one pread, newest first
    decode  rows straight to their place in the output, from the end of each user's part backwards

Blocks that a bound cuts, filters, distinct values and tails that reach back go row by row (select.py).
"""

import numpy as np
from numba import types

from seqvault.vault.format.damage import OK
from seqvault.vault.kernels.compiled import inner, kernel
from seqvault.vault.kernels.decode import block_schema
from seqvault.vault.kernels.reads import contexts as c
from seqvault.vault.kernels.reads.locks import BUSY, end, enter, leave
from seqvault.vault.kernels.reads.look import copy_tails, find_users, plan_users
from seqvault.vault.kernels.reads.rows import decode, verify
from seqvault.vault.kernels.reads.select import (
    CAP_ROWS,
    CURSOR,
    TAIL,
    WALK_WORDS,
    WANTED,
    choose,
    gather,
    mark,
    seen_set,
)  # fmt: skip
from seqvault.vault.kernels.views import address_in, memmove, view8

__all__ = ["read"]

_pread = types.ExternalFunction("pread", types.int64(types.int32, types.uint64, types.uint64, types.int64))

_U0, _U1, _U2, _U3, _U4, _U7 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7))
# Enough that the device is not asked too often, little enough to stay in the processor's cache.
_RUN_BYTES = np.uint64(1 << 20)
# A filter is guessed to keep a quarter of the rows at first.
_GUESS = np.uint64(4)


@inner
def _report(thread, code, user, block):  # type: ignore[no-untyped-def]
    """Say which block failed, and how."""
    thread[c.REPORT] = np.uint64(code)
    thread[c.REPORT + _U1] = user
    thread[c.REPORT + _U2] = block[c.SLOT]
    thread[c.REPORT + _U3] = block[c.OFFSET]
    thread[c.REPORT + _U4] = block[c.SIZE]
    thread[c.REPORT + np.uint64(5)] = block[c.START]
    thread[c.REPORT + np.uint64(6)] = block[c.ROWS]
    return np.int64(code)


@inner
def _run_end(blocks, k, last, rows):  # type: ignore[no-untyped-def]
    """End of the blocks from k on that lie side by side before each other and are worth one pread."""
    found, size = blocks[k, c.ROWS], blocks[k, c.SIZE]
    k += _U1
    while k < last and found < rows and size + blocks[k, c.SIZE] <= _RUN_BYTES:
        beside = blocks[k, c.OFFSET] + blocks[k, c.SIZE] == blocks[k - _U1, c.OFFSET]
        if not beside or blocks[k, c.SLOT] != blocks[k - _U1, c.SLOT]:
            break
        found += blocks[k, c.ROWS]
        size += blocks[k, c.SIZE]
        k += _U1
    return k


@inner
def _fetch(fd, address, size, most, offset):  # type: ignore[no-untyped-def]
    """Read at least `size` bytes, `most` if they are there; whether they were."""
    got = _U0
    while got < size:
        part = _pread(np.int32(fd), address + got, most - got, np.int64(offset + got))
        if part <= 0:
            return False
        got += np.uint64(part)
    return True


@inner
def _places(store, data, at):  # type: ignore[no-untyped-def]
    """Places of the schema's columns in a verified block; empty where its schema is unknown."""
    schema, words = block_schema(data, at), store[c.COLUMNS] + _U1
    for i in range(store[c.SCHEMAS]):
        row = view8(store[c.SCHEMA_TABLE] + i * words * np.uint64(8), words)
        if row[0] == schema:
            return row[1:]
    return view8(store[c.SCHEMA_TABLE], _U0)


@inner
def _row_bytes(store):  # type: ignore[no-untyped-def]
    """Bytes of a row with all columns of the schema."""
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    total = _U0
    for column in range(store[c.COLUMNS]):
        total += columns[_U3 * column]
    return total


@inner
def _want(wanted, i, store, places, column, where):  # type: ignore[no-untyped-def]
    """Let output i of a decoding be a column, its row 0 at byte `where`."""
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    wanted[i, 0] = places[column]
    wanted[i, 1] = columns[_U3 * column]
    wanted[i, 2] = where
    wanted[i, 3] = columns[_U3 * column + _U2]


@inner
def _want_outputs(wanted, task, places):  # type: ignore[no-untyped-def]
    """Let the outputs of a decoding be those asked for, in their place."""
    store, _, ask, _, capacity = task
    for output in range(ask[c.OUTPUTS]):
        item = c.ASKED + c.ITEM * output
        _want(wanted, output, store, places, ask[item], capacity * ask[item + _U2])


@inner
def _decode_keys(task, data, at, block, places, scratch):  # type: ignore[no-untyped-def]
    """Decode what rows are chosen by: times, filtered columns, the distinct one."""
    store, thread, ask, _, _ = task
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    wanted = np.empty((ask[c.FILTERS] + _U2, _U4), np.uint64)
    rows = block[c.ROWS]
    _want(wanted, _U0, store, places, _U0, _U0)
    for number in range(ask[c.FILTERS]):
        column = ask[c.ASKED + c.ITEM * (ask[c.OUTPUTS] + number)]
        _want(wanted, _U1 + number, store, places, column, rows * columns[_U3 * column + _U1])
    keys = _U1 + ask[c.FILTERS]
    if ask[c.DISTINCT]:
        column = ask[c.DISTINCT] - _U1
        _want(wanted, keys, store, places, column, rows * columns[_U3 * column + _U1])
        keys += _U1
    return decode(thread, data, at, block, (_U0, rows), wanted[:keys], scratch, _U0)


@inner
def _put_chosen(task, plan, walk, scratch, rows, chosen, count):  # type: ignore[no-untyped-def]
    """Write the chosen rows before the cursor, from a block's columns in `scratch` and those of the tail."""
    store, _, ask, out, capacity = task
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    for output in range(ask[c.OUTPUTS]):
        item = c.ASKED + c.ITEM * output
        width, before = ask[item + _U1], columns[_U3 * ask[item] + _U1]
        goal = address_in(out) + capacity * ask[item + _U2] + walk[CURSOR] * width
        first = address_in(scratch) + rows * before
        second = plan[c.CHUNK] + plan[c.CAPACITY] * before
        gather(goal, width, chosen, count, first, second, rows)
    walk[CURSOR] -= count


@inner
def _span(chosen, count, rows):  # type: ignore[no-untyped-def]
    """The block's rows among the chosen: (first, behind the last), how many."""
    first, last, found = rows, _U0, _U0
    for i in range(count):
        if chosen[i] < rows:
            first, last = min(first, chosen[i]), max(last, chosen[i] + _U1)
            found += _U1
    return (min(first, last), last), found


@inner
def _row_by_row(task, plan, walk, side, data, at, block, places):  # type: ignore[no-untyped-def]
    """Choose among a block's rows and the tail's between them, and write them."""
    store, thread, ask, out, _ = task
    columns = view8(store[c.COLUMN_TABLE], _U3 * store[c.COLUMNS])
    rows = block[c.ROWS]
    scratch = np.empty(rows * _row_bytes(store), np.uint8)
    code = _decode_keys(task, data, at, block, places, scratch)
    if code != OK:
        return code
    keep = np.empty(rows if ask[c.FILTERS] else _U0, np.uint8)
    if ask[c.FILTERS]:
        mark(store, ask, address_in(scratch), rows, keep)
    chosen = np.empty(min(walk[WANTED], rows + walk[TAIL]), np.uint64)
    count = choose(store, ask, plan, walk, scratch, rows, keep, side, chosen)
    span, found = _span(chosen, count, rows)
    wanted = np.empty((ask[c.OUTPUTS], _U4), np.uint64)
    if found == count and span[1] - span[0] == count:
        # Nothing between them was passed over: as good as a plain read of these rows.
        walk[CURSOR] -= count
        _want_outputs(wanted, task, places)
        return decode(thread, data, at, block, span, wanted, out, walk[CURSOR])
    for output in range(ask[c.OUTPUTS]):
        column = ask[c.ASKED + c.ITEM * output]
        _want(wanted, output, store, places, column, rows * columns[_U3 * column + _U1])
    code = decode(thread, data, at, block, span, wanted, scratch, span[0])
    if code == OK:
        _put_chosen(task, plan, walk, scratch, rows, chosen, count)
    return code


@inner
def _is_plain(ask, plan, walk, block):  # type: ignore[no-untyped-def]
    """Whether all rows of a block are wanted, as far as n and the cap go, and no tail row lies among them."""
    first_s, last_s = np.int64(block[c.FIRST_S]), np.int64(block[c.LAST_S])
    end_s = np.int64(plan[c.END_S])
    if ask[c.FILTERS] or ask[c.DISTINCT] or first_s < np.int64(plan[c.FROM_S]):
        return False
    if end_s != c.NO_BOUND_S and last_s >= end_s:
        return False
    tail = walk[TAIL]
    return tail == _U0 or np.int64(view8(plan[c.CHUNK], tail)[tail - _U1]) < first_s


@inner
def _block(task, plan, walk, side, user, data, at, block):  # type: ignore[no-untyped-def]
    """Verify one fetched block and write its wanted rows before the cursor."""
    store, thread, ask, out, _ = task
    rows = block[c.ROWS]
    code = verify(thread, data, at, user, block)
    if code != OK:
        return _report(thread, code, user, block)
    places = _places(store, data, at)
    if places.size == 0:
        return _report(thread, c.UNKNOWN_SCHEMA, user, block)
    if _is_plain(ask, plan, walk, block):
        visible = min(rows, walk[CAP_ROWS])
        taken = min(visible, walk[WANTED])
        walk[CAP_ROWS] -= visible
        walk[WANTED] -= taken
        walk[CURSOR] -= taken
        wanted = np.empty((ask[c.OUTPUTS], _U4), np.uint64)
        _want_outputs(wanted, task, places)
        code = decode(thread, data, at, block, (rows - taken, rows), wanted, out, walk[CURSOR])
    else:
        code = _row_by_row(task, plan, walk, side, data, at, block, places)
    return np.int64(OK) if code == OK else _report(thread, code, user, block)


@inner
def _fetch_run(store, blocks, k, behind):  # type: ignore[no-untyped-def]
    """The bytes of blocks k..behind-1, from the last one's first on; none where they cannot be read."""
    align = store[c.ALIGN]
    offset = blocks[behind - _U1, c.OFFSET] & ~(align - _U1)
    size = blocks[k, c.OFFSET] + blocks[k, c.SIZE] - offset
    most = (size + align - _U1) & ~(align - _U1)
    memory = np.empty(most + align, np.uint8)
    # Slices, not addresses: what only an address knows is freed.
    begin = (align - (address_in(memory) & (align - _U1))) & (align - _U1)
    data = memory[begin : begin + size]
    if not _fetch(np.int64(blocks[k, c.FD]), address_in(data), size, most, offset):
        return memory[:0], offset
    return data, offset


@inner
def _blocks(task, plan, walk, side, user, blocks):  # type: ignore[no-untyped-def]
    """Fetch a user's blocks run by run, newest first, until enough rows are found."""
    store, thread, ask, _, _ = task
    k, last = plan[c.BLOCK], plan[c.BLOCK] + plan[c.BLOCKS]
    filtered = ask[c.FILTERS] + ask[c.DISTINCT] > _U0
    rows = min(walk[WANTED], c.NO_LIMIT // _GUESS) * _GUESS if filtered else c.NO_LIMIT
    while k < last and walk[WANTED] > _U0 and walk[CAP_ROWS] > _U0:
        behind = _run_end(blocks, k, last, rows)
        rows = min(rows, c.NO_LIMIT // _U2) * _U2
        if np.int64(blocks[k, c.FD]) < 0:
            return _report(thread, c.NOT_OPEN, user, blocks[k])
        data, offset = _fetch_run(store, blocks, k, behind)
        if data.size == 0:
            return _report(thread, c.CUT_SHORT, user, blocks[k])
        while k < behind and walk[WANTED] > _U0 and walk[CAP_ROWS] > _U0:
            at = blocks[k, c.OFFSET] - offset
            code = _block(task, plan, walk, side, user, data, at, blocks[k])
            if code != OK:
                return code
            k += _U1
    return np.int64(OK)


@inner
def _user(task, plan, user, blocks, copies):  # type: ignore[no-untyped-def]
    """Write a user's rows that the plan has not copied yet. TAIL_FROM becomes the first row written.

    `copies` is only held: the plan knows the copied tails by address.
    """
    store, _, ask, _, _ = task
    if plan[c.BLOCKS] == _U0 and not plan[c.MERGED]:
        plan[c.TAIL_FROM] = plan[c.ROW_END] - plan[c.TAIL_TAKEN]
        return np.int64(OK)
    walk = np.empty(WALK_WORDS, np.uint64)
    walk[WANTED] = plan[c.LEFT]
    walk[CAP_ROWS] = plan[c.CAP_LEFT]
    walk[TAIL] = plan[c.TAIL_ROWS] if plan[c.MERGED] else _U0
    walk[CURSOR] = plan[c.ROW_END] - plan[c.TAIL_TAKEN]
    filtered = ask[c.FILTERS] > _U0
    tail_keep = np.empty(walk[TAIL] if filtered else _U0, np.uint8)
    if filtered and walk[TAIL]:
        mark(store, ask, plan[c.CHUNK], walk[TAIL], tail_keep)
    values, taken = seen_set(plan[c.MOST] if ask[c.DISTINCT] else _U0)
    side = (tail_keep, values, taken)
    code = _blocks(task, plan, walk, side, user, blocks)
    if code == OK and walk[TAIL] and walk[WANTED] and walk[CAP_ROWS]:
        chosen = np.empty(min(walk[WANTED], walk[TAIL]), np.uint64)
        count = choose(store, ask, plan, walk, tail_keep, _U0, tail_keep, side, chosen)
        _put_chosen(task, plan, walk, tail_keep, _U0, chosen, count)
    plan[c.TAIL_FROM] = walk[CURSOR]
    return code


@inner
def _close_gaps(task, plans, offsets):  # type: ignore[no-untyped-def]
    """Move users' rows together where fewer were found than could be; returns how many there are in all."""
    _, _, ask, out, capacity = task
    rows = _U0
    offsets[0] = 0
    for i in range(np.uint64(len(plans))):
        first, behind = plans[i, c.TAIL_FROM], plans[i, c.ROW_END]
        if first != rows:
            for output in range(ask[c.OUTPUTS]):
                item = c.ASKED + c.ITEM * output
                width = ask[item + _U1]
                column = address_in(out) + capacity * ask[item + _U2]
                memmove(column + rows * width, column + first * width, (behind - first) * width)
        rows += behind - first
        offsets[i + _U1] = rows
    return np.int64(rows)


@inner
def _look(task, users, n, end_s, plans):  # type: ignore[no-untyped-def]
    """Everything that looks at index and tails: (rows that need room, blocks, memory of copied tails)."""
    store, _, ask, out, capacity = task
    blocks = np.empty((find_users(store, users, plans), c.BLOCK_WORDS), np.uint64)
    rows = plan_users(store, ask, n, end_s, plans, blocks)
    row_bytes, size = _row_bytes(store), _U0
    for i in range(np.uint64(len(plans))):
        if plans[i, c.MERGED]:
            size += (plans[i, c.TAIL_ROWS] * row_bytes + _U7) & ~_U7
    copies = np.empty(size if rows <= capacity else _U0, np.uint8)
    if rows <= capacity:
        copy_tails(store, ask, plans, out, capacity, copies)
    return rows, blocks, copies


@kernel("i8(u8[::1], u8[::1], u8[::1], i8[::1], u1[::1], i8, i8)")
def read(thread, ask, users, offsets, out, n, end_s):  # type: ignore[no-untyped-def]
    """The newest n behaviours of each user, as `ask` says.

    Args:
        thread, ask: contexts; see contexts.py.
        users: (U,).
        offsets: (U+1,), filled: user i's rows are offsets[i]:offsets[i + 1].
        out: memory of the outputs: room for so many rows of each, one behind the other in the order of
            `before`.
        end_s: rows at or after it are left out, unless `ask` has an end for each user.

    Returns:
        rows of all users; or BUSY: wait for the writer and try again; NO_ROOM: the thread's report says for
        how many rows; DAMAGED: the report says where.
    """
    store = view8(thread[c.STORE], c.STORE_WORDS)
    capacity = np.uint64(out.size) // ask[c.ROW_BYTES]
    task = (store, thread, ask, out, capacity)
    parity = enter(store[c.LOCK])
    if parity == BUSY:
        return np.int64(c.BUSY)
    plans = np.empty((np.uint64(users.size), c.PLAN_WORDS), np.uint64)
    rows, blocks, copies = _look(task, users, np.uint64(n), end_s, plans)
    leave(store[c.LOCK])
    result = np.int64(0)
    if rows > capacity:
        thread[c.REPORT] = rows
        result = np.int64(c.NO_ROOM)
    i = _U0
    while i < np.uint64(users.size) and result == 0:
        if _user(task, plans[i], users[i], blocks, copies) != OK:
            result = np.int64(c.DAMAGED)
        i += _U1
    end(store[c.LOCK], parity)
    return _close_gaps(task, plans, offsets) if result == 0 else result
