"""Columns, decoded: the compiled twin of seqvault/vault/format/codec.py.

A section is the pair of the address where it lies and the one behind it. `source` is what decoding needs
besides: (address of the thread's scratch memory, of a decompression context).
"""

import numpy as np

from seqvault.vault.format.codec import BASE, CODEC, DELTA, DICT, FRAME, LAST, PARENT
from seqvault.vault.format.damage import BAD_COLUMN
from seqvault.vault.kernels.compiled import inner
from seqvault.vault.kernels.outputs import store_chosen, store_one
from seqvault.vault.kernels.streams import (
    AT_GAPS,
    AT_HIGHS,
    AT_OTHER,
    AT_RANKS,
    AT_TABLE_2,
    AT_TABLE_3,
    ERROR,
    read_patches,
    read_stream2,
    read_stream8,
    word,
)
from seqvault.vault.kernels.views import view2, view8

__all__ = [
    "read_derived",
    "read_dictionary",
    "read_frame2",
    "read_plain",
]

_BAD_COLUMN = np.uint64((1 << 63) + BAD_COLUMN)
_BASE, _CODEC, _LAST, _PARENT = np.uint64(BASE), np.uint64(CODEC), np.uint64(LAST), np.uint64(PARENT)
_FRAME, _DELTA, _DICT = np.uint64(FRAME), np.uint64(DELTA), np.uint64(DICT)
_U0, _U1, _U2, _U4, _U8, _U16, _U64 = (np.uint64(i) for i in (0, 1, 2, 4, 8, 16, 64))


@inner
def _read8(at, end, count, first, last, base, to, source):  # type: ignore[no-untyped-def]
    return read_stream8(at, end, count, first, last, _U64, base, to, source[0], source[1])


@inner
def _head(section, last_s):  # type: ignore[no-untyped-def]
    """Address behind head and base, or an error; head; base."""
    at, end = section
    if at + _U2 > end:
        return _BAD_COLUMN, _U0, _U0
    head = word(at)
    at += _U2
    if head & _LAST:
        return at, head, last_s
    if not head & _BASE:
        return at, head, _U0
    if at + _U8 > end:
        return _BAD_COLUMN, _U0, _U0
    base = (
        word(at)
        | word(at + _U2) << _U16
        | word(at + _U4) << np.uint64(32)
        | word(at + np.uint64(6)) << np.uint64(48)
    )
    return at + _U8, head, base


@inner
def read_frame2(section, rows, first, last, to, source):  # type: ignore[no-untyped-def]
    """Write rows of a frame, modulo 2**16, to u2 memory; the address behind it or an error."""
    at, _word, base = _head(section, _U0)
    if at >= ERROR:
        return at
    return read_stream2(at, section[1], rows, first, last, _U64, base, to, source[0], source[1])


@inner
def read_plain(section, rows, first, last, last_s, to, ranks, table, source):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of a column's streams.

    Args:
        rows: values the column has.
        to: u8 memory for the rows, unless the column has a dictionary.
        ranks, table: u2 and u8 memory for the rows' ranks and for the dictionary.

    Returns:
        the address behind the streams, or an error; and how many entries the dictionary has, 0 for none.
    """
    at, head, base = _head(section, last_s)
    codec = head & _CODEC
    if at >= ERROR or codec > _DICT:
        return _BAD_COLUMN, _U0
    if codec == _FRAME:
        return _read8(at, section[1], rows, first, last, base, to, source), _U0
    if codec == _DELTA:
        return _read_delta(at, section[1], rows, first, last, base, to, table, source), _U0
    return read_dictionary(section, rows, first, last, ranks, table, source)


@inner
def _read_delta(at, end, rows, first, last, base, to, table, source):  # type: ignore[no-untyped-def]
    running = base
    if last < rows:
        behind = _read8(at, end, rows, last, rows, _U0, table, source)
        if behind >= ERROR:
            return behind
        deltas = view8(table, rows - last)
        for i in range(rows - last):
            running -= deltas[np.uint64(i)]
    behind = _read8(at, end, rows, first, last, _U0, to, source)
    if behind >= ERROR:
        return behind
    count = last - first
    values = view8(to, count)
    for i in range(count):
        place = count - _U1 - np.uint64(i)
        delta = values[place]
        values[place] = running
        running -= delta
    return behind


@inner
def read_dictionary(section, rows, first, last, ranks, table, source):  # type: ignore[no-untyped-def]
    """Ranks of the rows and the sorted values; the address behind them or an error, and the entries."""
    at, head, base = _head(section, _U0)
    end = section[1]
    if at >= ERROR or (head & _CODEC) != _DICT or at + _U2 > end:
        return _BAD_COLUMN, _U0
    entries = word(at) + _U1
    at = _read8(at + _U2, end, entries, _U0, entries, _U0, table, source)
    if at >= ERROR:
        return at, _U0
    values = view8(table, entries)
    running = base
    for i in range(entries):
        running += values[np.uint64(i)]
        values[np.uint64(i)] = running
    at = read_stream2(at, end, rows, first, last, _U16, _U0, ranks, source[0], source[1])
    if at >= ERROR:
        return at, _U0
    of_rows = view2(ranks, last - first)
    highest = np.uint16(0)
    for i in range(last - first):
        highest = max(highest, of_rows[np.uint64(i)])
    return (_BAD_COLUMN if np.uint64(highest) >= entries else at), entries


@inner
def read_derived(section, rows, first, last, last_s, entries, to, width, source):  # type: ignore[no-untyped-def]
    """A column with one value for each of its parent's `entries`, by the ranks in scratch, to an output.

    Args:
        to, width: address and bytes of the output.

    Returns:
        the address behind the column, or an error.
    """
    work = source[0]
    table, other, other_table = work + AT_TABLE_2, work + AT_OTHER, work + AT_TABLE_3
    at, coded = read_plain(section, entries, _U0, entries, last_s, table, other, other_table, source)
    if at >= ERROR:
        return at
    if coded:
        store_chosen(table, _U8, entries, other, other_table)
    store_chosen(to, width, last - first, work + AT_RANKS, table)
    return _read_misfits(at, section[1], rows, first, last, to, width, work)


@inner
def _read_misfits(at, end, rows, first, last, to, width, work):  # type: ignore[no-untyped-def]
    """Overwrite the rows that do not fit; the address behind the misfits, or an error."""
    if at + _U2 > end:
        return _BAD_COLUMN
    misfits = word(at)
    if misfits == _U0:
        return at + _U2
    if at + _U4 > end:
        return _BAD_COLUMN
    at = read_patches(at + _U4, end, misfits, word(at + _U2), work)
    if at >= ERROR:
        return at
    gaps, values = view2(work + AT_GAPS, misfits), view8(work + AT_HIGHS, misfits)
    place = _U0
    for k in range(misfits):
        place += np.uint64(gaps[np.uint64(k)])
        if place >= rows:
            return _BAD_COLUMN
        # Wraps to far above for rows before the first.
        if place - first < last - first:
            store_one(to, width, place - first, values[np.uint64(k)])
        place += _U1
    return at
