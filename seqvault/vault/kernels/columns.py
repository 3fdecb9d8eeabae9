"""Columns, decoded: the compiled twin of seqvault/vault/codec.py."""

import numpy as np
from numba import njit

from seqvault.vault.codec import BASE, CODEC, DELTA, DICT, FRAME, LAST
from seqvault.vault.damage import BAD_COLUMN
from seqvault.vault.kernels.streams import (
    AT_GAPS,
    AT_HIGHS,
    AT_OTHER,
    AT_RANKS,
    AT_TABLE,
    AT_TABLE_2,
    ERROR,
    ROWS,
    read_patches,
    read_stream,
)
from seqvault.vault.kernels.outputs import store_chosen, store_one
from seqvault.vault.kernels.views import view2, view8

__all__ = ["read_derived", "read_narrow", "read_plain", "read_ranks"]

_BAD_COLUMN = np.uint64((1 << 63) + BAD_COLUMN)
_BASE, _CODEC, _LAST = np.uint64(BASE), np.uint64(CODEC), np.uint64(LAST)
_FRAME, _DELTA, _DICT = np.uint64(FRAME), np.uint64(DELTA), np.uint64(DICT)
_U0, _U1, _U2, _U4, _U8, _U16, _U64 = (np.uint64(i) for i in (0, 1, 2, 4, 8, 16, 64))


@njit(nogil=True)
def read_plain(words, rows, first, last, last_s, values, ranks, table, work, context):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of the column without parent that the section `words` begins with.

    Args:
        rows: values the column has.
        values: u8, to hold the rows unless the column has a dictionary.
        ranks, table: (ROWS,) u2 and u8: to hold the rows' ranks and the dictionary.

    Returns:
        the position behind the column, or an error; and how many entries its dictionary has, 0 for none.
    """
    at, head, base = _head(words, last_s)
    codec = head & _CODEC
    if at >= ERROR or codec > _DICT:
        return _BAD_COLUMN, _U0
    if codec == _FRAME:
        return read_stream(words, at, rows, first, last, _U64, base, values, work, context), _U0
    if codec == _DELTA:
        return _read_delta(words, at, rows, first, last, base, values, table, work, context), _U0
    return _read_dictionary(words, at, rows, first, last, base, ranks, table, True, work, context)


@njit(nogil=True)
def read_narrow(words, rows, first, last, values, work, context):  # type: ignore[no-untyped-def]
    """As read_plain, of a frame and modulo 2**16: `values` u2."""
    at, _head_word, base = _head(words, _U0)
    if at >= ERROR:
        return at
    return read_stream(words, at, rows, first, last, _U64, base, values, work, context)


@njit(nogil=True)
def read_ranks(words, rows, first, last, work, context):  # type: ignore[no-untyped-def]
    """Ranks of rows first..last-1 of a dictionary column into scratch; its entries, or an error."""
    at, head, base = _head(words, _U0)
    if at >= ERROR or (head & _CODEC) != _DICT or head >> _U8:
        return _BAD_COLUMN
    ranks, table = view2(work + AT_RANKS, ROWS), view8(work + AT_TABLE, ROWS)
    at, entries = _read_dictionary(words, at, rows, first, last, base, ranks, table, False, work, context)
    return entries if at < ERROR else at


@njit(nogil=True)
def read_derived(words, rows, first, last, last_s, entries, to, width, work, context):  # type: ignore[no-untyped-def]
    """A column with one value for each of its parent's `entries`, by the ranks in scratch, to an output column.

    Args:
        to, width: address and bytes of the output.

    Returns:
        the position behind the column, or an error.
    """
    table, ranks = view8(work + AT_TABLE, ROWS), view2(work + AT_RANKS, ROWS)
    other, other_table = view2(work + AT_OTHER, ROWS), view8(work + AT_TABLE_2, ROWS)
    at, coded = read_plain(words, entries, _U0, entries, last_s, table, other, other_table, work, context)
    if at >= ERROR:
        return at
    if coded:
        for i in range(entries):
            table[np.uint64(i)] = other_table[np.uint64(other[np.uint64(i)])]
    store_chosen(to, width, last - first, ranks, table)
    if at + _U1 > np.uint64(words.size):
        return _BAD_COLUMN
    misfits = np.uint64(words[at])
    if misfits == _U0:
        return at + _U1
    if at + _U2 > np.uint64(words.size):
        return _BAD_COLUMN
    at = read_patches(words, at + _U2, misfits, np.uint64(words[at + _U1]), work)
    if at < ERROR and not _put_misfits(misfits, rows, first, last, to, width, work):
        return _BAD_COLUMN
    return at


@njit(nogil=True)
def _put_misfits(misfits, rows, first, last, to, width, work):  # type: ignore[no-untyped-def]
    """Overwrite rows with the values in scratch; whether all lie among the block's rows."""
    gaps, values = view2(work + AT_GAPS, ROWS), view8(work + AT_HIGHS, ROWS)
    place = _U0
    for k in range(misfits):
        place += np.uint64(gaps[np.uint64(k)])
        if place >= rows:
            return False
        if place - first < last - first:
            store_one(to, width, place - first, values[np.uint64(k)])
        place += _U1
    return True


@njit(nogil=True)
def _head(words, last_s):  # type: ignore[no-untyped-def]
    """Position behind head and base, or an error; head; base."""
    end = np.uint64(words.size)
    if end < _U1:
        return _BAD_COLUMN, _U0, _U0
    head = np.uint64(words[_U0])
    if head & _LAST:
        return _U1, head, last_s
    if not head & _BASE:
        return _U1, head, _U0
    if end < _U1 + _U4:
        return _BAD_COLUMN, _U0, _U0
    base = _U0
    for k in range(4):
        base |= np.uint64(words[_U1 + np.uint64(k)]) << (np.uint64(k) * _U16)
    return _U1 + _U4, head, base


@njit(nogil=True)
def _read_delta(words, at, rows, first, last, base, values, table, work, context):  # type: ignore[no-untyped-def]
    begin = at
    running = base
    if last < rows:
        at = read_stream(words, begin, rows, last, rows, _U64, _U0, table, work, context)
        if at >= ERROR:
            return at
        for i in range(rows - last):
            running -= table[np.uint64(i)]
    at = read_stream(words, begin, rows, first, last, _U64, _U0, values, work, context)
    if at >= ERROR:
        return at
    count = last - first
    for i in range(count):
        place = count - _U1 - np.uint64(i)
        delta = np.uint64(values[place])
        values[place] = running
        running -= delta
    return at


@njit(nogil=True)
def _read_dictionary(words, at, rows, first, last, base, ranks, table, wanted, work, context):  # type: ignore[no-untyped-def]
    """Ranks and, if wanted, the sorted values; the position behind them or an error, and the entries."""
    if at + _U1 > np.uint64(words.size):
        return _BAD_COLUMN, _U0
    entries = np.uint64(words[at]) + _U1
    end = entries if wanted and first < last else _U0
    at = read_stream(words, at + _U1, entries, _U0, end, _U64, _U0, table, work, context)
    if at >= ERROR:
        return at, _U0
    running = base
    for i in range(end):
        running += table[np.uint64(i)]
        table[np.uint64(i)] = running
    at = read_stream(words, at, rows, first, last, _U16, _U0, ranks, work, context)
    if at >= ERROR:
        return at, _U0
    highest = np.uint16(0)
    for i in range(last - first):
        highest = max(highest, ranks[np.uint64(i)])
    return (_BAD_COLUMN if first < last and np.uint64(highest) >= entries else at), entries
