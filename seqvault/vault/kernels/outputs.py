"""Output columns: memory at an address, of a width known only when running.

All else works on u8 or u2; each width has its loop here alone, so that one copy of the decoders is compiled.
"""

import numpy as np
from numba import njit

from seqvault.vault.kernels.views import bytes_at, view2, view4, view8

__all__ = ["store_chosen", "store_default", "store_low_bytes", "store_narrow", "store_one"]

_U1, _U2, _U4 = np.uint64(1), np.uint64(2), np.uint64(4)


@njit(nogil=True)
def store_chosen(to, width, count, ranks, table):  # type: ignore[no-untyped-def]
    """Row i = table[ranks[i]]."""
    if width == _U1:
        out1 = bytes_at(to, count)
        for i in range(count):
            out1[np.uint64(i)] = table[np.uint64(ranks[np.uint64(i)])]
    elif width == _U2:
        out2 = view2(to, count)
        for i in range(count):
            out2[np.uint64(i)] = table[np.uint64(ranks[np.uint64(i)])]
    elif width == _U4:
        out4 = view4(to, count)
        for i in range(count):
            out4[np.uint64(i)] = table[np.uint64(ranks[np.uint64(i)])]
    else:
        out8 = view8(to, count)
        for i in range(count):
            out8[np.uint64(i)] = table[np.uint64(ranks[np.uint64(i)])]


@njit(nogil=True)
def store_narrow(to, width, values):  # type: ignore[no-untyped-def]
    """Row i = values[i], u8, cut to a width below 8."""
    if width == _U1:
        out1 = bytes_at(to, values.size)
        for i in range(np.uint64(values.size)):
            out1[np.uint64(i)] = values[np.uint64(i)]
    elif width == _U2:
        out2 = view2(to, values.size)
        for i in range(np.uint64(values.size)):
            out2[np.uint64(i)] = values[np.uint64(i)]
    else:
        out4 = view4(to, values.size)
        for i in range(np.uint64(values.size)):
            out4[np.uint64(i)] = values[np.uint64(i)]


@njit(nogil=True)
def store_low_bytes(to, values):  # type: ignore[no-untyped-def]
    """Row i, one byte wide, = values[i], u2."""
    out = bytes_at(to, values.size)
    for i in range(np.uint64(values.size)):
        out[np.uint64(i)] = values[np.uint64(i)]


@njit(nogil=True)
def store_default(to, width, count, value):  # type: ignore[no-untyped-def]
    """Every row = value."""
    for i in range(count):
        store_one(to, width, np.uint64(i), value)


@njit(nogil=True)
def store_one(to, width, row, value):  # type: ignore[no-untyped-def]
    """One row = value."""
    if width == _U1:
        bytes_at(to + row, _U1)[0] = value
    elif width == _U2:
        view2(to + row * _U2, _U1)[0] = value
    elif width == _U4:
        view4(to + row * _U4, _U1)[0] = value
    else:
        view8(to + row * np.uint64(8), _U1)[0] = value
