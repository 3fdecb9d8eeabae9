"""Packed contexts: what a read must know, as words of u8 arrays, so that it is called with few arguments.

Handing numba an argument costs 0.1 µs and more. Addresses among the words are kept alive by the reader.

    store     one for all threads; changed only in exclusive sections
    thread    one per thread: its store, its scratch memory, and what went wrong
    ask       one for each choice of columns: outputs of three words, then filters of three words
    plan      one per user, made by the read: where the user's behaviours lie and how many are still wanted
    block     one per block that a read may fetch
"""

import numpy as np

__all__: list[str] = []

# store: address of the lock; of what index and tails say of themselves; newest behaviours of a user that are
# read; time before which none is; columns of the schema, and (P, 3) of width, widths before, default; schemas
# blocks may be written under, and (S, 1 + P) of id, place of each column; descriptors by slot; alignment of
# direct I/O, else 8.
LOCK, INDEX, TAILS, CAP, FLOOR_S, COLUMNS, COLUMN_TABLE, SCHEMAS, SCHEMA_TABLE, FDS, ALIGN = (
    np.uint64(i) for i in range(11)
)
STORE_WORDS = 11

# thread: address of the store's context; address and bytes of scratch; address of the decoder's
# context. Then the report of a failed read, and the arguments of a call.
STORE, WORK, WORK_SIZE, DECODER, REPORT = (np.uint64(i) for i in range(5))
# report: rows that need room; or a code and the block: code, user, slot, offset, size, start, rows.
REPORT_WORDS = 7
# What a call by address is passed besides: the block's place in the data, first row, row behind the last,
# outputs, address and bytes of their memory, first row there.
CALL = REPORT + np.uint64(REPORT_WORDS)
CALL_WORDS = 7
THREAD_WORDS = 4 + REPORT_WORDS + CALL_WORDS

# ask: outputs, bytes of a row of them, first time, address of the users' ends or 0, filters, column that is
# to be distinct plus one or 0. An output is a column, its width, the widths of the outputs before it; a
# filter is a column, the address of sorted codes to keep, and how many.
OUTPUTS, ROW_BYTES, START_S, ENDS, FILTERS, DISTINCT, ASKED = (np.uint64(i) for i in range(7))
ITEM = np.uint64(3)

# plan: the tail's chunk, rows and capacity; the index's first record and blocks; bounds in time; first of the
# blocks to read and how many; whether tail and blocks are to be merged row by row; rows wanted of the blocks;
# rows of the history that the cap still lets be read; the tail's row from which it is copied and how many;
# most rows that can be found; row of the output behind them.
(
    CHUNK, TAIL_ROWS, CAPACITY, RECORD, RECORDS, FROM_S, END_S, BLOCK, BLOCKS, MERGED, LEFT, CAP_LEFT,
    TAIL_FROM, TAIL_TAKEN, MOST, ROW_END,
) = (np.uint64(i) for i in range(16))  # fmt: skip
PLAN_WORDS = 16

# block: as in its entry, and its segment's descriptor and slot; whether users share it, and, once it is
# fetched, the first of its rows that is this user's.
FIRST_S, LAST_S, OFFSET, SIZE, START, ROWS, FD, SLOT, SHARED, BASE = (np.uint64(i) for i in range(10))
BLOCK_WORDS = 10

# What a read returns when it is no number of rows.
BUSY, NO_ROOM, DAMAGED = -1, -2, -3
# Codes of reports that are not the block decoder's.
NOT_OPEN, CUT_SHORT, UNKNOWN_SCHEMA = 100, 101, 102

NO_LIMIT = np.uint64((1 << 63) - 1)
NO_BOUND_S = np.int64((1 << 63) - 1)
