"""Columns of integers: memory at an address, of a width known only when running.

All else works on u8 or u2; each width has its loop here alone, so that one copy of the decoders is compiled.
"""

import numpy as np

from seqvault.vault.kernels.compiled import inner, symbol
from seqvault.vault.kernels.views import bytes_at, memmove, view2, view4, view8

__all__ = [
    "load_column",
    "store_chosen",
    "store_default",
    "store_low_bytes",
    "store_narrow",
    "store_one",
]

_U1, _U2, _U4, _U8 = (np.uint64(i) for i in (1, 2, 4, 8))


@inner
def _choose(out, ranks, table):  # type: ignore[no-untyped-def]
    for i in range(np.uint64(out.size)):
        out[np.uint64(i)] = table[np.uint64(ranks[np.uint64(i)])]


@symbol("void(u8, u8, u8, u8, u8)")
def store_chosen(to, width, count, ranks_at, table_at):  # type: ignore[no-untyped-def]
    """Row i = table[ranks[i]]: u2 ranks and a u8 table at addresses."""
    ranks, table = view2(ranks_at, count), view8(table_at, count)
    if width == _U1:
        _choose(bytes_at(to, count), ranks, table)
    elif width == _U2:
        _choose(view2(to, count), ranks, table)
    elif width == _U4:
        _choose(view4(to, count), ranks, table)
    else:
        _choose(view8(to, count), ranks, table)


@inner
def _copy(out, values):  # type: ignore[no-untyped-def]
    for i in range(np.uint64(out.size)):
        out[np.uint64(i)] = values[np.uint64(i)]


@symbol("void(u8, u8, u8, u8)")
def store_narrow(to, width, count, values_at):  # type: ignore[no-untyped-def]
    """Row i = the u8 value i, cut to a width below 8."""
    values = view8(values_at, count)
    if width == _U1:
        _copy(bytes_at(to, count), values)
    elif width == _U2:
        _copy(view2(to, count), values)
    else:
        _copy(view4(to, count), values)


@symbol("void(u8, u8, u8)")
def store_low_bytes(to, count, values_at):  # type: ignore[no-untyped-def]
    """Row i, one byte wide, = the u2 value i."""
    _copy(bytes_at(to, count), view2(values_at, count))


@inner
def _fill(out, value):  # type: ignore[no-untyped-def]
    for i in range(np.uint64(out.size)):
        out[np.uint64(i)] = value


@symbol("void(u8, u8, u8, u8)")
def store_default(to, width, count, value):  # type: ignore[no-untyped-def]
    """Every row = value."""
    if width == _U1:
        _fill(bytes_at(to, count), value)
    elif width == _U2:
        _fill(view2(to, count), value)
    elif width == _U4:
        _fill(view4(to, count), value)
    else:
        _fill(view8(to, count), value)


@symbol("void(u8, u8, u8, u8)")
def store_one(to, width, row, value):  # type: ignore[no-untyped-def]
    """One row = value."""
    if width == _U1:
        bytes_at(to + row, _U1)[0] = value
    elif width == _U2:
        view2(to + row * _U2, _U1)[0] = value
    elif width == _U4:
        view4(to + row * _U4, _U1)[0] = value
    else:
        view8(to + row * _U8, _U1)[0] = value


@symbol("void(u8, u8, u8, u8, u8)")
def load_column(source, width, signed, count, to):  # type: ignore[no-untyped-def]
    """u8 value i = integer i of a column of some width, modulo 2**64."""
    out = view8(to, count)
    if width == _U1:
        _copy(out, bytes_at(source, count))
    elif width == _U2:
        _copy(out, view2(source, count))
    elif width == _U4:
        _copy(out, view4(source, count))
    else:
        memmove(to, source, _U8 * count)
    if signed and width < _U8:
        sign = _U1 << (_U8 * width - _U1)
        for i in range(count):
            out[np.uint64(i)] = (out[np.uint64(i)] ^ sign) - sign
