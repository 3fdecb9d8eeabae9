"""Rows: behaviours as packed little-endian records, the form they are written in, and back to columns."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from seqvault.schema import Array, HistorySchema

__all__ = ["pack_rows", "row_dtype", "sorted_rows", "unpack_rows"]


@lru_cache
def row_dtype(schema: HistorySchema) -> np.dtype[Any]:
    """One behaviour as a packed record: the schema's columns, in order, without padding."""
    return np.dtype([(column.name, "<" + column.dtype) for column in schema.columns])


def pack_rows(schema: HistorySchema, columns: Mapping[str, Array], order: Array) -> Array:
    """(N,) records with the rows of `columns` taken in `order`."""
    rows = np.empty(len(order), row_dtype(schema))
    for name in schema.names:
        rows[name] = columns[name][order]
    return rows


def unpack_rows(rows: Array, names: tuple[str, ...]) -> dict[str, Array]:
    """Contiguous copies of the named columns."""
    return {name: np.ascontiguousarray(rows[name]) for name in names}


def sorted_rows(rows: Array) -> Array:
    """Rows ordered by time; equal times stay in the order they have. The same array when already so."""
    times = rows["time_s"]
    if np.all(times[1:] >= times[:-1]):
        return rows
    return rows[np.argsort(times, kind="stable")]
