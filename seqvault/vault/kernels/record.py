"""Records of the log, compiled: columns into byte-wide frames, and frames back into columns.

`record.py` draws a record and has the numpy twins of everything here, which give the same bytes."""

import numpy as np
from numba import njit

from seqvault.vault.kernels.compiled import kernel
from seqvault.vault.kernels.hash64 import hash64_words
from seqvault.vault.kernels.outputs import load_column
from seqvault.vault.kernels.views import address_in, bytes_at, memset, view2, view4, view8
from seqvault.vault.log.record import MAX_ROWS

__all__ = ["encode_columns", "finish_record", "read_columns", "scan_records"]

_U0, _U1, _U2, _U4, _U7, _U8, _U16 = (np.uint64(i) for i in (0, 1, 2, 4, 7, 8, 16))
_HEAD = np.uint64(56)
_MAGIC = np.uint64(0x32525653)
_LOW4 = np.uint64(0xFFFFFFFF)
_LOW2 = np.uint64(0xFFFF)
_MOST_COLUMNS = np.uint64(65)
_MOST_ROWS = np.uint64(MAX_ROWS)


@njit(inline="always")
def _least(wide, signed, count):  # type: ignore[no-untyped-def]
    """(smallest value, largest less smallest), modulo 2**64."""
    flip = np.uint64(1) << np.uint64(63) if signed else _U0
    low, high = wide[0] ^ flip, wide[0] ^ flip
    for i in range(count):
        value = wide[i] ^ flip
        low, high = min(low, value), max(high, value)
    return low ^ flip, high - low


@njit(inline="always")
def _put(address, width, wide, base, count):  # type: ignore[no-untyped-def]
    """Values less their base in `width` bytes each; up to seven bytes behind them are written too."""
    if width == _U8:
        out8 = view8(address, count)
        for i in range(count):
            out8[i] = wide[i] - base
    elif width == _U4:
        out4 = view4(address, count)
        for i in range(count):
            out4[i] = np.uint32(wide[i] - base)
    elif width == _U2:
        out2 = view2(address, count)
        for i in range(count):
            out2[i] = np.uint16(wide[i] - base)
    elif width == _U1:
        out1 = bytes_at(address, count)
        for i in range(count):
            out1[i] = np.uint8(wide[i] - base)
    elif width > _U0:
        for i in range(count):
            view8(address + np.uint64(i) * width, _U1)[0] = wide[i] - base


@kernel("u8(u1[::1], u8[:, ::1], u8, u8[::1])")
def encode_columns(out, columns, rows, wide):  # type: ignore[no-untyped-def]
    """Write everything of a record behind its head; returns the record's size.

    Args:
        out: room for the record at its widest and 8 bytes more.
        columns: (C, 3): address, bytes a value, whether signed.
        rows: values of each column, at least one.
        wide: room for `rows` values.
    """
    count = np.uint64(columns.shape[0])
    start = address_in(out)
    bases = _HEAD + ((count + _U7) & ~_U7)
    memset(start + _HEAD, 0, bases - _HEAD)
    at = bases + _U8 * count
    for c in range(count):
        signed = columns[c, 2] != _U0
        load_column(columns[c, 0], columns[c, 1], columns[c, 2], rows, address_in(wide))
        base, span = _least(wide, signed, rows)
        width = _U0
        while width < _U8 and span >> (_U8 * width) != _U0:
            width += _U1
        out[_HEAD + np.uint64(c)] = np.uint8(width)
        view8(start + bases + _U8 * np.uint64(c), _U1)[0] = base
        _put(start + at, width, wide, base, rows)
        at += width * rows
    # Eight zeros more: frames of 3, 5, 6 and 7 bytes are read as eight.
    end = (at + np.uint64(15)) & ~_U7
    memset(start + at, 0, end - at)
    return end


@kernel("void(u1[::1], u8, u8[::1], u8)")
def finish_record(out, size, head, salt):  # type: ignore[no-untyped-def]
    """Write the head of a record whose columns are there, and its checksum.

    Args:
        head: sequence, durable, batch, then rows and schema, then kind to columns, as 64 bits each.
    """
    words = view8(address_in(out), _U7)
    words[0] = _MAGIC | (size << np.uint64(32))
    for i in range(5):
        words[i + 2] = head[i]
    words[1] = hash64_words(out, _U16, size - _U16, words[0] ^ salt)


@njit(inline="always")
def _fits(data, start, size, rows, count):  # type: ignore[no-untyped-def]
    """Whether a record's columns end within it."""
    if count < _U1 or count > _MOST_COLUMNS or rows < _U1 or rows > _MOST_ROWS:
        return False
    bases = _HEAD + ((count + _U7) & ~_U7)
    end = bases + _U8 * count + _U8
    if end > size:
        return False
    for c in range(count):
        width = np.uint64(data[start + _HEAD + np.uint64(c)])
        if width > _U8:
            return False
        end += width * rows
    return end <= size


@kernel("i8(u1[::1], u8, u8, u8, u8[:, ::1])")
def scan_records(data, at, end, salt, found):  # type: ignore[no-untyped-def]
    """List valid records side by side from `at` on, until one fails or `found` is full; returns how many.

    Args:
        found: (K, 7) place, then the head's first word and its sequence, durable, batch, rows and schema,
            kind to columns.
    """
    n = 0
    while n < found.shape[0] and at + _HEAD <= end:
        words = view8(address_in(data) + at, _U7)
        size = words[0] >> np.uint64(32)
        if words[0] & _LOW4 != _MAGIC or size < _HEAD or size & _U7 or size > end - at:
            break
        if hash64_words(data, at + _U16, size - _U16, words[0] ^ salt) != words[1]:
            break
        if not _fits(data, at, size, words[5] & _LOW4, (words[6] >> np.uint64(32)) & _LOW2):
            break
        found[n, 0], found[n, 1] = at, words[0]
        for i in range(5):
            found[n, i + 2] = words[i + 2]
        at += size
        n += 1
    return n


@njit(inline="always")
def _get(address, width, base, out, kind, count):  # type: ignore[no-untyped-def]
    """Frames of one record into `count` integers of `kind` bytes at `out`."""
    mask = ~_U0 if width == _U8 else (_U1 << (_U8 * width)) - _U1
    if width == _U4 and kind == _U4:
        from4, to4 = view4(address, count), view4(out, count)
        for i in range(count):
            to4[i] = np.uint32(np.uint64(from4[i]) + base)
    elif width == _U1 and kind == _U1:
        from1, to1 = bytes_at(address, count), bytes_at(out, count)
        for i in range(count):
            to1[i] = np.uint8(np.uint64(from1[i]) + base)
    elif kind == _U8:
        to8 = view8(out, count)
        for i in range(count):
            to8[i] = (view8(address + np.uint64(i) * width, _U1)[0] & mask) + base
    elif kind == _U4:
        wide4 = view4(out, count)
        for i in range(count):
            wide4[i] = np.uint32((view8(address + np.uint64(i) * width, _U1)[0] & mask) + base)
    elif kind == _U2:
        wide2 = view2(out, count)
        for i in range(count):
            wide2[i] = np.uint16((view8(address + np.uint64(i) * width, _U1)[0] & mask) + base)
    else:
        wide1 = bytes_at(out, count)
        for i in range(count):
            wide1[i] = np.uint8((view8(address + np.uint64(i) * width, _U1)[0] & mask) + base)


@kernel("void(u1[::1], u8[:, ::1], u8[:, ::1])")
def read_columns(data, found, wanted):  # type: ignore[no-untyped-def]
    """Columns of records that `scan_records` found, all of one schema, one behind the other.

    Args:
        wanted: (P, 3): place of the column in the records, address of its output, bytes a value there.
    """
    for p in range(wanted.shape[0]):
        place, out, kind = wanted[p, 0], wanted[p, 1], wanted[p, 2]
        for r in range(found.shape[0]):
            start = found[r, 0]
            rows = found[r, 5] & _LOW4
            count = (found[r, 6] >> np.uint64(32)) & _LOW2
            bases = _HEAD + ((count + _U7) & ~_U7)
            at = start + bases + _U8 * count
            for c in range(place):
                at += np.uint64(data[start + _HEAD + np.uint64(c)]) * rows
            address = address_in(data)
            base = view8(address + start + bases + _U8 * place, _U1)[0]
            _get(address + at, np.uint64(data[start + _HEAD + place]), base, out, kind, rows)
            out += rows * kind
