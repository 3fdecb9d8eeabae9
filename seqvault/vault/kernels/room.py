"""Scratch of the encoder: rows of u8, as long as the largest block, by number."""

import numpy as np
from numba import njit

from seqvault.vault.kernels.views import view8

__all__ = [
    "COLUMN_ROWS",
    "GAPS",
    "KEYS",
    "MISFITS",
    "MISFIT_PLACES",
    "OTHER_KEYS",
    "OTHER_PLACES",
    "PLACES",
    "ROW_BYTES",
    "SHARED_ROWS",
    "TABLE",
    "TABLE_STREAM",
    "row",
    "row_at",
]

# Not a power of two, or equal places of all rows would share one set of the cache.
ROW_BYTES = 8 * ((1 << 16) + 72)
# For sorting; for a derived column's table, its two streams and its misfits.
KEYS, PLACES, OTHER_KEYS, OTHER_PLACES, GAPS = (np.uint64(i) for i in range(5))
TABLE, TABLE_STREAM, MISFIT_PLACES, MISFITS = (np.uint64(i) for i in (5, 6, 8, 9))
# Behind these, for each column: its values and two streams.
SHARED_ROWS, COLUMN_ROWS = 10, 3
_ROW_BYTES = np.uint64(ROW_BYTES)


@njit(inline="always")
def row_at(room, number):  # type: ignore[no-untyped-def]
    """The address of a row."""
    return room + number * _ROW_BYTES


@njit(inline="always")
def row(room, number, count):  # type: ignore[no-untyped-def]
    """The first `count` u8 of a row."""
    return view8(room + number * _ROW_BYTES, count)
